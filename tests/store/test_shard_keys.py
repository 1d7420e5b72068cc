"""Whatever happens on the way of an event or of a link names the shard key, so it costs one shard, however many there
are; what asks all of them is on a list. Heard on a real database from the services themselves, through a whole life."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import pytest

from convive_kit.mongo import Document, close_client, open_client
from deploy.local.services import Service
from tests.running import Stack
from tests.speaking import (
    FOREIGN_SOURCE,
    Cabinet,
    Member,
    cloud_event,
    code_of,
    new_address,
    removal_data,
    until,
    user_data,
)
from tests.stacks import OwnStack
from tests.store.explaining import Heard, explain
from tests.store.recorded_service import FILE_VARIABLE
from tests.store.sharding import EXPECTED, SHARDED, UNSHARDED, Verdict, judge, refused_indexes

pytestmark = [pytest.mark.broker, pytest.mark.database]

ON_THE_WAY = {
    ("invitation.invitations", "insert"),
    ("invitation.invitations", "update"),
    ("invitation.invitations", "find"),
    ("invitation.names", "update"),
    ("invitation.names", "find"),
    ("directory.accounts", "insert"),
    ("directory.accounts", "update"),
    ("directory.accounts", "find"),
    ("directory.sessions", "insert"),
    ("directory.sessions", "find"),
    ("directory.dossiers", "insert"),
    ("directory.dossiers", "find"),
    ("directory.cabinets", "insert"),
    ("directory.cabinets", "find"),
}
"""What a life is made of: none of it may be missing in what was heard."""
MEANT = {
    "the due loop",
    "the sweeper of the outbox",
    "how much is due, for the metrics",
    "how much waits in the outbox, for the metrics",
    "the invitations of a person: lists, and others to accept on the page of a link",
    "lists, exports, counts: a walk along an index",
    "whether there is any invitation, when a replay begins",
    "who signs in with the code from a link",
}
"""What else happens then, by its name in the list."""


# --- a whole life -------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_every_step_of_an_event_and_of_a_link_names_the_shard_key(own_stack: OwnStack) -> None:
    stack = await own_stack(start=False)
    files = _record(stack)
    await stack.start()
    try:
        await _live(stack)
        indexes = await _indexes(stack)
        commands = [command for file in files.values() for command in bson.decode_all(file.read_bytes())]
        verdict = judge(lambda name: _service_of(stack, name), commands)
        assert not verdict.faults, "\n".join(verdict.faults)
        assert not ON_THE_WAY - verdict.targeted.keys()
        assert sorted(MEANT - verdict.scattered.keys()) == []
        await _each_is_found_by_an_index(stack, verdict)
        assert not refused_indexes(indexes)
        unknown = indexes.keys() - SHARDED.keys() - UNSHARDED.keys()
        assert not unknown, "nobody has said what these would be sharded by"
    finally:
        await stack.stop()


def _record(stack: Stack) -> Mapping[str, Path]:
    """Have both services write down what they ask their databases for."""
    files: dict[str, Path] = {}
    for name in ("directory", "invitation"):
        port = stack.around.directory_port if name == "directory" else stack.around.invitation_port
        files[name] = stack.folder / f"{name}.commands"
        env = stack.environment(name) | {f"CONVIVE_{name.upper()}_PORT": str(port), FILE_VARIABLE: str(files[name])}
        service = Service(
            f"The {name} service",
            ["tests.store.recorded_service", name],
            url=f"http://127.0.0.1:{port}",
            env=env,
            log=stack.folder / f"{name}-{port}.log",
        )
        setattr(stack, f"{name}_service", service)
    stack.folder.mkdir(parents=True, exist_ok=True)
    return files


async def _live(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    await _come_in_and_again(stack, cabinet)
    await _be_looked_after(stack, cabinet)
    await _hear_from_others(stack)
    await _replay(stack)
    for path in ("/v1/invitations?state=sent", "/v1/invitations?limit=1", "/v1/stats", "/metrics"):
        assert (await stack.invitation.call("GET", path, token=stack.ops_token)).status == 200
    await stack.directory.call("GET", "/metrics")
    await stack.directory.call("GET", "/v1/dossiers", token=cabinet.key)


async def _come_in_and_again(stack: Stack, cabinet: Cabinet) -> None:
    """Invited, seen, opened, in; then to a second dossier, and a third on the same page."""
    address = new_address()
    first = await stack.add_member(cabinet, await stack.new_dossier(cabinet), address)
    link = (await stack.mail(address)).link
    await stack.invitation.page(link)
    (await stack.invitation.call("POST", f"{link}/open", json={"proof": "input"})).ok()
    session = await stack.come_in(first)
    await stack.until_state(first, "active")
    await stack.me(session)
    second = await stack.add_member(cabinet, await stack.new_dossier(cabinet), address)
    link = (await stack.mail(address, count=2)).link
    third = await stack.add_member(cabinet, await stack.new_dossier(cabinet), address)
    await stack.mail(address, count=3)
    assert [one["id"] for one in (await stack.invitation.call("GET", link, token=session)).ok()["others"]] == [
        third.invitation_id
    ]
    body = {"also": [third.invitation_id]}
    answer = (await stack.invitation.call("POST", f"{link}/accept", json=body, token=session)).ok()
    await stack.session(code=code_of(answer["next"]))
    for member in (second, third):
        await stack.until_state(member, "active")


async def _be_looked_after(stack: Stack, cabinet: Cabinet) -> None:
    """Sent again, extended, renewed, declined, revoked, and removed."""
    dossier = await stack.new_dossier(cabinet)
    members = [await stack.add_member(cabinet, dossier) for _ in range(3)]
    links = [(await stack.mail(member.email)).link for member in members]
    (await stack.operate(members[0], "resend", reason="a test")).ok(202)
    await stack.mail(members[0].email, count=2)
    await stack.until_state(members[0], "sent")
    await stack.operate(members[0], "extend", reason="a test")
    await stack.invitation.call("POST", f"{links[0]}/renew", json={})
    path = f"/v1/dossiers/{dossier.id}/members/{members[0].id}"
    assert (await stack.directory.call("DELETE", path, token=cabinet.key)).status < 300
    await stack.until_state(members[0], "revoked")
    (await stack.invitation.call("POST", f"{links[1]}/decline", json={})).ok()
    await stack.until_state(members[1], "declined")
    (await stack.operate(members[2], "revoke", reason="a test")).ok(202)
    await stack.directory.call("GET", f"/v1/dossiers/{dossier.id}/members", token=cabinet.key)


async def _hear_from_others(stack: Stack) -> None:
    """Events of a foreign publisher: one, one twice, many in the lane behind, an update, a removal."""
    member, data = await stack.invite(copies=2)
    await stack.until_state(member, "sent")
    await stack.publish("user.updated", member.id, {**data, "member": {**data["member"], "first_name": "Anne"}})
    await stack.publish("user.removed", member.id, removal_data(data))
    await stack.until_state(member, "revoked")
    crowd = [Member(str(uuid4()), new_address(), FOREIGN_SOURCE) for _ in range(30)]
    async with stack.wire() as wire:
        for one in crowd:
            event = cloud_event("user.created", one.id, user_data(one.id, one.email))
            await wire.send(event, "user.created.bulk")
    for one in crowd:
        await stack.until_state(one, "sent", within=30)


async def _replay(stack: Stack) -> None:
    body = {"from": "log", "filter": {"after": "2020-01-01T00:00:00Z"}, "reason": "a test"}
    begun = (await stack.invitation.call("POST", "/v1/replays", json=body, token=stack.ops_token)).ok(202)

    async def ended() -> bool:
        path = f"/v1/replays/{begun['id']}"
        now: Any = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()
        return now["status"] == "done" and now["matched"] > 0

    await until(ended, within=60, what="the end of the replay")

    async def swept() -> bool:
        commands = bson.decode_all((stack.folder / "invitation.commands").read_bytes())
        return any("outbox.at" in command.get("filter", {}) for command in commands if "hint" not in command)

    await until(swept, within=30, what="a sweep of the outbox")


def _service_of(stack: Stack, database: str) -> str:
    return {stack.invitation_database: "invitation", stack.directory_database: "directory"}.get(database, database)


async def _indexes(stack: Stack) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Every index there is, by collection and name."""
    found: dict[str, Mapping[str, Mapping[str, Any]]] = {}
    for service in ("invitation", "directory"):
        async with stack.documents(service) as database:
            for name in await database.list_collection_names():
                found[f"{service}.{name}"] = await database[name].index_information()
    return found


async def _each_is_found_by_an_index(stack: Stack, verdict: Verdict) -> None:
    """One of each kind of what asked all shards, explained: in each of them it reads a stretch of an index."""
    for what, commands in verdict.scattered.items():
        by_service: dict[str, list[Document]] = {}
        for command in commands:
            by_service.setdefault(_service_of(stack, command["$db"]), []).append(command)
        for service, heard in by_service.items():
            async with stack.documents(service) as database:
                for plan in await explain(database, [heard[0], heard[-1]]):
                    assert not plan.faults, f"{what}: {plan}"


# --- the checker --------------------------------------------------------------------------------------------------


@pytest.fixture
async def heard(mongo_url: str, database: str) -> AsyncGenerator[tuple[Any, Heard]]:
    heard = Heard()
    client = open_client(mongo_url, event_listeners=[heard])
    yield client[database], heard
    await close_client(client)


async def test_a_new_query_that_asks_every_shard_is_found(heard: tuple[Any, Heard]) -> None:
    database, ear = heard
    invitations = database["invitations"]
    await invitations.create_index("source", name="source")
    await invitations.update_one({"_id": "1", "version": 3}, {"$set": {"state": "sent"}})
    await invitations.find_one({"_id": {"$in": ["1", "2"]}})
    await invitations.find_one({"$and": [{"_id": "1"}, {"version": 3}]})
    assert not judge(lambda _: "invitation", ear.commands).faults
    ear.commands.clear()
    await invitations.find_one({"source": "/payroll"})
    await invitations.find({"_id": {"$gt": "1"}}).limit(10).to_list(None)
    await invitations.find({"$or": [{"_id": "1"}, {"source": "/payroll"}]}).to_list(None)
    await invitations.update_many({"state": "sent"}, {"$set": {"state": "sent"}})
    await invitations.delete_one({"source": "/payroll"})
    await invitations.find_one_and_update({"member.id": "1"}, {"$set": {"state": "sent"}})
    await invitations.count_documents({"state": "sent"})
    await invitations.distinct("source", {})
    assert [fault.partition(" (")[0] for fault in judge(lambda _: "invitation", ear.commands).faults] == [
        "invitation.invitations: find by source",
        "invitation.invitations: find by _id",
        "invitation.invitations: find by _id, source",
        "invitation.invitations: update by state",
        "invitation.invitations: delete by source",
        "invitation.invitations: findAndModify by member.id",
        "invitation.invitations: aggregate by state",
        "invitation.invitations: distinct by nothing",
    ]


async def test_an_expected_query_is_expected_only_as_far_as_it_is_bounded(heard: tuple[Any, Heard]) -> None:
    database, ear = heard
    due = {"channel": {"$in": ["email"]}, "due_at": {"$lte": 5}}
    await database["invitations"].find(due).limit(50).to_list(None)
    assert not judge(lambda _: "invitation", ear.commands).faults
    ear.commands.clear()
    await database["invitations"].find(due).to_list(None)
    await database["invitations"].find({**due, "state": "pending"}).limit(50).to_list(None)
    await database["invitations"].find({}).limit(50).to_list(None)
    assert len(judge(lambda _: "invitation", ear.commands).faults) == 3


async def test_a_collection_that_nobody_thought_of_is_found(heard: tuple[Any, Heard]) -> None:
    database, ear = heard
    await database["novelties"].find_one({"_id": "1"})
    [fault] = judge(lambda _: "invitation", ear.commands).faults
    assert fault.startswith("invitation.novelties: nobody has said")


async def test_a_unique_index_that_a_sharded_cluster_would_not_keep_is_found(heard: tuple[Any, Heard]) -> None:
    database, _ = heard
    await database["invitations"].create_index("member.id", name="one_per_member", unique=True)
    await database["invitations"].create_index([("_id", 1), ("version", 1)], name="harmless", unique=True)
    await database["invitations"].create_index("source", name="source")
    there: Mapping[str, Any] = await database["invitations"].index_information()
    assert refused_indexes({"invitation.invitations": there}) == [
        "invitation.invitations.one_per_member: unique over member.id"
    ]


def test_each_expected_query_is_bounded_by_a_number_or_by_an_index_that_it_insists_on() -> None:
    # What is named here reads a stretch of an index as long as what is asked for: one person's, or one import's.
    own: Sequence[str] = ["the sessions of an account, when they are ended", "the dossiers that an import names"]
    assert [one.what for one in EXPECTED if one.most is None and one.index is None] == own
    assert {collection for one in EXPECTED for collection in one.collections} <= SHARDED.keys()


def test_a_collection_is_sharded_or_it_is_not() -> None:
    assert not SHARDED.keys() & UNSHARDED.keys()
