"""The embedded outbox: what was committed is published, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from convive_kit.bus import BusAway, Unroutable
from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import Collection, DatabaseAway
from convive_kit.outbox import OUTBOX_INDEX, OutboxEntry, Relay
from tests.kit.driving import Heard, running, until

pytestmark = pytest.mark.database
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class FakeBus:
    """Remembers what was published; can be away, slow, or refuse a key."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.away = False
        self.refuses: set[str] = set()
        self.may_go = asyncio.Event()
        self.may_go.set()

    async def publish(self, *, key: str, body: bytes, message_id: str, correlation_id: str | None = None) -> None:
        await self.may_go.wait()
        if self.away:
            raise BusAway
        if key in self.refuses:
            raise Unroutable(key)
        self.published.append(message_id)


@pytest.fixture
def bus() -> FakeBus:
    return FakeBus()


@pytest.fixture
def commit(collection: Collection) -> GroupCommit:
    return GroupCommit(collection)


def a_relay(bus: FakeBus, collection: Collection, commit: GroupCommit, *, now: datetime = NOW, **options: Any) -> Relay:
    return Relay(bus=bus, collection=collection, commit=commit, now=lambda: now, **options)


@pytest.fixture
def relay(bus: FakeBus, collection: Collection, commit: GroupCommit) -> Relay:
    return a_relay(bus, collection, commit)


def an_entry(id: str, at: datetime = NOW, key: str = "invitation.sent") -> OutboxEntry:
    return {"id": id, "at": at, "key": key, "body": b"{}"}


async def saved(commit: GroupCommit, *entries: OutboxEntry, id: str = "a") -> list[OutboxEntry]:
    """A document whose write has pushed these entries."""
    await commit.insert({"_id": id, "version": 1, "outbox": list(entries)})
    return list(entries)


async def left(collection: Collection, id: str = "a") -> list[str]:
    document = await collection.find_one({"_id": id})
    assert document is not None
    return [entry["id"] for entry in document["outbox"]]


async def test_what_was_committed_is_published_in_order_and_cleared(
    relay: Relay, bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    relay.announce("a", await saved(commit, an_entry("a.1"), an_entry("a.2"), an_entry("a.3")))
    await relay.drain()

    assert bus.published == ["a.1", "a.2", "a.3"]
    assert await left(collection) == []


async def test_what_a_crash_left_behind_is_swept_with_the_same_ids(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    # The process ended between its commit and its publishing: nobody ever announced.
    await saved(commit, an_entry("a.1"), an_entry("a.2"))

    await a_relay(bus, collection, commit, now=NOW + timedelta(seconds=31)).sweep()

    assert bus.published == ["a.1", "a.2"]
    assert await left(collection) == []


async def test_what_is_young_is_left_to_whoever_announces_it(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    await saved(commit, an_entry("a.1"))

    await a_relay(bus, collection, commit, now=NOW + timedelta(seconds=29)).sweep()

    assert bus.published == []


async def test_what_was_confirmed_but_not_cleared_is_published_again_under_the_same_id(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    class Crashes:
        """The process ends before its pull is written."""

        async def pull(self, array: str, entries: Mapping[Any, Sequence[str]]) -> None:
            raise DatabaseAway

    entries = await saved(commit, an_entry("a.1"))
    crashing = Relay(bus=bus, collection=collection, commit=Crashes(), now=lambda: NOW)
    crashing.announce("a", entries)
    await crashing.drain()
    assert await left(collection) == ["a.1"]

    await a_relay(bus, collection, commit, now=NOW + timedelta(seconds=31)).sweep()

    assert bus.published == ["a.1", "a.1"]
    assert await left(collection) == []


async def test_clearing_leaves_alone_what_was_pushed_meanwhile(
    relay: Relay, bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    entries = await saved(commit, an_entry("a.1"))
    bus.may_go.clear()
    relay.announce("a", entries)
    await commit.save("a", 1, {"$set": {"version": 2}, "$push": {"outbox": {"$each": [an_entry("a.2")]}}})

    bus.may_go.set()
    await relay.drain()

    assert await left(collection) == ["a.2"]


async def test_a_save_after_the_clearing_brings_nothing_back(
    relay: Relay, commit: GroupCommit, collection: Collection
) -> None:
    relay.announce("a", await saved(commit, an_entry("a.1")))
    await relay.drain()

    await commit.save("a", 1, {"$set": {"version": 2}, "$push": {"outbox": {"$each": [an_entry("a.2")]}}})

    assert await left(collection) == ["a.2"]


async def test_what_is_published_within_a_moment_is_cleared_by_one_update(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    cleared: list[dict[str, list[str]]] = []

    class Counts:
        async def pull(self, array: str, entries: Mapping[Any, Sequence[str]]) -> None:
            cleared.append({id: list(ids) for id, ids in entries.items()})
            await commit.pull(array, entries)

    relay = Relay(bus=bus, collection=collection, commit=Counts(), now=lambda: NOW, gather=0.01)
    relay.announce("a", await saved(commit, an_entry("a.1")))
    await until(lambda: cleared)
    relay._gather = 3600.0
    for id in ("b", "c"):
        relay.announce(id, await saved(commit, an_entry(f"{id}.1"), id=id))
        await until(lambda id=id: f"{id}.1" in bus.published)
    await commit.save("b", 1, {"$set": {"version": 2}, "$push": {"outbox": an_entry("b.2")}})
    relay.announce("b", [an_entry("b.2")])
    await relay.drain()  # does not wait for an hour

    assert cleared == [{"a": ["a.1"]}, {"b": ["b.1", "b.2"], "c": ["c.1"]}]
    assert [await left(collection, id) for id in "abc"] == [[], [], []]


async def test_what_is_published_but_not_cleared_yet_is_not_swept(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    relay = a_relay(bus, collection, commit, now=NOW + timedelta(minutes=1), gather=3600.0)
    relay.announce("a", await saved(commit, an_entry("a.1")))
    await until(lambda: bus.published)

    assert not await relay.sweep()

    assert bus.published == ["a.1"]
    assert await left(collection) == []  # a sweep hurries what is to be cleared


async def test_an_outage_half_way_clears_what_was_confirmed_and_keeps_the_rest(
    relay: Relay, bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    bus_goes_away_at = an_entry("a.2", key="last")

    async def publish(**fields: Any) -> None:
        if fields["key"] == "last":
            raise BusAway
        bus.published.append(fields["message_id"])

    bus.publish = publish
    relay.announce("a", await saved(commit, an_entry("a.1"), bus_goes_away_at))
    await relay.drain()

    assert (bus.published, await left(collection)) == (["a.1"], ["a.2"])


async def test_while_the_broker_is_away_memory_is_bounded_and_everything_is_swept_later(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    relay = a_relay(bus, collection, commit, in_flight=10, now=NOW + timedelta(minutes=1))
    bus.may_go.clear()
    documents = [f"{number}" for number in range(300)]
    entries = await asyncio.gather(*(saved(commit, an_entry(f"{id}.1"), id=id) for id in documents))
    for id, entry in zip(documents, entries, strict=True):
        relay.announce(id, entry)
    assert len(relay._announcing) == 10

    bus.away = True
    bus.may_go.set()
    await relay.drain()
    with pytest.raises(BusAway):
        await relay.sweep()
    bus.away = False
    while await relay.sweep(largest=100):
        pass

    assert sorted(bus.published) == sorted(f"{id}.1" for id in documents)
    assert await collection.count_documents({"outbox": {"$ne": []}}) == 0


async def test_a_refused_entry_stays_and_holds_up_no_other_document(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    bus.refuses = {"mistyped"}
    await saved(commit, an_entry("a.1", key="mistyped"), id="a")
    await saved(commit, an_entry("b.1"), id="b")
    relay = a_relay(bus, collection, commit, now=NOW + timedelta(minutes=1))

    more = await relay.sweep()

    assert (bus.published, more) == (["b.1"], False)
    assert await left(collection) == ["a.1"]


async def test_an_error_nobody_foresaw_holds_up_nothing_behind_it_and_is_swept_later(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    relay = a_relay(bus, collection, commit, in_flight=1, now=NOW + timedelta(minutes=1))
    publish = bus.publish

    async def fail_once(**fields: Any) -> None:
        bus.publish = publish
        raise ValueError

    bus.publish = fail_once
    for id in ("a", "b"):
        relay.announce(id, await saved(commit, an_entry(f"{id}.1"), id=id))
    await relay.drain()
    assert bus.published == ["b.1"]

    await relay.sweep()
    assert bus.published == ["b.1", "a.1"]


async def test_the_oldest_is_swept_first(bus: FakeBus, commit: GroupCommit, collection: Collection) -> None:
    for number in range(5):
        await saved(commit, an_entry(f"{number}", NOW - timedelta(seconds=number)), id=f"{number}")
    relay = a_relay(bus, collection, commit, now=NOW + timedelta(minutes=1))

    assert await relay.sweep(largest=2)

    assert sorted(bus.published) == ["3", "4"]


async def test_sweeping_reads_an_index_that_holds_only_what_waits(commit: GroupCommit, collection: Collection) -> None:
    await collection.create_indexes([OUTBOX_INDEX])
    for number in range(50):
        await commit.insert({"_id": f"{number}", "version": 1, "outbox": []})
    await saved(commit, an_entry("a.1"))

    plan = await collection.find({"outbox.at": {"$lt": NOW + timedelta(minutes=1)}}).sort("outbox.at", 1).explain()

    assert plan["executionStats"]["totalKeysExamined"] <= 2
    assert "COLLSCAN" not in str(plan["queryPlanner"]["winningPlan"])
    assert "'SORT'" not in str(plan["queryPlanner"]["winningPlan"])


async def test_nothing_to_announce_is_no_work(relay: Relay) -> None:
    relay.announce("a", [])

    assert not relay._announcing


async def test_the_sweeper_runs_by_itself_and_survives_an_outage(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    bus.away = True
    await saved(commit, an_entry("a.1"))
    relay = a_relay(bus, collection, commit, now=NOW + timedelta(minutes=1), every=0.02)
    sweeping = asyncio.create_task(relay.run())
    await asyncio.sleep(0.1)
    bus.away = False

    await until(lambda: bus.published)

    assert not sweeping.done()
    sweeping.cancel()


async def test_what_an_outage_has_left_goes_out_when_it_ends_and_need_not_grow_old(
    bus: FakeBus, commit: GroupCommit, collection: Collection
) -> None:
    relay = a_relay(bus, collection, commit, now=NOW + timedelta(seconds=1), catch_up=0.05)
    sweeping = asyncio.create_task(relay.run())
    bus.away = True
    relay.announce("a", await saved(commit, an_entry("a.1")))
    await relay.drain()
    await asyncio.sleep(0.2)
    bus.away = False

    await until(lambda: bus.published, within=3)

    assert not sweeping.done()
    sweeping.cancel()


@pytest.mark.broker
async def test_on_the_real_bus_an_announced_event_arrives_once_and_the_outbox_is_empty(
    amqp_url: str, commit: GroupCommit, collection: Collection
) -> None:
    heard = Heard()
    async with running(amqp_url, heard) as bus:
        relay = Relay(bus=bus, collection=collection, commit=commit, now=lambda: NOW)
        relay.announce("a", await saved(commit, an_entry("a.1", key="user.created")))
        await relay.drain()
        await until(lambda: heard.messages)

    assert [message.message_id for message in heard.messages] == ["a.1"]
    assert await left(collection) == []
