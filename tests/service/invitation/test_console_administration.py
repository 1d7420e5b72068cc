"""The audit at the console, and the tokens, which an admin makes and revokes."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

from convive_kit.version import installed_version
from tests.running import Stack
from tests.service.invitation.console import Operator, is_on_the_way_to_signing_in, operator, words
from tests.speaking import until
from tests.stacks import OwnStack


async def test_the_audit_says_who_did_what_and_leads_there(stack: Stack) -> None:
    member = await stack.new_member()
    await stack.until_state(member, "sent")
    name = f"marc.{uuid4().hex[:8]}"
    writer = await operator(stack, "writer", name)
    await writer.get("/ops/audit")
    await writer.post(f"/ops/invitations/{member.invitation_id}/revoke", reason="left the firm")
    await writer.post(f"/ops/invitations/{member.invitation_id}/resend")
    reader = await operator(stack, "reader")

    page = await reader.get(f"/ops/audit?actor=ops:{name}&action=&target=")

    said = words(page)
    assert said.index("invitation.resend") < said.index("invitation.revoke")
    for shown in ("left the firm", "not allowed wrong_state", "state sent → revoked"):
        assert shown in said, shown
    assert f'href="/ops/invitations/{member.invitation_id}"' in page.text
    assert member.email not in page.text
    first = await reader.get(f"/ops/audit?actor=ops:{name}&limit=1")
    more = re.search(r'href="([^"]+)" rel="next"', first.text)
    assert more is not None
    second = words(await reader.get(more[1].replace("&amp;", "&")))
    assert "left the firm" in second
    assert "not allowed" not in second
    assert (await reader.get("/ops/audit?cursor=x")).status == 422


async def test_an_admin_makes_a_token_that_is_seen_once_and_revokes_it(stack: Stack) -> None:
    admin = await operator(stack, "admin")
    name = f"eve.{uuid4().hex[:8]}"
    await admin.get("/ops/tokens")

    made = await admin.post("/ops/tokens", name=name, role="reader")

    token = re.findall(r"cvo_[\w-]+", made.text)[0]
    stack.private.add(token)
    page = await admin.get("/ops/tokens?limit=200")
    assert name in words(page)
    assert token not in page.text
    eve = Operator(stack)
    assert (await eve.follow(await eve.sign_in(token))).status == 200
    assert "/ops/tokens" not in (await eve.get("/ops/invitations")).text
    assert (await eve.get("/ops/tokens")).status == 403
    revoke = re.findall(rf"{name}.*?(/ops/tokens/[\w-]+/revoke)", page.text, re.DOTALL)[0]
    assert "The token is revoked" in words(await admin.follow(await admin.post(revoke)))
    assert is_on_the_way_to_signing_in(await eve.get("/ops/invitations"))
    wrong = await admin.post("/ops/tokens", name="two words", role="reader")
    assert (wrong.status, "<code>name</code>" in wrong.text) == (422, True)


async def test_the_overview_counts_and_leads_to_what_it_counts(stack: Stack) -> None:
    member = await stack.new_member()
    await stack.until_state(member, "sent")
    one = await operator(stack, "reader")
    counted = (await stack.invitation.call("GET", "/v1/stats", token=stack.ops_token)).ok()["by_state"]

    page = await one.get("/ops")

    shown = {
        state: int(re.findall(rf'state={state}"><rect.*?class="count"[^>]*>(\d+)<', page.text)[0]) for state in counted
    }
    assert shown.keys() == counted.keys()
    assert sum(shown.values()) >= 1
    assert member.email not in page.text
    assert 'href="/ops/invitations?state=sent"' in page.text


async def test_the_surroundings_show_queues_workers_and_what_does_not_work(own_stack: OwnStack) -> None:
    stack = await own_stack()
    reader = await operator(stack, "reader")

    page = words(await reader.get("/ops/surroundings"))

    assert "invitation.events 0 1" in page
    for name in ("Workers", "Database", "Indexes", "Mail server", "Directory"):
        assert f"{name} ✓ works" in page, name
    await stack.directory_service.stop()
    page = words(await reader.get("/ops/surroundings"))
    assert page.index("Directory ✗ does not work") < page.index("Database ✓ works"), "what does not work comes first"
    assert "Start the directory" in page
    assert "directory.events 0 0" in page
    french = words(await reader.get("/ops/surroundings", **{"Accept-Language": "fr"}))
    assert "Le courtier de messages répond." in french
    assert "Démarrez l’annuaire" in french


async def test_a_mail_server_that_counts_as_down_is_seen_on_the_overview(own_stack: OwnStack) -> None:
    stack = await own_stack()
    reader = await operator(stack, "reader")

    async def says(what: str) -> Any:
        overview, surroundings = words(await reader.get("/ops")), words(await reader.get("/ops/surroundings"))
        return f"Provider {what}" in overview and f"by e-mail: {what}" in surroundings

    await until(lambda: says("✓ takes messages"))
    assert f"web, worker {installed_version()}" in words(await reader.get("/ops/surroundings"))
    await stack.inbox_service.stop()
    for _ in range(5):
        await stack.new_member()
    await until(lambda: says("✗ counts as down"), within=30)
