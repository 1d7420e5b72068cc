"""What an operator does in a terminal, from the trouble to its end; the real program against the real services."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.service.invitation.terminal import Operator
from tests.service.invitation.test_bulk import some_members
from tests.speaking import Member, cloud_event, new_address, until, user_data
from tests.stacks import OwnStack

pytestmark = [pytest.mark.broker, pytest.mark.database]


async def park_some(stack: Stack, number: int, source: str) -> list[str]:
    """People announced under a mistyped routing key; their addresses."""
    addresses = [new_address() for _ in range(number)]
    async with stack.wire() as wire:
        for address in addresses:
            member = str(uuid4())
            event = cloud_event("user.created", member, user_data(member, address), source=source)
            await wire.send(event, "usr.created")
    stack.private |= set(addresses)

    async def all_there() -> bool:
        return len(await stack.parked()) >= number

    await until(all_there)
    return addresses


async def test_a_failed_invitation_is_found_corrected_and_watched_until_it_is_sent(own_stack: OwnStack) -> None:
    stack = await own_stack()
    wrong, right = new_address("wrong"), new_address("right")
    await stack.misbehave("refuse_permanently", match=wrong)
    cabinet = await stack.new_cabinet()
    member = await stack.add_member(cabinet, await stack.new_dossier(cabinet), wrong)
    await stack.until_state(member, "failed")
    stack.private |= {wrong, right}
    writer = await stack.new_ops_token("writer", "anne")
    anne = Operator(stack, writer["token"])

    reasons: dict[str, Any] = (await anne.run("stats", "--json")).json()["reasons"]
    (reason,) = reasons
    (found,) = (await anne.run("invitation", "list", "--error", reason, "--json")).lines()
    assert found["id"] == member.invitation_id
    shown = (await anne.run("invitation", "show", found["id"])).ok()
    assert reason in shown
    assert "pending → failed" in shown

    # Another operator watches while it is corrected.
    async with Operator(stack).terminal("invitation", "watch", found["id"], "--until", "sent") as watching:
        await watching.ends()  # it has failed, and does not go on by itself
        assert "It has ended as failed" in watching.screen
    fixed = await anne.run("invitation", "correct", found["id"], "--email", right, "--reason", "typed wrong")
    assert fixed.ok() == f"{found['id']} is pending, with link number 2.\n"
    async with anne.terminal("invitation", "watch", found["id"], "--until", "sent") as watching:
        assert await watching.ends() == 0
        assert "address_changed  ops:anne" in watching.screen
        assert "reason typed wrong" in watching.screen
        assert watching.screen.rstrip().endswith("It is sent.")
    await stack.mail(right)

    async with anne.terminal("invitation", "watch", found["id"], "--until", "active", "--interval", "0.1") as watching:
        await watching.shows("accepted")
        assert (await anne.run("invitation", "resend", found["id"], "--reason", "lost", "--json")).json()[
            "state"
        ] == "pending"
        await watching.shows("reason lost")
        await stack.mail(right, count=2)
        await stack.come_in(Member(member.id, right))
        assert await watching.ends() == 0
        assert watching.screen.count("address_changed") == 1


async def test_ten_parked_messages_are_grouped_previewed_and_replayed(own_stack: OwnStack) -> None:
    stack = await own_stack()
    addresses = await park_some(stack, 10, "/tests/payroll")
    operator = Operator(stack)
    (group,) = (await operator.run("parked", "list", "--group-by", "fingerprint", "--json")).lines()
    assert group["messages"] == 10
    of_group = (
        "replay",
        "start",
        "--from",
        "parked",
        "--fingerprint",
        group["fingerprint"],
        "--reason",
        "mistyped key",
    )

    preview = (await operator.run(*of_group, "--dry-run", "--json")).json()
    assert (preview["matched"], preview["dry_run"], len(preview["sample"])) == (10, True, 10)
    assert len(await stack.parked()) == 10

    async with operator.terminal(*of_group) as terminal:
        await terminal.shows("Replay 10? [y/N]")
        terminal.types("n\n")
        assert await terminal.ends() == 1
        assert "Nothing was done." in terminal.screen
    assert len(await stack.parked()) == 10
    async with operator.terminal(*of_group) as terminal:
        await terminal.shows("Replay 10? [y/N]")
        terminal.types("y\n")
        assert await terminal.ends() == 0
        assert "done     10" in terminal.screen
    assert await stack.parked() == []
    for address in addresses:
        await stack.mail(address)
    newest = (await operator.run("replay", "list", "--json", "--limit", "1")).lines()[0]
    assert (newest["done"], newest["failed"], newest["actor"]) == (10, 0, "ops")
    assert (await operator.run("replay", "watch", newest["id"], "--json")).json() == newest


async def test_a_parked_message_is_edited_in_the_editor_and_replayed(own_stack: OwnStack) -> None:
    stack = await own_stack()
    member, address = str(uuid4()), new_address()
    stack.private.add(address)
    broken = user_data(member, address)
    broken["dossier"]["naem"] = broken["dossier"].pop("name")
    async with stack.wire() as wire:
        await wire.send(cloud_event("user.created", member, broken), "user.created")
    (parked,) = await until(stack.parked)
    operator = Operator(stack, EDITOR="sed -i s/naem/name/")
    assert "dossier.name" in (await operator.run("parked", "show", parked["id"])).ok()
    assert (await operator.run("parked", "replay", parked["id"])).code == 1
    assert (await operator.run("parked", "edit", parked["id"])).code == 2

    async with operator.terminal("parked", "edit", parked["id"], "--reason", "mistyped") as terminal:
        assert await terminal.ends() == 0
        assert "convive parked replay" in terminal.screen
    (copy,) = (await operator.run("parked", "list", "--json")).lines()
    assert (await operator.run("parked", "replay", copy["id"])).ok() == f"{copy['id']} is replayed.\n"
    await stack.mail(address)

    async with Operator(stack, EDITOR="true").terminal("parked", "edit", parked["id"]) as terminal:
        assert await terminal.ends() == 1
        assert "Nothing was changed." in terminal.screen
    body = json.dumps(cloud_event("user.created", member, broken))
    refused = await operator.run("parked", "edit", parked["id"], "--file", "-", stdin=body)
    assert (refused.code, "edited" in refused.err) == (1, True)


async def test_a_bulk_run_is_left_alone_by_ctrl_c_and_ended_by_abort(stack: Stack) -> None:
    cabinet, _, members = await some_members(stack, 6)
    operator = Operator(stack)
    revoke = ("bulk", "revoke", "--cabinet-id", cabinet.id, "--reason", "by mistake", "--rate", "0.1")
    async with operator.terminal(*revoke) as terminal:
        await terminal.shows("6 fit: revoke 6.")
        await terminal.shows("Revoke 6? [y/N]")
        terminal.clear()
        terminal.types("y\n")
        await terminal.shows("running")
        terminal.types("\x03")
        assert await terminal.ends() == 130
        told = terminal.screen.partition("Stop it with: ")[2].split()
    assert told[:3] == ["convive", "bulk", "abort"]
    assert (await operator.run("bulk", "show", told[3], "--json")).json()["status"] == "running"

    assert (await operator.run("bulk", "pause", told[3], "--json")).json()["status"] == "paused"
    assert (await operator.run("bulk", "resume", told[3], "--json")).json()["status"] == "running"
    aborted = (await operator.run("bulk", "abort", told[3], "--json")).json()
    assert (aborted["status"], aborted["matched"]) == ("aborted", 6)
    states = [(await stack.detail(member))["state"] for member in members]
    assert states.count("sent") > 0


async def test_a_bulk_run_shows_its_progress_and_its_counts(stack: Stack) -> None:
    cabinet, _, members = await some_members(stack, 3)
    (await stack.operate(members[0], "revoke")).ok(202)
    operator = Operator(stack)
    again = ("bulk", "resend", "--cabinet-id", cabinet.id, "--reason", "lost", "--rate", "2")
    async with operator.terminal(*again) as terminal:
        await terminal.shows("3 fit: send a new link to 2, skip revoked 1.")
        terminal.types("y\n")
        await terminal.shows("2/3")
        assert await terminal.ends() == 0
        assert "skipped  revoked 1" in terminal.screen
    over = await operator.run("bulk", "resend", "--cabinet-id", cabinet.id, "--reason", "x", "--yes", "--json")
    # Nothing but data on stdout, and no bar where nobody looks.
    assert (over.json()["done"], over.err) == (2, "")
    begun = await operator.run(*again, "--yes", "--no-wait", "--json")
    assert begun.json()["status"] in ("running", "done")


async def test_events_firms_and_tokens_are_made_from_the_terminal(stack: Stack, tmp_path: Any) -> None:
    operator = Operator(stack)
    made = (await operator.run("cabinet", "create", "Cabinet Léger", "--phone", "01 23 45 67 89", "--json")).json()
    stack.private.add(made["api_key"])
    firm = Operator(stack, made["api_key"])
    assert (await firm.run("invitation", "list", "--json")).lines() == []

    name = f"anne.{uuid4().hex[:8]}"
    token = await operator.run("ops", "token", "create", name, "--role", "reader")
    stack.private.add(token.out.strip())
    anne = Operator(stack, token.out.strip())
    await anne.run("stats")
    listed = {one["name"]: one for one in (await operator.run("ops", "token", "list", "--all", "--json")).lines()}
    assert listed[name]["revoked_at"] is None
    assert token.out.strip() not in str(listed)
    assert (await operator.run("ops", "token", "revoke", listed[name]["id"], "--yes")).code == 0
    assert (await anne.run("stats")).code == 4

    member, address = str(uuid4()), new_address()
    event = cloud_event("user.created", member, user_data(member, address), source="/tests/by-hand")
    file = tmp_path / "created.json"
    file.write_text(json.dumps(event))
    published = [await operator.run("event", "publish", str(file), "--json") for _ in range(2)]
    assert {one.json()["id"] for one in published} == {event["id"]}
    invitation = published[0].json()["invitation_id"]
    steps = (await operator.run("invitation", "watch", invitation, "--until", "sent", "--json")).lines()
    assert [step["to"] for step in steps] == ["pending", "sent"]
    assert len(await stack.mails(address)) == 1
    record = (await operator.run("audit", "--target", f"event:{event['id']}", "--json", "--limit", "1")).lines()[0]
    assert record["action"] == "event.publish"


async def test_staff_are_given_a_place_and_lose_it_from_the_terminal(stack: Stack, tmp_path: Any) -> None:
    operator, cabinet = Operator(stack), await stack.new_cabinet()
    address, password = new_address(), f"{uuid4()} words"
    stack.private.add(password)
    file = tmp_path / "password"
    file.write_text(f"{password}\n")
    who = ("staff", "create", address, "--cabinet-id", cabinet.id, "--first-name", "Claire", "--last-name", "Léger")
    made = (await operator.run(*who, "--password-file", str(file), "--json")).json()
    assert (made["email"], made["active"]) == (address, True)
    signed_in = await stack.directory.call("POST", "/v1/sessions", json={"email": address, "password": password})
    assert signed_in.status == 201
    written_to = await operator.run(*("staff", "create", new_address()), *who[3:])
    assert "A letter is on its way" in written_to.err

    listed = (await operator.run("staff", "list", "--cabinet-id", cabinet.id, "--json")).lines()
    assert {one["account_id"]: one["active"] for one in listed} == {
        made["account_id"]: True,
        written_to.out.strip(): False,
    }
    assert (await operator.run("staff", "remove", made["account_id"], "--cabinet-id", cabinet.id, "--yes")).code == 0
    [left] = (await operator.run("staff", "list", "--cabinet-id", cabinet.id, "--json")).lines()
    assert left["account_id"] == written_to.out.strip()


async def test_ctrl_c_in_place_of_an_answer_does_nothing(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")
    async with Operator(stack).terminal("invitation", "revoke", member.invitation_id) as terminal:
        await terminal.asks("which is sent? This cannot be undone. [y/N]")
        terminal.types("\x03")
        assert await terminal.ends() == 130
    assert (await stack.detail(member))["state"] == "sent"


async def test_ctrl_c_ends_a_watch_at_once(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")
    async with Operator(stack).terminal("invitation", "watch", member.invitation_id) as terminal:
        await terminal.shows("pending → sent")
        terminal.types("\x03")
        async with asyncio.timeout(20):
            assert await terminal.ends() == 130
