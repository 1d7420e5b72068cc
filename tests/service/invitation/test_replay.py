"""Handled again: parked messages one by one and by group, the log into a healthy system, the log into an empty one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest

from convive_contracts import topology
from tests.running import Stack
from tests.speaking import FOREIGN_SOURCE, PASSWORD, Member, cloud_event, new_address, removal_data, until, user_data
from tests.stacks import OwnStack

pytestmark = [pytest.mark.broker, pytest.mark.database]

EVERYTHING = {"after": "2020-01-01T00:00:00Z"}


async def replay(stack: Stack, origin: str, which: dict[str, Any], **options: Any) -> Any:
    """Begin a replay and return it once it has ended."""
    body = {"from": origin, "filter": which, "reason": "a test", **options}
    begun = (await stack.invitation.call("POST", "/v1/replays", json=body, token=stack.ops_token)).ok(202)

    async def ended() -> Any:
        now = (await stack.invitation.call("GET", f"/v1/replays/{begun['id']}", token=stack.ops_token)).ok()
        return now if now["status"] != "running" else None

    return await until(ended, within=60, what="the end of the replay")


async def parked_now(stack: Stack, **query: str) -> list[Any]:
    path = "/v1/parked?limit=200" + "".join(f"&{name}={value}" for name, value in query.items())
    return (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["items"]


async def everything(stack: Stack) -> dict[str, Any]:
    """All invitations as they are, without what tells only how they were written."""
    async with stack.documents() as database:
        found = [document async for document in database["invitations"].find({}, {"writes": 0})]
    return {document.pop("_id"): document for document in found}


async def mails_so_far(stack: Stack) -> int:
    return len((await stack.inbox.call("GET", "/api/messages?limit=10000")).ok())


async def send_broken(stack: Stack, member: Member, data: dict[str, Any]) -> None:
    """An event that cannot be handled because the dossier's name is missing."""
    broken = json.loads(json.dumps(data))
    del broken["dossier"]["name"]
    event = cloud_event("user.created", member.id, broken)
    async with stack.wire() as wire:
        await wire.send(event, "user.created")


async def a_broken_one(stack: Stack) -> tuple[Member, dict[str, Any], Any]:
    """A member whose `user.created` was parked; returns the parked message too."""
    member = Member(str(uuid4()), new_address(), "/tests/payroll")
    data = user_data(member.id, member.email)
    await send_broken(stack, member, data)

    async def parked() -> Any:
        for one in await parked_now(stack):
            detail = (await stack.invitation.call("GET", f"/v1/parked/{one['id']}", token=stack.ops_token)).ok()
            if member.id in detail["body"]:
                return detail
        return None

    return member, data, await until(parked, what="the parked message")


async def test_a_parked_message_is_edited_replayed_and_both_are_kept(stack: Stack) -> None:
    member, data, parked = await a_broken_one(stack)
    assert "dossier.name" in parked["reason"]
    again = await stack.invitation.call("POST", f"/v1/parked/{parked['id']}/replay", json={}, token=stack.ops_token)
    assert (again.status, again.json()["slug"]) == (409, "malformed")

    right = json.dumps(cloud_event("user.created", member.id, data))
    copy = (
        await stack.invitation.call(
            "PUT", f"/v1/parked/{parked['id']}", json={"body": right, "reason": "name"}, token=stack.ops_token
        )
    ).ok()
    done = (
        await stack.invitation.call(
            "POST", f"/v1/parked/{copy['id']}/replay", json={"reason": "name was missing"}, token=stack.ops_token
        )
    ).ok()

    assert (copy["edited_from"], done["status"], done["settled"]["by"]) == (parked["id"], "replayed", "ops")
    original = (await stack.invitation.call("GET", f"/v1/parked/{parked['id']}", token=stack.ops_token)).ok()
    assert (original["status"], original["edited_to"], original["count"]) == ("edited", copy["id"], 2)
    sent = await stack.until_state(member, "sent")
    assert sent["history"][0]["detail"] == {
        "replay": "by hand",
        "replayed_by": "ops",
        "replay_reason": "name was missing",
    }
    await stack.mail(member.email)


async def test_a_discarded_message_is_out_of_sight_and_kept(stack: Stack) -> None:
    _, _, parked = await a_broken_one(stack)

    answer = await stack.invitation.call(
        "DELETE", f"/v1/parked/{parked['id']}", json={"reason": "noise"}, token=stack.ops_token
    )

    assert answer.ok()["settled"]["reason"] == "noise"
    assert parked["id"] not in {one["id"] for one in await parked_now(stack)}
    assert parked["id"] in {one["id"] for one in await parked_now(stack, status="discarded")}
    again = await stack.invitation.call("POST", f"/v1/parked/{parked['id']}/replay", json={}, token=stack.ops_token)
    assert (again.status, again.json()["status_of_message"]) == (409, "discarded")


async def test_the_directorys_parked_messages_are_in_the_same_list(stack: Stack) -> None:
    marker = str(uuid4())
    event = cloud_event("invitation.sent", marker, {"marker": marker}, source="/convive/invitation")
    async with stack.wire() as wire:
        await wire.send(event, "invitation.sent")

    async def there() -> Any:
        return [one for one in await parked_now(stack) if one["queue"] == "directory.events"]

    (parked, *_) = await until(there)
    groups = await parked_now(stack, group_by="fingerprint")
    assert parked["fingerprint"] in {group["fingerprint"] for group in groups}
    gone = await stack.invitation.call(
        "DELETE", f"/v1/parked/{parked['id']}", json={"reason": "a test"}, token=stack.ops_token
    )
    assert (gone.status, gone.json()["settled"]["by"]) == (200, "ops")


async def test_a_group_is_replayed_once_what_it_waited_for_is_there(own_stack: OwnStack) -> None:
    stack = await own_stack()
    # Requests about invitations that nobody knows, old enough not to be waited for.
    members = [Member(str(uuid4()), new_address(), "/tests/payroll") for _ in range(10)]
    for member in members:
        data = {"invitation_id": member.invitation_id}
        event = cloud_event("invitation.resend_requested", member.invitation_id, data) | {
            "time": "2026-01-01T00:00:00.000Z"
        }
        async with stack.wire() as wire:
            await wire.send(event, "invitation.resend_requested")

    async def all_parked() -> Any:
        found = await parked_now(stack)
        return found if len(found) == len(members) else None

    parked = await until(all_parked)
    for member in members[:8]:
        await stack.publish("user.created", member.id, user_data(member.id, member.email))
        await stack.until_state(member, "sent")
    before = await mails_so_far(stack)
    which = {"fingerprint": [parked[0]["fingerprint"]]}

    looked = await replay(stack, "parked", which, dry_run=True)
    assert (looked["matched"], looked["done"], len(looked["sample"])) == (10, 0, 10)
    done = await replay(stack, "parked", which, rate=100)

    assert (done["matched"], done["done"], done["failed"]) == (10, 8, 2)
    assert {one["count"] for one in await parked_now(stack)} == {2}
    for member in members[:8]:
        await stack.mail(member.email, count=2)
    assert await mails_so_far(stack) == before + 8
    empty = await stack.invitation.call(
        "POST", "/v1/replays", json={"from": "parked", "filter": {}, "reason": "x"}, token=stack.ops_token
    )
    assert (empty.status, empty.json()["errors"][0]["field"]) == (422, "filter")


async def a_lively_past(stack: Stack) -> dict[str, Member]:
    """One invitation in every situation that the log must be able to tell of."""
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    names = ("sent", "opened", "active", "resent", "revoked", "declined", "extended")
    members = {name: await stack.add_member(cabinet, dossier) for name in names}
    members["later"] = await stack.add_member(cabinet, dossier, invite_by="none")
    removed, data = await stack.invite(sequence=1)
    again, data_again = await stack.invite(sequence=1)
    members |= {"removed": removed, "again": again}
    await asyncio.gather(*(stack.mail(member.email) for name, member in members.items() if name != "later"))
    await asyncio.gather(*(stack.until_state(member, "sent") for name, member in members.items() if name != "later"))
    link = (await stack.mail(members["opened"].email)).link
    (await stack.invitation.call("POST", f"{link}/open", json={"proof": "input"})).ok()
    await stack.come_in(members["active"])
    (await stack.operate(members["resent"], "resend")).ok(202)
    await stack.mail(members["resent"].email, count=2)
    (await stack.operate(members["revoked"], "revoke")).ok(202)
    link = (await stack.mail(members["declined"].email)).link
    (await stack.invitation.call("POST", f"{link}/decline", json={})).ok()
    (await stack.operate(members["extended"], "extend", until="2027-06-01T00:00:00Z")).ok(202)
    await stack.publish("user.removed", removed.id, removal_data(data), sequence=2)
    await stack.publish("user.removed", again.id, removal_data(data_again), sequence=2)
    await stack.until_state(again, "revoked")
    await stack.publish("user.created", again.id, data_again, sequence=3)
    await stack.mail(again.email, count=2)
    for name, state in (
        ("opened", "opened"), ("active", "active"), ("resent", "sent"), ("revoked", "revoked"),
        ("declined", "declined"), ("removed", "revoked"), ("again", "sent"), ("later", "pending"),
    ):  # fmt: skip
        await stack.until_state(members[name], state)

    async def announced() -> bool:
        async with stack.documents() as database:
            return await database["invitations"].find_one({"outbox.0": {"$exists": True}}) is None

    await until(announced, what="every event to be published")
    return members


async def test_the_whole_log_again_changes_nothing_and_sends_nothing(own_stack: OwnStack) -> None:
    stack = await own_stack()
    await a_lively_past(stack)
    before, mails = await everything(stack), await mails_so_far(stack)

    done = await replay(stack, "log", EVERYTHING)

    assert (done["mode"], done["status"], done["done"], done["failed"]) == ("replay", "done", 0, 0)
    assert done["matched"] > 30
    assert await everything(stack) == before
    assert await mails_so_far(stack) == mails


async def test_a_filter_takes_only_what_it_names(own_stack: OwnStack) -> None:
    stack = await own_stack()
    members = await a_lively_past(stack)

    one = await replay(stack, "log", {"member_id": [members["active"].id]}, dry_run=True)
    created = await replay(stack, "log", {"type": ["user.created"]}, dry_run=True)
    nothing = await replay(stack, "log", {"type": ["user.created"], "before": "2020-01-01T00:00:00Z"}, dry_run=True)

    # user.created, account.redeemed and what the invitation told of itself; signing in names several.
    types = [line["type"] for line in one["sample"]]
    assert {"user.created", "account.redeemed", "invitation.sent", "invitation.active"} <= set(types)
    assert created["matched"] == len(members) + 1
    assert nothing["matched"] == 0


async def test_an_aborted_replay_stops_and_says_how_far_it_came(own_stack: OwnStack) -> None:
    stack = await own_stack()
    await a_lively_past(stack)
    body = {"from": "log", "filter": EVERYTHING, "reason": "a test", "rate": 1}
    begun = (await stack.invitation.call("POST", "/v1/replays", json=body, token=stack.ops_token)).ok(202)

    async def under_way() -> Any:
        now = (await stack.invitation.call("GET", f"/v1/replays/{begun['id']}", token=stack.ops_token)).ok()
        return now["matched"] >= 1

    await until(under_way)
    answer = await stack.invitation.call("POST", f"/v1/replays/{begun['id']}/abort", token=stack.ops_token)

    assert answer.ok(202)["status"] == "aborted"
    listed = (await stack.invitation.call("GET", "/v1/replays", token=stack.ops_token)).ok()["items"]
    assert [one["status"] for one in listed] == ["aborted"]
    assert listed[0]["matched"] < 30


async def test_a_replayer_that_dies_is_followed_by_another(own_stack: OwnStack) -> None:
    stack = await own_stack()
    await a_lively_past(stack)
    before, mails = await everything(stack), await mails_so_far(stack)
    body = {"from": "log", "filter": EVERYTHING, "reason": "a test", "rate": 5}
    begun = (await stack.invitation.call("POST", "/v1/replays", json=body, token=stack.ops_token)).ok(202)
    path = f"/v1/replays/{begun['id']}"

    async def under_way() -> Any:
        return (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["matched"] >= 5

    await until(under_way)
    stack.invitation_service.process.kill()
    async with stack.documents() as database:
        # The lease of the dead one, over early.
        await database["replays"].update_one({"_id": begun["id"]}, {"$unset": {"lease_until": ""}})
    await stack.invitation_service.start()

    async def ended() -> Any:
        now = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()
        return now if now["status"] == "done" else None

    done = await until(ended, within=60)
    assert done["failed"] == 0
    assert await everything(stack) == before
    assert await mails_so_far(stack) == mails


TOLD = ("state", "channel", "link_sequence", "send_sequence", "expires_at", "reason", "member", "dossier", "cabinet")


async def test_an_empty_database_is_rebuilt_without_sending_again(own_stack: OwnStack) -> None:
    stack = await own_stack()
    members = await a_lively_past(stack)
    before, mails = await everything(stack), await mails_so_far(stack)
    old_link = (await stack.mail(members["sent"].email)).link
    await stack.invitation_service.stop()
    async with stack.documents() as database:
        for name in ("invitations", "names"):
            await database[name].delete_many({})
    await stack.invitation_service.start()

    done = await replay(stack, "log", EVERYTHING)

    assert (done["mode"], done["status"], done["skipped"]["unbuildable"]) == ("rebuild", "done", 0)
    after = await everything(stack)
    assert set(after) == set(before)
    for id, document in before.items():
        for name in TOLD:
            assert after[id].get(name) == document.get(name), (id, name)
        assert after[id]["version"] >= document["version"]
    assert await mails_so_far(stack) == mails
    # The link that was mailed long ago leads in.
    code = (await stack.redeem(old_link)).ok()["next"]
    assert code
    assert (await stack.sign_in(members["sent"].email, PASSWORD)).status == 201
    await stack.until_state(members["sent"], "active")


async def test_who_was_never_written_to_is_when_the_rebuild_is_over(own_stack: OwnStack) -> None:
    stack = await own_stack()
    await stack.invitation_service.stop()
    people = [Member(str(uuid4()), new_address(), FOREIGN_SOURCE) for _ in range(3)]
    async with stack.wire() as bus:
        for one in people:
            await bus.send(cloud_event("user.created", one.id, user_data(one.id, one.email)), "user.created")
        # Only the log has them now.
        queue = await bus.channel.get_queue(topology.INVITATION_EVENTS, ensure=False)
        await queue.purge()
    await stack.invitation_service.start()

    done = await replay(stack, "log", EVERYTHING)

    assert (done["mode"], done["status"], done["done"], done["armed"]) == ("rebuild", "done", 3, 3)
    for one in people:
        await stack.until_state(one, "sent")
        await stack.mail(one.email)


async def test_the_directory_can_tell_its_state_to_a_service_that_lost_all_and_the_log_too(own_stack: OwnStack) -> None:
    stack = await own_stack()
    members = await a_lively_past(stack)
    active, waiting = members["active"], members["sent"]
    await stack.invitation_service.stop()
    async with stack.documents() as database:
        for name in ("invitations", "names"):
            await database[name].delete_many({})
    mails = len(await stack.mails(active.email))

    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "invitation.cli", "directory", "announce", "--json"],
        env=stack.environment("directory"),
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["members"] == 8
    await stack.invitation_service.start()
    # From the announcement alone, as it waits in the queue: who is in is in, and hears nothing of it.
    await stack.until_state(active, "active")
    await stack.until_state(waiting, "sent")
    assert len(await stack.mails(active.email)) == mails
