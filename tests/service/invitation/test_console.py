"""The console's door: who comes in, for how long, and what a form must show."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.service.invitation.console import Operator, is_on_the_way_to_signing_in, operator, words
from tests.speaking import new_client


async def test_an_operator_signs_in_with_a_token_and_out_again(stack: Stack) -> None:
    name = f"anne.{uuid4().hex[:8]}"
    token = (await stack.new_ops_token("reader", name))["token"]
    one = Operator(stack)
    first = await one.get("/ops/invitations?state=failed")
    assert is_on_the_way_to_signing_in(first)

    form = await one.get(first.headers["Location"])
    assert 'value="/ops/invitations?state=failed"' in form.text
    inside = await one.sign_in(token, back="/ops/invitations?state=failed")

    assert inside.headers["Location"] == "/ops/invitations?state=failed"
    cookie = next(value for key, value in inside.headers.items() if key == "Set-Cookie")
    assert all(word in cookie for word in ("HttpOnly", "SameSite=Strict", "Path=/ops"))
    assert token not in cookie
    page = await one.follow(inside)
    assert (page.status, f"ops:{name}" in words(page)) == (200, True)
    assert page.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]

    out = await one.post("/ops/sign-out")
    assert out.cookies["convive_ops"] == ""
    # The browser has let go of it, and a copy that somebody kept opens nothing either.
    assert is_on_the_way_to_signing_in(await one.get("/ops/invitations"))


async def test_tokens_that_are_worth_nothing_open_nothing(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    ended = await stack.new_ops_token("admin")
    (await stack.invitation.call("DELETE", f"/v1/tokens/{ended['id']}", token=stack.ops_token)).ok()

    for token in ("nonsense", "", cabinet.key, stack.service_token, ended["token"]):
        answer = await Operator(stack).sign_in(token)
        assert (answer.status, answer.cookies) == (401, {}), token


async def test_the_token_of_the_settings_comes_in_as_an_admin(stack: Stack) -> None:
    one = Operator(stack)
    page = await one.follow(await one.sign_in(stack.ops_token))
    assert "ops admin" in words(page)


async def test_a_revoked_token_ends_its_sessions(stack: Stack) -> None:
    made = await stack.new_ops_token("writer")
    one = Operator(stack)
    await one.follow(await one.sign_in(made["token"]))

    (await stack.invitation.call("DELETE", f"/v1/tokens/{made['id']}", token=stack.ops_token)).ok()

    assert is_on_the_way_to_signing_in(await one.get("/ops/invitations"))
    assert is_on_the_way_to_signing_in(await one.post("/ops/views", name="mine"))


async def test_a_cookie_that_was_changed_or_made_up_opens_nothing(stack: Stack) -> None:
    one = await operator(stack)
    cookie = one.cookies["convive_ops"]
    # The first letter of the signature: all its bits count, the last letter's do not (RFC 4648, section 3.5).
    signed, signature = cookie.rsplit(".", 1)
    changed = f"{signed}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    for other in (changed, cookie[1:], "x", "WyJzZXR0aW5ncyIsIngiXQ.Zg.x"):
        assert is_on_the_way_to_signing_in(await Operator(stack, {"convive_ops": other}).get("/ops/invitations"))


async def test_a_form_of_another_site_or_session_changes_nothing(stack: Stack) -> None:
    one, another = await operator(stack), await operator(stack)
    name = f"view {uuid4().hex[:8]}"
    forms = (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
        {"form_token": ""},
        {"form_token": another.form_token},
    )
    for form in forms:
        answer = await one.post("/ops/views", name=name, query="state=failed", **form)  # pyright: ignore[reportArgumentType]
        assert (answer.status, "foreign_form" in answer.text) == (403, True), form
    assert name not in words(await one.get("/ops/invitations"))
    strange = await Operator(stack).sign_in(stack.ops_token, origin="https://evil.example")
    assert (strange.status, strange.cookies) == (403, {})


async def test_guessing_tokens_is_slowed_down(stack: Stack) -> None:
    address = {"X-Forwarded-For": new_client()}
    tries = [await Operator(stack).post("/ops/sign-in", token=f"cvo_{n}", headers=address) for n in range(12)]
    assert tries[0].status == 401
    assert (tries[-1].status, int(tries[-1].headers["Retry-After"]) > 0) == (429, True)


@pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example", "/ops/\\evil.example", "/opsx", "/i/x"])
async def test_nobody_is_led_elsewhere(stack: Stack, place: str) -> None:
    answer = await Operator(stack).sign_in(stack.ops_token, back=place)
    assert answer.headers["Location"] == "/ops/invitations"
    spoken = await Operator(stack).get(f"/ops/language/fr?{urlencode({'back': place})}")
    assert spoken.headers["Location"] == "/ops/invitations"


async def test_the_console_speaks_french_and_english(stack: Stack) -> None:
    one = await operator(stack)
    assert "Se déconnecter" in words(await one.get("/ops/invitations", **{"Accept-Language": "fr"}))
    assert "Sign out" in words(await one.get("/ops/invitations", **{"Accept-Language": "en"}))
    chosen = await one.get("/ops/language/fr?back=/ops/invitations")
    one.cookies |= chosen.cookies
    assert "Se déconnecter" in words(await one.get("/ops/invitations", **{"Accept-Language": "en"}))


async def test_what_is_not_there_is_said_on_a_page(stack: Stack) -> None:
    one = await operator(stack)
    for path in ("/ops/nothing", f"/ops/invitations/{uuid4()}"):
        answer = await one.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
