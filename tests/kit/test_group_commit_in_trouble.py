"""Group commit when the database is killed or frozen under it: every waiter is told the truth, nothing counts twice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import InsertOne, UpdateOne
from pymongo.errors import AutoReconnect

from convive_kit.errors import Retry
from convive_kit.group_commit import DuplicateKey, GroupCommit, GroupRead, VersionConflict
from convive_kit.mongo import Collection, DatabaseAway, DatabaseClock, close_client, database_call, open_client, ping
from deploy.local import programs
from deploy.local.addresses import free_port
from deploy.local.database import Database
from deploy.local.processes import Process, plain_environment
from tests.faults import until_frozen

pytestmark = [pytest.mark.database, pytest.mark.slow]


@pytest.fixture
async def fragile(own_database: Database) -> AsyncGenerator[tuple[Database, Collection]]:
    """A database to kill and freeze, and a collection in it."""
    client = open_client(own_database.url, serverSelectionTimeoutMS=1_000, heartbeatFrequencyMS=500)
    yield own_database, client["test"]["documents"]
    await close_client(client)


async def test_a_primary_killed_under_load_leaves_every_waiter_with_the_truth(
    fragile: tuple[Database, Collection],
) -> None:
    server, collection = fragile
    commit = GroupCommit(collection, deadline=30)
    ids = [f"{number}" for number in range(40)]
    for id in ids:
        await commit.insert({"_id": id, "version": 1, "log": []})
    told: dict[str, list[str]] = {id: [] for id in ids}
    stop = asyncio.Event()

    async def write(id: str, who: str) -> None:
        """Two writers for each document, so that there are races beside the outage."""
        seen, number = 1, 0
        while not stop.is_set():
            mark = f"{who}{number}"
            number += 1
            try:
                await commit.save(id, seen, {"$set": {"version": seen + 1}, "$push": {"log": mark}})
            except VersionConflict:
                pass
            else:
                told[id].append(mark)
            async with database_call(30):
                document = await collection.find_one({"_id": id})
            assert document is not None
            seen = document["version"]

    async def insert(who: int) -> list[str]:
        done: list[str] = []
        number = 0
        while not stop.is_set():
            id = f"new-{who}-{number}"
            number += 1
            await commit.insert({"_id": id, "version": 1})
            done.append(id)
        return done

    writers = [asyncio.create_task(write(id, who)) for id in ids for who in "ab"]
    inserters = [asyncio.create_task(insert(who)) for who in range(5)]
    await asyncio.sleep(0.5)
    for _ in range(2):
        server.kill()
        await server.start()
        await asyncio.sleep(0.7)
    stop.set()
    finished = await asyncio.gather(*writers, *inserters, return_exceptions=True)
    failures = [result for result in finished if isinstance(result, BaseException) and not isinstance(result, Retry)]
    assert failures == []

    async for document in collection.find({"_id": {"$in": ids}}):
        log: list[str] = document["log"]
        assert len(log) == len(set(log)), "a save was applied twice"
        # Whoever was told "done" is in the log; whoever is in the log was told so (or was interrupted by an outage of
        # the test's own reads, after its last word).
        assert set(told[document["_id"]]) <= set(log)
        assert document["version"] == 1 + len(log)
    inserted = [id for result in finished if isinstance(result, list) for id in result]
    assert await collection.count_documents({"_id": {"$in": inserted}}) == len(inserted)
    assert sum(len(marks) for marks in told.values()) > 100


async def test_an_answer_that_was_lost_is_found_out_from_the_ring(own_database: Database) -> None:
    client = open_client(own_database.url)
    lossy = _LosesAnswers(client["test"]["documents"])
    commit = GroupCommit(lossy, deadline=10)  # pyright: ignore[reportArgumentType] (stands in for a collection)
    lossy.loses = 1
    await commit.insert({"_id": "a", "version": 1})
    lossy.loses = 1
    await commit.save("a", 1, {"$set": {"version": 2}, "$push": {"log": "once"}})
    lossy.loses = 1
    results = await asyncio.gather(
        commit.save("a", 2, {"$set": {"version": 3}, "$push": {"log": "twice"}}),
        commit.insert({"_id": "a", "version": 1}),
        commit.insert({"_id": "b", "version": 1}),
        commit.save("b", 7, {"$set": {"version": 8}}),
        return_exceptions=True,
    )

    assert [type(result).__name__ for result in results] == [
        "NoneType",
        "DuplicateKey",
        "NoneType",
        "VersionConflict",
    ]
    document = await client["test"]["documents"].find_one({"_id": "a"})
    assert document is not None
    assert (document["version"], document["log"]) == (3, ["once", "twice"])
    await close_client(client)


class _LosesAnswers:
    """A collection whose answers get lost after the database has carried the writes out."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self.loses = 0

    def with_options(self, **options: Any) -> Any:
        return self._collection.with_options(**options)

    async def bulk_write(self, operations: list[InsertOne[Any] | UpdateOne], *, ordered: bool) -> Any:
        try:
            return await self._collection.bulk_write(operations, ordered=ordered)
        finally:
            if self.loses:
                self.loses -= 1
                raise AutoReconnect("the answer was lost")


async def test_a_race_lost_while_the_answer_got_lost_is_still_lost(own_database: Database) -> None:
    client = open_client(own_database.url)
    collection = client["test"]["documents"]
    await collection.insert_one({"_id": "a", "version": 2, "writes": []})
    lossy = _LosesAnswers(collection)
    lossy.loses = 1

    with pytest.raises(VersionConflict):
        await GroupCommit(lossy).save("a", 1, {"$set": {"version": 2}})  # pyright: ignore[reportArgumentType]
    lossy.loses = 1
    with pytest.raises(DuplicateKey):
        await GroupCommit(lossy).insert({"_id": "a", "version": 1})  # pyright: ignore[reportArgumentType]
    await close_client(client)


async def test_a_frozen_database_is_away_after_the_deadline_and_tells_the_truth_later(
    fragile: tuple[Database, Collection],
) -> None:
    server, collection = fragile
    commit = GroupCommit(collection, deadline=1.0)
    await commit.insert({"_id": "a", "version": 1})
    reads = GroupRead(collection)
    server.stop_process()
    await until_frozen(server.server.pid)
    try:
        saving = asyncio.create_task(commit.save("a", 1, {"$set": {"version": 2}, "$push": {"log": "x"}}))
        await asyncio.sleep(0.05)
        behind = asyncio.create_task(commit.insert({"_id": "b", "version": 1}))
        started = asyncio.get_running_loop().time()
        with pytest.raises(DatabaseAway):
            await saving
        with pytest.raises(DatabaseAway):
            await behind
        assert asyncio.get_running_loop().time() - started < 4
        with pytest.raises(DatabaseAway):
            await ping(collection.database.client)
    finally:
        server.continue_process()

    # Nobody could know; saving again is safe, and then one of them has been carried out.
    with suppress(VersionConflict):
        await _patiently(lambda: commit.save("a", 1, {"$set": {"version": 2}, "$push": {"log": "x"}}))
    document = await _patiently(lambda: reads.load("a"))
    assert document is not None
    assert (document["version"], document["log"]) == (2, ["x"])


async def test_the_databases_clock_goes_on_without_it(fragile: tuple[Database, Collection]) -> None:
    server, collection = fragile
    ticks = [100.0]
    clock = DatabaseClock(collection.database.client, monotonic=lambda: ticks[0])
    await clock.measure()
    measured = clock.now()
    server.kill()

    with pytest.raises(DatabaseAway):
        await clock.measure()
    ticks[0] += 60

    assert (clock.now() - measured).total_seconds() == 60


async def _patiently(work: Any) -> Any:
    async with asyncio.timeout(20):
        while True:
            try:
                return await work()
            except Retry:
                await asyncio.sleep(0.05)


@pytest.fixture
async def standalone(run_folder: Path) -> AsyncGenerator[str]:
    """The address of a server that is no replica set."""
    program, env = programs.mongod()
    folder = run_folder / f"standalone-{uuid4().hex[:8]}"
    folder.mkdir()
    port = free_port()
    command = [str(program), "--dbpath", str(folder), "--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket"]
    server = Process("MongoDB", command, log=folder / "log", env=plain_environment(**env))
    server.start()
    yield f"mongodb://127.0.0.1:{port}/"
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_standalone_server_does_as_well(standalone: str) -> None:
    client = open_client(standalone)
    await _patiently(lambda: ping(client))
    commit = GroupCommit(client["test"]["documents"])

    await commit.insert({"_id": "a", "version": 1})
    results = await asyncio.gather(
        *(commit.save("a", 1, {"$set": {"version": 2}}) for _ in range(5)), return_exceptions=True
    )
    await close_client(client)

    assert [type(result).__name__ for result in results] == ["NoneType", *["VersionConflict"] * 4]
