"""Operators: each has a token of their own, and the audit says who did what."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.speaking import until


async def audit(stack: Stack, **query: str) -> list[dict[str, Any]]:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return (await stack.invitation.call("GET", f"/v1/audit?{asked}", token=stack.ops_token)).ok()["items"]


async def test_a_token_is_shown_once_and_works_until_it_is_revoked(stack: Stack) -> None:
    made = await stack.new_ops_token("reader", f"anne.{uuid4().hex[:8]}")
    listed = (await stack.invitation.call("GET", "/v1/tokens?limit=200", token=stack.ops_token)).ok()["items"]

    shown = next(token for token in listed if token["id"] == made["id"])
    assert shown == {name: value for name, value in made.items() if name != "token"}
    assert (shown["role"], shown["created_by"], shown["revoked_at"]) == ("reader", "ops", None)
    assert (await stack.invitation.call("GET", "/v1/invitations", token=made["token"])).status == 200

    ended = (await stack.invitation.call("DELETE", f"/v1/tokens/{made['id']}", token=stack.ops_token)).ok()
    assert ended["revoked_by"] == "ops"
    assert (await stack.invitation.call("GET", "/v1/invitations", token=made["token"])).status == 401
    again = (await stack.invitation.call("DELETE", f"/v1/tokens/{made['id']}", token=stack.ops_token)).ok()
    assert again == ended


async def test_who_makes_tokens_is_an_admin_with_a_name(stack: Stack) -> None:
    admin = await stack.new_ops_token("admin", f"paul.{uuid4().hex[:8]}")
    wanted = {"name": f"eve.{uuid4().hex[:8]}", "role": "writer"}

    made = (await stack.invitation.call("POST", "/v1/tokens", json=wanted, token=admin["token"])).ok(201)
    stack.private.add(made["token"])

    assert made["created_by"] == f"ops:{admin['name']}"
    (record,) = await audit(stack, target=f"token:{wanted['name']}")
    assert (record["actor"], record["action"], record["outcome"]) == (made["created_by"], "token.create", "done")
    assert made["token"] not in str(record)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "two words", "role": "reader"}, "name"),
        ({"name": "", "role": "reader"}, "name"),
        ({"name": "x" * 65, "role": "reader"}, "name"),
        ({"name": "anne", "role": "owner"}, "role"),
        ({"role": "reader"}, "name"),
    ],
)
async def test_what_a_token_needs_is_said(stack: Stack, body: dict[str, Any], field: str) -> None:
    answer = await stack.invitation.call("POST", "/v1/tokens", json=body, token=stack.ops_token)

    assert answer.status == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_every_action_on_an_invitation_is_recorded_before_and_after(stack: Stack) -> None:
    member = await stack.new_member()
    await stack.until_state(member, "sent")
    writer = await stack.new_ops_token("writer", f"marc.{uuid4().hex[:8]}")
    target = f"invitation:{member.invitation_id}"

    (await stack.operate(member, "resend", writer["token"], reason="asked by phone")).ok(202)
    await stack.mail(member.email, count=2)
    await stack.until_state(member, "sent")
    (await stack.operate(member, "revoke", writer["token"])).ok(202)
    assert (await stack.operate(member, "resend", writer["token"])).status == 409

    refused, revoked, resent = await audit(stack, target=target)
    assert {record["actor"] for record in (refused, revoked, resent)} == {f"ops:{writer['name']}"}
    assert [record["action"].partition(".")[2] for record in (resent, revoked, refused)] == [
        "resend",
        "revoke",
        "resend",
    ]
    assert (resent["outcome"], resent["reason"]) == ("done", "asked by phone")
    assert (resent["before"]["state"], resent["before"]["link_sequence"]) == ("sent", 1)
    assert (resent["after"]["state"], resent["after"]["link_sequence"]) == ("pending", 2)
    assert (revoked["before"]["state"], revoked["after"]["state"]) == ("sent", "revoked")
    assert (refused["outcome"], refused["error"], refused["after"]) == ("refused", "wrong_state", None)
    for private in (member.email, writer["token"]):
        assert private not in str((refused, revoked, resent))
    # The history names the same operator.
    assert [step["actor"] for step in (await stack.detail(member))["history"] if step["trigger"] == "revoked"] == [
        f"ops:{writer['name']}"
    ]


async def test_the_audit_is_filtered_and_read_page_by_page(stack: Stack) -> None:
    writer = await stack.new_ops_token("writer", f"luc.{uuid4().hex[:8]}")
    for _ in range(5):
        member = await stack.new_member()
        await stack.until_state(member, "sent")
        (await stack.operate(member, "revoke", writer["token"])).ok(202)

    actor = f"ops:{writer['name']}"
    whole = await audit(stack, actor=actor)
    assert [record["action"] for record in whole] == ["invitation.revoke"] * 5
    pages: list[dict[str, Any]] = []
    cursor = ""
    while True:
        path = f"/v1/audit?actor={actor}&limit=2{cursor}"
        page = (await stack.invitation.call("GET", path, token=writer["token"])).ok()
        pages += page["items"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert pages == whole
    assert await audit(stack, actor=actor, action="invitation.resend") == []
    assert await audit(stack, actor=actor, before=whole[-1]["at"]) == []


async def test_people_are_found_by_how_their_name_or_address_begins(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    token = uuid4().hex[:8]
    member = await stack.add_member(cabinet, dossier, f"{token}@example.com", first_name="Zoé", last_name="Œuvrard")
    await stack.until_state(member, "sent")

    for q in ("zoe", "ZOÉ oeuv", "œuvrard z", "Oe", token, f"{token}@ex", "z"):
        answer = await stack.invitation.call("GET", f"/v1/invitations?q={quote(q)}", token=cabinet.key)
        assert [item["id"] for item in answer.ok()["items"]] == [member.invitation_id], q
    for q in ("eu", "uvrard", "nobody", f"{token}@exx"):
        answer = await stack.invitation.call("GET", f"/v1/invitations?q={quote(q)}", token=cabinet.key)
        assert answer.ok()["items"] == [], q
    answer = await stack.invitation.call("GET", "/v1/invitations?q=%20", token=cabinet.key)
    assert (answer.status, answer.json()["errors"][0]["field"]) == (422, "q")


async def test_the_whole_is_seen_at_a_glance(stack: Stack) -> None:
    async def stats() -> dict[str, Any]:
        return (await stack.invitation.call("GET", "/v1/stats", token=stack.ops_token)).ok()

    before = await stats()
    member = await stack.new_member()
    await stack.until_state(member, "sent")

    async def counted() -> bool:
        return (await stats())["total"] > before["total"]

    await until(counted)
    (await stack.operate(member, "revoke")).ok(202)

    async def counted_again() -> bool:
        return (await stats())["by_state"]["revoked"] > before["by_state"]["revoked"]

    await until(counted_again)
    now = await stats()
    assert now["total"] == sum(now["by_state"].values())
    by_channel = now["delivery"]["by_channel"]
    for outcome in ("waiting", "accepted", "failed"):
        assert now["delivery"][outcome] == sum(one[outcome] for one in by_channel.values())
    assert by_channel.keys() == {"email", "sms"}
    assert now["reasons"]["requested"] >= 1
    assert now["created_last_hour"] >= 1
    assert len(now["per_day"]) == 30
    assert now["per_day"][-1]["created"] == sum(now["per_day"][-1]["by_state"].values())
    assert sum(day["created"] for day in now["per_day"]) == now["total"]
