"""One action on many invitations: previewed, frozen, paced, paused, aborted, and all that was skipped counted."""

from __future__ import annotations

import csv
import json
from datetime import datetime, timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest

from convive_kit.http import rfc3339
from tests.running import Stack
from tests.speaking import Cabinet, Dossier, Member, until


async def some_members(stack: Stack, number: int, **body: Any) -> tuple[Cabinet, Dossier, list[Member]]:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    members = [await stack.add_member(cabinet, dossier, **body) for _ in range(number)]
    for member in members:
        await stack.until_state(member, "pending" if body.get("invite_by") == "none" else "sent")
    return cabinet, dossier, members


async def begin(stack: Stack, action: str, filter: dict[str, Any], **more: Any) -> dict[str, Any]:
    body = {"action": action, "filter": filter, "reason": "wrong sender", **more}
    return (await stack.invitation.call("POST", "/v1/bulk", json=body, token=stack.ops_token)).ok(202)


async def read(stack: Stack, bulk: dict[str, Any]) -> dict[str, Any]:
    return (await stack.invitation.call("GET", f"/v1/bulk/{bulk['id']}", token=stack.ops_token)).ok()


async def ended(stack: Stack, bulk: dict[str, Any]) -> dict[str, Any]:
    async def over() -> bool:
        return (await read(stack, bulk))["status"] not in ("running", "paused")

    await until(over, within=30)
    return await read(stack, bulk)


async def test_a_preview_counts_and_changes_nothing(stack: Stack) -> None:
    cabinet, _, members = await some_members(stack, 3)
    (await stack.operate(members[0], "revoke")).ok(202)
    before = [await stack.detail(member) for member in members]

    preview = await ended(stack, await begin(stack, "resend", {"cabinet_id": [cabinet.id]}, dry_run=True))

    assert (preview["status"], preview["matched"], preview["done"]) == ("done", 3, 2)
    assert preview["skipped"] == {"revoked": 1}
    assert {line["id"] for line in preview["sample"]} == {member.invitation_id for member in members}
    assert [await stack.detail(member) for member in members] == before


async def test_everybody_of_a_filter_gets_a_new_link_once(stack: Stack) -> None:
    cabinet, _, members = await some_members(stack, 4)
    (await stack.operate(members[0], "revoke")).ok(202)

    bulk = await ended(stack, await begin(stack, "resend", {"cabinet_id": [cabinet.id]}, rate=50))

    assert (bulk["status"], bulk["done"], bulk["skipped"], bulk["failed"]) == ("done", 3, {"revoked": 1}, 0)
    for member in members[1:]:
        await stack.mail(member.email, count=2)
        step = next(step for step in (await stack.detail(member))["history"] if step["trigger"] == "resend")
        assert step["detail"] == {"bulk": bulk["id"], "reason": "wrong sender", **step["detail"]}
        assert step["actor"] == "ops"
    assert len(await stack.mails(members[0].email)) == 1


async def test_a_preview_does_not_wait_for_a_long_run(stack: Stack) -> None:
    cabinet, _, _ = await some_members(stack, 3)
    everybody = {"cabinet_id": [cabinet.id]}
    long = await begin(stack, "resend", everybody, rate=0.1)

    preview = await ended(stack, await begin(stack, "revoke", everybody, dry_run=True))

    assert (preview["done"], (await read(stack, long))["status"]) == (3, "running")
    (await stack.invitation.call("POST", f"/v1/bulk/{long['id']}/abort", token=stack.ops_token)).ok(202)


async def test_what_comes_to_fit_later_is_not_swept_in(stack: Stack) -> None:
    cabinet, dossier, members = await some_members(stack, 3)
    bulk = await begin(stack, "revoke", {"cabinet_id": [cabinet.id]}, rate=1)
    late = await stack.add_member(cabinet, dossier)
    await stack.until_state(late, "sent")

    bulk = await ended(stack, bulk)

    assert (bulk["matched"], bulk["done"]) == (3, 3)
    assert {(await stack.detail(member))["state"] for member in members} == {"revoked"}
    assert (await stack.detail(late))["state"] == "sent"


async def test_it_rests_goes_on_and_ends_where_it_is_told_to(stack: Stack) -> None:
    cabinet, _, members = await some_members(stack, 6)
    bulk = await begin(stack, "revoke", {"cabinet_id": [cabinet.id]}, rate=2)

    async def step(what: str) -> dict[str, Any]:
        path = f"/v1/bulk/{bulk['id']}/{what}"
        return (await stack.invitation.call("POST", path, token=stack.ops_token)).ok(202)

    async def revoked() -> int:
        return [(await stack.detail(member))["state"] for member in members].count("revoked")

    assert (await step("pause"))["status"] == "paused"

    async def rests() -> bool:
        now = await read(stack, bulk)
        return now["done"] == await revoked()

    await until(rests)
    assert (await read(stack, bulk))["done"] < 6
    assert (await step("resume"))["status"] == "running"

    async def goes_on() -> bool:
        return (await read(stack, bulk))["done"] >= 2

    await until(goes_on)
    aborted = await step("abort")
    assert aborted["status"] == "aborted"
    assert aborted["finished_at"] is not None
    await until(rests)
    assert 2 <= (await read(stack, bulk))["done"] < 6
    async with stack.documents() as database:

        async def set_is_gone() -> bool:
            return await database["bulk_items"].find_one({"_id": {"$regex": f"^{bulk['id']}/"}}) is None

        await until(set_is_gone)
    # It is over, and does not begin again.
    assert (await step("resume"))["status"] == "aborted"
    assert (await step("pause"))["status"] == "aborted"


async def test_a_later_expiry_for_those_who_have_a_link(stack: Stack) -> None:
    cabinet, dossier, members = await some_members(stack, 2)
    never = await stack.add_member(cabinet, dossier, invite_by="none")
    await stack.until_state(never, "pending")
    before = (await stack.detail(members[0]))["expires_at"]
    then = rfc3339(datetime.fromisoformat(before) + timedelta(days=7))
    bulk = await begin(stack, "extend", {"dossier_id": [dossier.id]}, until=then)

    bulk = await ended(stack, bulk)

    assert (bulk["done"], bulk["skipped"]) == (2, {"never_invited": 1})
    assert (await stack.detail(members[0]))["expires_at"] == then


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "resend", "filter": {}}, "body"),
        ({"action": "extend", "filter": {"state": ["sent"]}}, "body"),
        ({"action": "resend", "filter": {"state": ["sent"]}, "until": "2027-01-01T00:00:00Z"}, "body"),
        ({"action": "revoke", "filter": {"state": ["sent"]}, "channel": "sms"}, "body"),
        ({"action": "delete", "filter": {"state": ["sent"]}}, "action"),
        ({"action": "revoke", "filter": {"state": ["gone"]}}, "filter.state.0"),
        ({"action": "revoke", "filter": {"name": "x"}}, "filter.name"),
        ({"action": "extend", "filter": {"state": ["sent"]}, "until": "2020-01-01T00:00:00Z"}, "until"),
    ],
)
async def test_what_makes_no_sense_is_refused(stack: Stack, body: dict[str, Any], field: str) -> None:
    answer = await stack.invitation.call("POST", "/v1/bulk", json={**body, "reason": "x"}, token=stack.ops_token)

    assert answer.status == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_a_list_is_carried_out_as_a_table(stack: Stack) -> None:
    cabinet, dossier, members = await some_members(stack, 3, first_name="=cmd()", phone="+33612345678")
    other = await stack.new_member()
    await stack.until_state(other, "sent")

    async def export(query: str, token: str) -> str:
        answer = await stack.invitation.call("GET", f"/v1/invitations/export?{query}", token=token)
        assert answer.status == 200
        return answer.text

    rows = list(csv.DictReader(StringIO(await export(f"cabinet_id={cabinet.id}", stack.ops_token))))
    assert {row["id"] for row in rows} == {member.invitation_id for member in members}
    assert {row["email"] for row in rows} == {member.email for member in members}
    assert {(row["state"], row["first_name"], row["phone"], row["dossier_id"]) for row in rows} == {
        ("sent", "'=cmd()", "+33612345678", dossier.id)
    }
    lines = (await export("format=jsonl&state=sent", cabinet.key)).splitlines()
    assert [json.loads(line)["id"] for line in lines] == [row["id"] for row in rows]
    assert json.loads(lines[0])["first_name"] == "=cmd()"
    detail = await stack.detail(members[-1])
    assert (json.loads(lines[0])["created_at"], rows[0]["expires_at"]) == (detail["created_at"], detail["expires_at"])
    # A cabinet carries out its own only, and nothing when it asks for others.
    assert await export(f"format=jsonl&cabinet_id={uuid4()}", cabinet.key) == ""
