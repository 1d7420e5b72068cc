"""Who may do what: every route of both services against every kind of caller, and other tenants' ids."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from convive_kit.http import rfc3339
from tests.running import Stack
from tests.speaking import PASSWORD, Answer, Cabinet, Dossier, Member, code_of, new_address, until

# A new route belongs here: the test fails until somebody has decided who may call it.
ROUTES = {
    "directory": {
        "POST /v1/announcements": "admin",
        "POST /v1/cabinets": "admin",
        "POST /v1/cabinets/{id}/keys": "admin",
        "DELETE /v1/cabinets/{id}/keys": "admin",
        "DELETE /v1/cabinets/{id}/keys/{key}": "admin",
        "GET /v1/cabinets/{id}": "firm",
        "PATCH /v1/cabinets/{id}": "firm",
        "GET /v1/roles": "anyone",
        "POST /v1/capability-checks": "asker",
        "POST /v1/cabinets/{id}/staff": "firm",
        "GET /v1/cabinets/{id}/staff": "firm",
        "DELETE /v1/cabinets/{id}/staff/{account_id}": "firm",
        "POST /v1/dossiers": "cabinet",
        "GET /v1/dossiers": "cabinet",
        "GET /v1/dossiers/{id}": "cabinet",
        "PATCH /v1/dossiers/{id}": "cabinet",
        "DELETE /v1/dossiers/{id}": "cabinet",
        "POST /v1/dossiers/{id}/members": "user",
        "GET /v1/dossiers/{id}/members": "user",
        "GET /v1/dossiers/{id}/members/{member_id}": "user",
        "PATCH /v1/dossiers/{id}/members/{member_id}": "user",
        "DELETE /v1/dossiers/{id}/members/{member_id}": "user",
        "POST /v1/dossiers/{id}/members/{member_id}/invitation": "user",
        "GET /v1/dossiers/{id}/members/{member_id}/permissions": "user",
        "POST /v1/sessions": "anyone",
        "GET /v1/sessions": "person",
        "DELETE /v1/sessions": "person",
        "DELETE /v1/sessions/{id}": "person",
        "DELETE /v1/sessions/current": "person",
        "POST /v1/password-resets": "anyone",
        "POST /v1/password-resets/{token}": "anyone",
        "POST /v1/imports": "user",
        "GET /v1/imports": "user",
        "GET /v1/imports/{id}": "user",
        "GET /v1/imports/{id}/rows": "user",
        "GET /v1/imports/{id}/result.csv": "user",
        "POST /v1/imports/{id}/start": "user",
        "POST /v1/imports/{id}/abort": "user",
        "GET /v1/me": "person",
        "POST /internal/v1/redemptions": "service",
        "POST /internal/v1/keys/introspect": "service",
        "GET /internal/v1/accounts": "service",
        "POST /internal/v1/accounts": "service",
        "GET /internal/v1/parked": "service",
        "PATCH /internal/v1/members/{member_id}/address": "service",
        "POST /internal/v1/personal-data": "service",
        "GET /internal/v1/parked/{id}": "service",
        "POST /internal/v1/parked/{id}/replay": "service",
        "PUT /internal/v1/parked/{id}": "service",
        "DELETE /internal/v1/parked/{id}": "service",
        "GET /livez": "anyone",
        "GET /readyz": "anyone",
    },
    "invitation": {
        "GET /internal/v1/policies": "service",
        "POST /internal/v1/previews": "service",
        "GET /i/{token}": "anyone",
        "POST /i/{token}/open": "anyone",
        "POST /i/{token}/password": "anyone",
        "POST /i/{token}/accept": "anyone",
        "POST /i/{token}/renew": "anyone",
        "POST /i/{token}/decline": "anyone",
        # A provider's signature lets in, no token does: see test_receipts.py.
        "POST /v1/receipts/generic": "anyone",
        "POST /v1/receipts/twilio": "anyone",
        "GET /v1/receipts/ovh": "anyone",
        "GET /v1/invitations": "reader or cabinet",
        "GET /v1/invitations/export": "reader or cabinet",
        "GET /v1/invitations/{id}": "reader or cabinet",
        "POST /v1/invitations/{id}/resend": "writer or cabinet",
        "POST /v1/invitations/{id}/revoke": "writer or cabinet",
        "POST /v1/invitations/{id}/extend": "writer or cabinet",
        "POST /v1/invitations/{id}/correct": "writer or cabinet",
        "GET /v1/parked": "reader",
        "GET /v1/parked/{id}": "reader",
        "POST /v1/parked/{id}/replay": "writer",
        "PUT /v1/parked/{id}": "writer",
        "DELETE /v1/parked/{id}": "writer",
        "POST /v1/replays": "writer",
        "GET /v1/replays": "reader",
        "GET /v1/replays/{id}": "reader",
        "POST /v1/replays/{id}/abort": "writer",
        "GET /v1/stats": "reader",
        "GET /v1/stream": "reader",
        "POST /v1/bulk": "writer",
        "GET /v1/bulk": "reader",
        "GET /v1/bulk/{id}": "reader",
        "POST /v1/bulk/{id}/pause": "writer",
        "POST /v1/bulk/{id}/resume": "writer",
        "POST /v1/bulk/{id}/abort": "writer",
        "GET /v1/audit": "reader",
        "POST /v1/erasures": "ops admin",
        "GET /v1/erasures": "ops admin",
        "GET /v1/erasures/{id}": "ops admin",
        "POST /v1/personal-data": "ops admin",
        "GET /v1/checks": "reader",
        "POST /v1/events": "ops admin",
        "POST /v1/tokens": "ops admin",
        "GET /v1/tokens": "ops admin",
        "DELETE /v1/tokens/{id}": "ops admin",
        "GET /livez": "anyone",
        "GET /readyz": "anyone",
    },
}
ADMITS = {
    "admin": {"admin token"},
    "service": {"service token"},
    "cabinet": {"key", "other key"},
    "firm": {"admin token", "key", "other key"},
    "asker": {"service token", "key", "other key"},
    "person": {"session"},
    "user": {"key", "other key", "session"},
    "ops admin": {"ops token", "admin's token"},
    "writer": {"ops token", "admin's token", "writer's token"},
    "reader": {"ops token", "admin's token", "writer's token", "reader's token"},
    "writer or cabinet": {"ops token", "admin's token", "writer's token", "key", "other key"},
    "reader or cabinet": {"ops token", "admin's token", "writer's token", "reader's token", "key", "other key"},
}


def in_a_month() -> str:
    return rfc3339(datetime.now(UTC) + timedelta(days=30))


@dataclass
class World:
    cabinet: Cabinet
    other: Cabinet
    dossier: Dossier
    member: Member
    link: str
    callers: dict[str, str | None]


async def world(stack: Stack) -> World:
    cabinet, other = await stack.new_cabinet(), await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    link = (await stack.mail(member.email)).link
    await stack.until_state(member, "sent")
    person, _ = await stack.invite()
    session = await stack.come_in(person)
    path = f"/v1/cabinets/{other.id}/keys"
    extra = (await stack.directory.call("POST", path, token=stack.admin_token)).ok(201)
    stack.private.add(extra["api_key"])
    path = f"{path}/{extra['api_key'].split('_')[2]}"
    assert (await stack.directory.call("DELETE", path, token=stack.admin_token)).status in (200, 204)
    tokens = {role: await stack.new_ops_token(role) for role in ("reader", "writer", "admin")}
    ended = await stack.new_ops_token("admin")
    (await stack.invitation.call("DELETE", f"/v1/tokens/{ended['id']}", token=stack.ops_token)).ok()
    callers = {
        **{f"{role}'s token": token["token"] for role, token in tokens.items()},
        "revoked token": ended["token"],
        "token of nobody": f"cvo_{secrets.token_urlsafe(32)}",
        "nobody": None,
        "nonsense": "nonsense",
        "random": secrets.token_urlsafe(32),
        "admin token": stack.admin_token,
        "service token": stack.service_token,
        "ops token": stack.ops_token,
        "key": cabinet.key,
        "other key": other.key,
        "revoked key": extra["api_key"],
        "key with another secret": cabinet.key[:-1] + ("A" if cabinet.key[-1] != "A" else "B"),
        "key of nobody": f"cvk_{uuid4().hex}_{secrets.token_hex(8)}_{secrets.token_urlsafe(32)}",
        "session": session,
        "link token": link.rpartition("/")[2],
        "link key": stack.link_key,
    }
    return World(cabinet, other, dossier, member, link, callers)


async def test_the_tables_of_routes_are_complete(stack: Stack) -> None:
    for api, name in ((stack.directory, "directory"), (stack.invitation, "invitation")):
        document = (await api.call("GET", "/openapi.json")).ok()
        served = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
        assert served == set(ROUTES[name])
        assert (await api.page("/docs")).status == 200


async def test_every_route_lets_in_its_own_callers_and_nobody_else(stack: Stack) -> None:
    """With ids of nobody, so that whoever is let in learns that there is nothing."""
    here = await world(stack)
    for api, name in ((stack.directory, "directory"), (stack.invitation, "invitation")):
        for route, guard in ROUTES[name].items():
            if guard == "anyone":
                continue
            method, _, path = route.partition(" ")
            path = path.replace("{id}", str(uuid4())).replace("{member_id}", str(uuid4())).replace("{key}", "0" * 16)
            path = path.replace("{account_id}", str(uuid4()))
            for caller, token in here.callers.items():
                if caller == "session" and route in ("DELETE /v1/sessions/current", "DELETE /v1/sessions"):
                    continue  # its own end
                # For the stream: whoever is let in would listen for ever.
                answer = await api.call(method, path, token=token, headers={"Last-Event-ID": "none"})
                refused = answer.status in (401, 403)
                assert refused == (caller not in ADMITS[guard]), f"{route} by {caller}: {answer.status} {answer.text}"
                assert answer.headers["X-Request-ID"]
                if answer.status == 401:
                    assert answer.headers["WWW-Authenticate"] == "Bearer"
                if caller in (
                    "nobody",
                    "nonsense",
                    "random",
                    "revoked key",
                    "revoked token",
                    "token of nobody",
                    "key with another secret",
                    "key of nobody",
                ):
                    assert answer.status == 401, f"{route} by {caller}"
            for header in ("Basic b3BzOm9wcw==", "Bearer", "Bearer  ", f"Token {stack.ops_token}", "bearer \u00e9"):
                answer = await api.call(method, path, headers={"Authorization": header})
                assert answer.status == 401, f"{route} with {header}"


async def test_ids_of_other_tenants_answer_like_ids_of_nobody(stack: Stack) -> None:
    here = await world(stack)
    before = await stack.detail(here.member)
    theirs = {"{id}": here.dossier.id, "{member_id}": here.member.id}
    nobodys = {"{id}": str(uuid4()), "{member_id}": str(uuid4())}
    person = {"first_name": "A", "last_name": "B", "email": new_address()}
    bodies: dict[str, Any] = {
        "PATCH /v1/dossiers/{id}": {"name": "Mine now"},
        "POST /v1/dossiers/{id}/members": person,
        "PATCH /v1/dossiers/{id}/members/{member_id}": {"email": new_address()},
        "POST /v1/dossiers/{id}/members/{member_id}/invitation": {"invite_by": "email"},
        "POST /v1/invitations/{id}/extend": {"until": in_a_month()},
    }
    for api, name in ((stack.directory, "directory"), (stack.invitation, "invitation")):
        for route, guard in ROUTES[name].items():
            if "{id}" not in route or guard not in ("cabinet", "user", "reader or cabinet", "writer or cabinet"):
                continue
            method, _, path = route.partition(" ")
            if name == "invitation":
                theirs["{id}"] = here.member.invitation_id
            for caller in ("other key", "session"):
                if caller not in ADMITS[guard]:
                    continue
                found: list[Answer] = []
                for ids in (theirs, nobodys):
                    place = path.replace("{id}", ids["{id}"]).replace("{member_id}", ids["{member_id}"])
                    body = bodies.get(route, {} if method == "POST" else None)
                    found.append(await api.call(method, place, json=body, token=here.callers[caller]))
                assert [answer.status for answer in found] == [404, 404], f"{route} by {caller}: {found}"
                assert found[0].body == found[1].body, route
    assert await stack.detail(here.member) == before
    # The list shows each firm its own, whatever it asks for.
    for query in ("", f"?cabinet_id={here.cabinet.id}", f"?member_id={here.member.id}", f"?email={here.member.email}"):
        page = (await stack.invitation.call("GET", f"/v1/invitations{query}", token=here.other.key)).ok()
        assert page["items"] == [], query
        own = (await stack.invitation.call("GET", f"/v1/invitations{query}", token=here.cabinet.key)).ok()
        assert [item["id"] for item in own["items"]] == [here.member.invitation_id]


async def test_a_cabinet_operates_its_own_invitations_with_its_key(stack: Stack) -> None:
    here = await world(stack)
    (await stack.operate(here.member, "resend", here.cabinet.key)).ok(202)
    await stack.mail(here.member.email, count=2)
    until_then = in_a_month()
    extended = (await stack.operate(here.member, "extend", here.cabinet.key, until=until_then)).ok(202)
    assert extended["expires_at"] == until_then
    (await stack.operate(here.member, "revoke", here.cabinet.key, reason="left the firm")).ok(202)
    step = (await stack.detail(here.member))["history"][-1]
    assert (step["trigger"], step["actor"]) == ("revoked", f"cabinet:{here.cabinet.id}")
    assert step["detail"] == {"reason": "left the firm"}


# --- somebody who has an account already --------------------------------------------------------------------------


@dataclass
class Second:
    """Somebody with an account, invited to a second dossier by another cabinet."""

    cabinet: Cabinet
    dossier: Dossier
    member: Member
    link: str
    session: str


async def invited_again(stack: Stack) -> Second:
    first = await stack.new_member()
    session = await stack.come_in(first)
    await stack.until_state(first, "active")
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier, first.email)
    link = (await stack.mail(first.email, count=2)).link
    await stack.until_state(member, "sent")
    return Second(cabinet, dossier, member, link, session)


async def is_in(stack: Stack, second: Second) -> None:
    """They see both dossiers with the password they had, and the second cabinet sees that they are in."""
    session = await stack.session(email=second.member.email)
    assert second.dossier.id in [place["id"] for place in (await stack.me(session))["dossiers"]]
    assert len((await stack.me(session))["dossiers"]) == 2
    detail = await stack.until_state(second.member, "active")
    assert [step["to"] for step in detail["history"]][-2:] == ["password_set", "active"]

    async def shown() -> bool:
        path = f"/v1/dossiers/{second.dossier.id}/members/{second.member.id}"
        told = (await stack.directory.call("GET", path, token=second.cabinet.key)).ok()
        return told["has_signed_in"] and told["invitation"]["state"] == "active"

    await until(shown)


async def test_somebody_with_an_account_accepts_with_the_password_they_have(stack: Stack) -> None:
    second = await invited_again(stack)
    path = f"/v1/dossiers/{second.dossier.id}/members/{second.member.id}"
    # Nobody is told that this person is another firm's client.
    told = (await stack.directory.call("GET", path, token=second.cabinet.key)).ok()
    assert told["has_signed_in"] is False
    assert (await stack.invitation.call("GET", second.link)).ok()["account"] == "existing"
    page = await stack.invitation.page(second.link)
    assert 'autocomplete="current-password"' in page.text
    assert second.member.email not in page.text

    wrong = await stack.redeem(second.link, "quatre lapins bleus au grenier", step="accept")
    assert (wrong.status, wrong.json()["state"]) == (409, "sent")
    # Nor does the form of a new account set another password.
    new = await stack.redeem(second.link, "quatre lapins bleus au grenier")
    assert new.status == 409
    assert (await stack.sign_in(second.member.email, "quatre lapins bleus au grenier")).status == 401
    assert (await stack.detail(second.member))["state"] == "sent"

    answer = (await stack.redeem(second.link, step="accept")).ok()
    assert answer["state"] == "active"
    await stack.session(code=code_of(answer["next"]))
    await is_in(stack, second)


async def test_somebody_who_is_signed_in_accepts_with_the_session(stack: Stack) -> None:
    for how in ("bearer", "cookie"):
        second = await invited_again(stack)
        accept = f"{second.link}/accept"
        if how == "bearer":
            answer = await stack.invitation.call("POST", accept, json={}, token=second.session)
            assert answer.ok()["state"] == "active"
            code = code_of(answer.json()["next"])
        else:
            cookies = {"convive_session": second.session}
            page = await stack.invitation.page(second.link, cookies=cookies)
            assert "autocomplete=" not in page.text
            answer = await stack.invitation.post_form(accept, {"proof": "input"}, cookies=cookies)
            assert answer.status == 303
            code = code_of(answer.headers["Location"])
        await stack.session(code=code)
        await is_in(stack, second)


async def test_somebody_elses_session_accepts_nothing(stack: Stack) -> None:
    second = await invited_again(stack)
    somebody, _ = await stack.invite()
    session = await stack.come_in(somebody)
    accept = f"{second.link}/accept"
    refused = await stack.invitation.call("POST", accept, json={}, token=session)
    assert (refused.status, refused.json()["slug"]) == (403, "signed_in_as_somebody_else")
    by_cookie = await stack.invitation.call("POST", accept, json={}, cookies={"convive_session": session})
    assert by_cookie.status == 403
    page = await stack.invitation.post_form(accept, {"proof": "input"}, cookies={"convive_session": session})
    assert (page.status, 'name="password"' in page.text) == (200, True)
    for token in (None, "nonsense", second.cabinet.key, stack.ops_token):
        nobody = await stack.invitation.call("POST", accept, json={}, token=token)
        assert nobody.status == 401, token
    ended = second.session
    (await stack.directory.call("DELETE", "/v1/sessions/current", token=ended)).ok(204)
    assert (await stack.invitation.call("POST", accept, json={}, token=ended)).status == 401
    assert (await stack.detail(second.member))["state"] == "sent"
    # With the right password they are in, whoever's browser it is.
    answer = await stack.invitation.post_form(accept, {"password": PASSWORD}, cookies={"convive_session": session})
    assert answer.status == 303
    await stack.session(code=code_of(answer.headers["Location"]))
    await is_in(stack, second)


async def test_accepting_without_an_account_asks_for_one(stack: Stack) -> None:
    """Whoever has no account cannot skip the password: a session is somebody else's, and a password makes one."""
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    empty = await stack.invitation.call("POST", f"{mail.link}/accept", json={})
    assert empty.status == 401
    assert (await stack.invitation.call("GET", mail.link)).ok()["account"] == "new"
    other, _ = await stack.invite()
    session = await stack.come_in(other)
    assert (await stack.invitation.call("POST", f"{mail.link}/accept", json={}, token=session)).status == 403
    assert (await stack.detail(member))["state"] == "sent"


async def test_many_dossiers_at_once_each_have_their_own_invitation(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    email = new_address()
    members: list[Member] = []
    for _ in range(3):
        members.append(await stack.add_member(cabinet, await stack.new_dossier(cabinet), email))
    await stack.mail(email, count=3)
    links = [mail.link for mail in await stack.mails(email)]
    (await stack.redeem(links[0])).ok()
    for link in links[1:]:
        assert (await stack.invitation.call("GET", link)).ok()["account"] == "existing"
        (await stack.redeem(link, step="accept")).ok()
    session = await stack.session(email=email)
    assert len((await stack.me(session))["dossiers"]) == 3
