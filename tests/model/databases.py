"""What survives the processes: the invitation service's database, in memory or in a real MongoDB.

A process opens it and gets what the composition root would make. Whatever way it is kept, a call may be carried out and
yet report `DatabaseAway`, or not be carried out at all, or meet a crash before or after.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

from pymongo import MongoClient

from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import Client, DatabaseAway, close_client, open_client
from convive_kit.outbox import OutboxEntry, Relay
from convive_kit.parked import Parked, ParkedMessages
from convive_kit.parking import Parking
from convive_kit.runs import LEASE
from invitation.lifecycle.invitation import Change, Invitation, Step
from invitation.store.documents import entries, from_document
from invitation.store.memory import MemoryStore
from invitation.store.mongo import INVITATIONS, PARKED, MongoStore, create_indexes
from invitation.store.protocol import Store
from invitation.store.replays import Replay, Replays
from tests.model.world import World

Result = TypeVar("Result")
Announce = Callable[[str, Sequence[OutboxEntry]], None]
OnCommit = Callable[[Change, Sequence[OutboxEntry]], None]

DATABASE_DEADLINE = 10.0
SELDOM = 30.0
"""Seconds between looks for what a crash left: what nothing happens in costs nothing."""


@dataclass
class Opened:
    """One process's own view of the database."""

    store: Store
    quiet: Store
    relay: Relay
    parking: Parking
    parked: ParkedMessages
    replays: Replays
    close: Callable[[], Awaitable[None]]


class Database(Protocol):
    def open(self, bus: Any) -> Opened: ...

    async def invitations(self) -> Mapping[str, Invitation]: ...

    async def history(self, id: str) -> Sequence[Step]: ...

    async def unpublished(self) -> int: ...

    async def parked_messages(self, status: str = "parked") -> Sequence[Mapping[str, Any]]: ...

    def empty(self) -> Database:
        """Another one, with nothing in it."""
        ...

    def close(self) -> None: ...


async def through(world: World, point: str, call: Callable[[], Awaitable[Result]]) -> Result:
    """One call to the database, with whatever goes wrong with it."""
    await world.point(f"{point}:before")
    waited = 0.0
    while world.database_mode == "silent":
        if waited >= DATABASE_DEADLINE:
            raise DatabaseAway
        await asyncio.sleep(2)
        waited += 2
    result = await call()
    if world.database_mode == "deaf":
        await asyncio.sleep(DATABASE_DEADLINE)
        raise DatabaseAway
    await world.point(f"{point}:after")
    return result


class TroubledStore:
    """A store whose every call may fail."""

    def __init__(self, inner: Store, world: World, announce: Announce) -> None:
        self._inner = inner
        self._world = world
        self._announce = announce

    async def save(self, change: Change) -> None:
        await through(self._world, "save", lambda: self._inner.save(change))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        async def call(*args: Any, **named: Any) -> Any:
            return await through(self._world, name, lambda: method(*args, **named))

        return call


class TroubledCommit:
    def __init__(self, inner: Any, world: World) -> None:
        self._inner = inner
        self._world = world

    async def apply(self, id: Any, update: dict[str, Any], *, upsert: bool = False) -> None:
        await through(self._world, "apply", lambda: self._inner.apply(id, update, upsert=upsert))

    async def pull(self, array: str, entries: Mapping[Any, Sequence[str]]) -> None:
        await through(self._world, "apply", lambda: self._inner.pull(array, entries))


# --- in memory ---------------------------------------------------------------------------------------------------


class Rows(MemoryStore):
    """The memory store, telling of each commit in the moment it happens."""

    def __init__(self, committed: Callable[[Change], None], outboxes: dict[str, list[OutboxEntry]]) -> None:
        super().__init__(lambda id, told: outboxes.setdefault(id, []).extend(told))
        self._committed = committed

    async def save(self, change: Change) -> None:
        await super().save(change)
        self._committed(change)

    def silently(self) -> Rows:
        """The same rows, with nothing announced."""
        other = Rows(self._committed, {})
        other._invitations, other._histories, other._names = self._invitations, self._histories, self._names
        return other

    @property
    def invitations(self) -> Mapping[str, Invitation]:
        return self._invitations

    def steps(self, id: str) -> Sequence[Step]:
        return self._histories.get(id, [])


class Remote:
    """A store at the other end of a network."""

    def __init__(self, rows: Rows, world: World, announce: Announce | None) -> None:
        self._rows = rows
        self._world = world
        self._announce = announce

    async def save(self, change: Change) -> None:
        await self._world.remote(lambda: self._rows.save(change))
        if self._announce is not None:
            self._announce(change.after.id, entries(change, change.after.correlation_id))

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._rows, name)

        async def call(*args: Any, **named: Any) -> Any:
            return await self._world.remote(lambda: method(*args, **named))

        return call


class Outboxes:
    """Outboxes as a collection and as a group commit: as much of both as the relay uses."""

    def __init__(self, world: World, outboxes: dict[str, list[OutboxEntry]]) -> None:
        self._world = world
        self._outboxes = outboxes

    def with_options(self, **_: Any) -> Outboxes:
        return self

    def find(self, query: dict[str, Any], projection: object) -> Outboxes:
        self._before: datetime = query["outbox.at"]["$lt"]
        return self

    def sort(self, *_: object) -> Outboxes:
        return self

    def limit(self, limit: int) -> AsyncGenerator[dict[str, Any]]:
        return self._found(self._before, limit)

    async def _found(self, before: datetime, limit: int) -> AsyncGenerator[dict[str, Any]]:
        async def read() -> list[dict[str, Any]]:
            found = [(id, list(told)) for id, told in self._outboxes.items() if any(e["at"] < before for e in told)]
            return [{"_id": id, "outbox": told} for id, told in found[:limit]]

        for document in await through(self._world, "sweep", lambda: self._world.remote(read)):
            yield document

    async def pull(self, array: str, entries: Mapping[Any, Sequence[str]]) -> None:
        async def pull() -> None:
            for id, ids in entries.items():
                self._outboxes[id] = [entry for entry in self._outboxes[id] if entry["id"] not in ids]

        await self._world.remote(pull)


class ParkedRows:
    """The parking place: as a group commit for whoever parks, and as `ParkedMessages` for whoever replays."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.rows: dict[str, dict[str, Any]] = {}

    async def apply(self, id: str, update: dict[str, Any], *, upsert: bool = False) -> None:
        async def act() -> None:
            row = self.rows.setdefault(id, {"_id": id, "count": 0, **update["$setOnInsert"]})
            row.update(update["$set"])
            row["count"] += 1

        await self._world.remote(act)

    async def frozen(self, at: datetime, *, after: str | None) -> AsyncGenerator[Parked]:
        for id in sorted(self.rows):
            row = self.rows[id]
            if row["status"] == "parked" and row["first_seen"] <= at and (after is None or id > after):
                yield Parked(id, {name: value for name, value in row.items() if name != "_id"})

    async def waiting(self, *, limit: int) -> Sequence[Parked]:
        async def read() -> Sequence[Parked]:
            waiting = [row for row in self.rows.values() if row["status"] == "waiting"]
            longest = sorted(waiting, key=lambda row: row["last_seen"])[:limit]
            return [
                Parked(row["_id"], {name: value for name, value in row.items() if name != "_id"}) for row in longest
            ]

        return await through(self._world, "waiting", lambda: self._world.remote(read))

    async def given_up(self, id: str, error: Exception, at: datetime) -> None:
        await self._world.remote(lambda: self._set(id, last_seen=at, status="parked"))

    async def replayed(self, id: str, by: str, reason: str, at: datetime) -> None:
        await self._world.remote(lambda: self._set(id, status="replayed"))

    async def failed_again(self, id: str, error: Exception, at: datetime) -> None:
        await self._world.remote(lambda: self._set(id, last_seen=at))

    async def _set(self, id: str, **fields: Any) -> None:
        self.rows[id].update(fields)


class ReplayRows:
    """`Replays` in memory."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rows: dict[str, Replay] = {}
        self._leases: dict[str, tuple[str, datetime]] = {}

    async def begin(self, replay: Replay) -> None:
        self._rows[replay.id] = deepcopy(replay)

    async def load(self, id: str) -> Replay | None:
        return deepcopy(self._rows.get(id))

    async def claim(self, owner: str, now: datetime, *, dry_run: bool | None = None) -> Replay | None:
        async def act() -> Replay | None:
            for id, replay in self._rows.items():
                lease = self._leases.get(id)
                if replay.status == "running" and (lease is None or lease[1] < now):
                    self._leases[id] = (owner, now + LEASE)
                    return deepcopy(replay)
            return None

        return await through(self._world, "replay", lambda: self._world.remote(act))

    async def record(self, replay: Replay, owner: str, now: datetime) -> bool:
        async def act() -> bool:
            kept, lease = self._rows[replay.id], self._leases.get(replay.id)
            if kept.status != "running" or lease is None or lease[0] != owner:
                return False
            self._rows[replay.id] = deepcopy(replay)
            self._leases[replay.id] = (owner, now + LEASE)
            return True

        return await through(self._world, "replay", lambda: self._world.remote(act))

    async def end(self, replay: Replay, owner: str, now: datetime) -> None:
        await self.record(replay, owner, now)

    async def rebuilt(self) -> bool:
        async def act() -> bool:
            last = [replay.status for replay in self._rows.values() if replay.rebuild and not replay.dry_run][-1:]
            return last == ["done"]

        return await through(self._world, "replay", lambda: self._world.remote(act))

    async def give_back(self, replay: Replay, owner: str) -> None:
        if self._leases.get(replay.id, ("",))[0] == owner:
            self._leases[replay.id] = (owner, self._world.now() - timedelta(seconds=1))


class MemoryDatabase:
    def __init__(self, world: World, on_commit: OnCommit) -> None:
        self._world = world
        self._on_commit = on_commit
        self._outboxes: dict[str, list[OutboxEntry]] = {}
        self._rows = Rows(self._committed, self._outboxes)
        self._parked = ParkedRows(world)
        self._replays = ReplayRows(world)

    def _committed(self, change: Change) -> None:
        self._on_commit(change, entries(change, change.after.correlation_id))

    def open(self, bus: Any) -> Opened:
        outboxes = Outboxes(self._world, self._outboxes)
        relay = Relay(
            bus=bus,
            collection=cast("Any", outboxes),
            commit=TroubledCommit(outboxes, self._world),
            now=self._world.now,
            every=SELDOM,
        )
        store = TroubledStore(
            cast("Store", Remote(self._rows, self._world, relay.announce)), self._world, relay.announce
        )
        quiet = TroubledStore(
            cast("Store", Remote(self._rows.silently(), self._world, None)), self._world, relay.announce
        )
        commit = cast("GroupCommit", TroubledCommit(self._parked, self._world))

        async def nothing() -> None: ...

        return Opened(
            cast("Store", store),
            cast("Store", quiet),
            relay,
            Parking(commit, now=self._world.now, step="intake"),
            cast("ParkedMessages", self._parked),
            cast("Replays", self._replays),
            nothing,
        )

    async def invitations(self) -> Mapping[str, Invitation]:
        return dict(self._rows.invitations)

    async def history(self, id: str) -> Sequence[Step]:
        return self._rows.steps(id)

    async def unpublished(self) -> int:
        return sum(map(len, self._outboxes.values()))

    async def parked_messages(self, status: str = "parked") -> Sequence[Mapping[str, Any]]:
        return [row for row in self._parked.rows.values() if row["status"] == status]

    def empty(self) -> MemoryDatabase:
        return MemoryDatabase(self._world, self._on_commit)

    def close(self) -> None: ...


# --- in MongoDB --------------------------------------------------------------------------------------------------


class MongoDatabase:
    """The real store, group commit, relay, parking and replays; `client` outlives the processes."""

    def __init__(self, world: World, client: Client, url: str, name: str) -> None:
        self._world = world
        self._client = client
        self._url = url
        self._name = name
        self._database = client[name]
        world.loop.run(self._prepare())

    @staticmethod
    def begin(world: World, url: str, on_commit: OnCommit) -> MongoDatabase:
        """A new database on that server."""
        return MongoDatabase(world, open_client(url), url, f"convive_model_{uuid4().hex[:12]}")

    async def _prepare(self) -> None:
        await create_indexes(self._database)

    def open(self, bus: Any) -> Opened:
        commit = GroupCommit(self._database[INVITATIONS])
        parking = GroupCommit(self._database[PARKED])
        relay = Relay(
            bus=bus,
            collection=self._database[INVITATIONS],
            commit=TroubledCommit(commit, self._world),
            now=self._world.now,
            every=SELDOM,
        )
        store = TroubledStore(MongoStore(self._database, commit, relay.announce), self._world, relay.announce)
        quiet = TroubledStore(MongoStore(self._database, commit, None), self._world, relay.announce)

        return Opened(
            cast("Store", store),
            cast("Store", quiet),
            relay,
            Parking(parking, now=self._world.now, step="intake"),
            ParkedMessages(self._database[PARKED]),
            Replays(self._database),
            commit.close,
        )

    async def invitations(self) -> Mapping[str, Invitation]:
        found = self._database[INVITATIONS].find({}, {"history": 0, "outbox": 0, "writes": 0})
        return {document["_id"]: from_document(document) async for document in found}

    async def history(self, id: str) -> Sequence[Step]:
        return await MongoStore(self._database, cast("GroupCommit", None), None).history(id)

    async def unpublished(self) -> int:
        return await self._database[INVITATIONS].count_documents({"outbox.at": {"$exists": True}})

    async def parked_messages(self, status: str = "parked") -> Sequence[Mapping[str, Any]]:
        return [document async for document in self._database[PARKED].find({"status": status})]

    def empty(self) -> MongoDatabase:
        return MongoDatabase(self._world, self._client, self._url, f"{self._name}_rebuilt")

    def close(self) -> None:
        self._world.loop.run(close_client(self._client))
        with MongoClient[dict[str, Any]](self._url) as client:
            for name in (self._name, f"{self._name}_rebuilt"):
                client.drop_database(name)
