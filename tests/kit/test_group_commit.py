"""Group commit on a real database: writes travel together, and each waiter learns its own fate."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from bson import ObjectId

from convive_kit.errors import Conflict, Reject
from convive_kit.group_commit import RING, DuplicateKey, GroupCommit, GroupRead, VersionConflict, WriteRefused
from convive_kit.mongo import Collection, DatabaseAway, database_call

pytestmark = pytest.mark.database


def a_document(id: str = "a", **fields: Any) -> dict[str, Any]:
    return {"_id": id, "version": 1, **fields}


async def outcomes(*writes: Any) -> list[str]:
    """What became of each write, in order."""
    results = await asyncio.gather(*writes, return_exceptions=True)
    return ["done" if result is None else type(result).__name__ for result in results]


async def find(collection: Collection, id: str = "a") -> dict[str, Any]:
    document = await collection.find_one({"_id": id})
    assert document is not None
    return document


@pytest.fixture
def sizes() -> list[int]:
    """The sizes of the groups that went out."""
    return []


@pytest.fixture
def commit(collection: Collection, sizes: list[int]) -> GroupCommit:
    return GroupCommit(collection, observe=lambda writes, _seconds: sizes.append(writes))


async def test_what_was_inserted_is_there_when_the_call_returns(commit: GroupCommit, collection: Collection) -> None:
    await commit.insert(a_document(name="Jeanne"))

    assert (await find(collection))["name"] == "Jeanne"


async def test_a_second_insert_of_one_id_is_a_duplicate(commit: GroupCommit) -> None:
    await commit.insert(a_document())

    with pytest.raises(DuplicateKey) as caught:
        await commit.insert(a_document())
    assert caught.value.key == {"_id": "a"}


async def test_of_many_inserts_of_one_id_exactly_one_wins(commit: GroupCommit, collection: Collection) -> None:
    results = await outcomes(*(commit.insert(a_document(number=number)) for number in range(50)))

    assert results.count("done") == 1
    assert results.count("DuplicateKey") == 49
    assert (await find(collection))["number"] == results.index("done")


async def test_another_unique_key_that_is_taken_is_named(commit: GroupCommit, collection: Collection) -> None:
    await collection.create_index("email", unique=True)
    await commit.insert(a_document("a", email="x"))

    with pytest.raises(DuplicateKey) as caught:
        await commit.insert(a_document("b", email="x"))
    assert caught.value.key == {"email": "x"}


async def test_a_save_that_takes_a_unique_key_of_another_document_is_no_version_conflict(
    commit: GroupCommit, collection: Collection
) -> None:
    await collection.create_index("email", unique=True)
    await commit.insert(a_document("a", email="x"))
    await commit.insert(a_document("b", email="y"))

    with pytest.raises(DuplicateKey) as caught:
        await commit.save("b", 1, {"$set": {"version": 2, "email": "x"}})
    assert caught.value.key == {"email": "x"}


async def test_a_save_of_what_was_seen_is_carried_out(commit: GroupCommit, collection: Collection) -> None:
    await commit.insert(a_document())

    await commit.save("a", 1, {"$set": {"version": 2, "state": "sent"}})

    document = await find(collection)
    assert (document["version"], document["state"]) == (2, "sent")


@pytest.mark.parametrize("seen", [0, 2, 7])
async def test_a_save_of_what_was_not_seen_is_a_conflict_and_changes_nothing(
    commit: GroupCommit, collection: Collection, seen: int
) -> None:
    await commit.insert(a_document())
    before = await find(collection)

    with pytest.raises(VersionConflict):
        await commit.save("a", seen, {"$set": {"version": seen + 1}})
    assert await find(collection) == before
    assert await collection.count_documents({}) == 1


async def test_of_many_saves_that_saw_the_same_exactly_one_wins(commit: GroupCommit, collection: Collection) -> None:
    await commit.insert(a_document())

    results = await outcomes(*(commit.save("a", 1, {"$set": {"version": 2, "by": n}}) for n in range(50)))

    assert results.count("done") == 1
    assert results.count("VersionConflict") == 49
    assert (await find(collection))["by"] == results.index("done")


async def test_writers_in_two_processes_share_the_wins(collection: Collection) -> None:
    one, other = GroupCommit(collection), GroupCommit(collection)
    await one.insert(a_document(log=[]))

    async def write(commit: GroupCommit, who: str) -> None:
        for number in range(20):
            while True:
                seen = (await find(collection))["version"]
                try:
                    await commit.save("a", seen, {"$set": {"version": seen + 1}, "$push": {"log": f"{who}{number}"}})
                except VersionConflict:
                    continue
                break

    await asyncio.gather(write(one, "a"), write(other, "b"))

    document = await find(collection)
    assert document["version"] == 41
    assert sorted(document["log"]) == sorted(f"{who}{n}" for who in "ab" for n in range(20))


async def test_in_one_group_each_waiter_learns_its_own_fate(
    commit: GroupCommit, sizes: list[int], collection: Collection
) -> None:
    for id in "abc":
        await commit.insert(a_document(id))
    sizes.clear()

    results = await outcomes(
        commit.insert(a_document("new")),
        commit.save("a", 1, {"$set": {"version": 2}}),
        commit.save("b", 9, {"$set": {"version": 10}}),
        commit.insert(a_document("c")),
        commit.apply("d", {"$set": {"x": 1}}, upsert=True),
        commit.apply("nobody", {"$set": {"x": 1}}),
    )

    assert results == ["done", "done", "VersionConflict", "DuplicateKey", "done", "done"]
    assert sizes == [6]
    assert await collection.count_documents({}) == 5


async def test_what_is_taken_out_of_many_arrays_is_one_update_beside_the_groups(
    commit: GroupCommit, sizes: list[int], collection: Collection
) -> None:
    for id in "abc":
        await commit.insert(a_document(id, outbox=[{"id": f"{id}.1"}, {"id": f"{id}.2"}], other=[{"id": "x"}]))
    sizes.clear()

    await commit.pull("outbox", {"a": ["a.1"], "b": ["b.1", "b.2"], "nobody": ["n.1"]})
    await commit.pull("other", {"c": ["x"]})

    assert sizes == []
    left = {id: (await find(collection, id))["outbox"] for id in "abc"}
    assert left == {"a": [{"id": "a.2"}], "b": [], "c": [{"id": "c.1"}, {"id": "c.2"}]}
    assert [(await find(collection, id))["other"] for id in "abc"] == [[{"id": "x"}], [{"id": "x"}], []]


async def test_writes_of_one_moment_travel_together(commit: GroupCommit, sizes: list[int]) -> None:
    await asyncio.gather(*(commit.insert(a_document(f"{number}")) for number in range(200)))

    assert sizes == [200]


async def test_what_comes_while_a_group_is_under_way_makes_up_the_next(commit: GroupCommit, sizes: list[int]) -> None:
    first = asyncio.create_task(commit.insert(a_document("first")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    await asyncio.gather(first, *(commit.insert(a_document(f"{number}")) for number in range(30)))

    assert sizes == [1, 30]


async def test_a_group_is_no_larger_than_allowed(collection: Collection, sizes: list[int]) -> None:
    commit = GroupCommit(collection, largest=40, observe=lambda writes, _seconds: sizes.append(writes))

    await asyncio.gather(*(commit.insert(a_document(f"{number}")) for number in range(100)))

    assert sizes == [40, 40, 20]


async def test_a_single_write_waits_for_no_timer(commit: GroupCommit, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    await commit.insert(a_document("warm"))
    set_timer = loop.call_at
    seconds: list[float] = []

    def noted(when: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
        seconds.append(when - loop.time())
        return set_timer(when, *rest, **more)

    monkeypatch.setattr(loop, "call_at", noted)
    await commit.insert(a_document("alone"))

    assert seconds, "the deadline"
    assert min(seconds) > 1


async def test_two_writes_of_one_id_never_share_a_group_and_keep_their_order(
    commit: GroupCommit, sizes: list[int], collection: Collection
) -> None:
    results = await outcomes(
        commit.insert(a_document()),
        commit.save("a", 1, {"$set": {"version": 2}, "$push": {"log": "first"}}),
        commit.save("a", 2, {"$set": {"version": 3}, "$push": {"log": "second"}}),
        commit.apply("a", {"$push": {"log": "third"}}),
        commit.insert(a_document("b")),
    )

    assert results == ["done"] * 5
    assert sizes == [2, 1, 1, 1]
    assert (await find(collection))["log"] == ["first", "second", "third"]


async def test_every_write_leaves_its_mark_in_a_short_ring(commit: GroupCommit, collection: Collection) -> None:
    await commit.insert(a_document())
    for version in range(1, RING + 5):
        await commit.save("a", version, {"$set": {"version": version + 1}})

    writes = (await find(collection))["writes"]
    assert len(writes) == RING
    assert all(isinstance(write, ObjectId) for write in writes)


@pytest.mark.parametrize(
    "bad",
    [
        {"value": object()},
        {"value": 2**64},
        {"value": "\ud800"},
        {"a\x00b": 1},
        {"value": "x" * (17 * 1024 * 1024)},
    ],
    ids=["no BSON type", "too large a number", "half a character", "a key with NUL", "too large a document"],
)
async def test_a_bad_document_fails_alone(commit: GroupCommit, collection: Collection, bad: dict[Any, Any]) -> None:
    await commit.insert(a_document("there"))

    results = await outcomes(
        commit.insert(a_document("a")),
        commit.insert(a_document("bad", **bad)),
        commit.insert(a_document("b")),
        commit.insert(a_document("there")),
        commit.save("there", 1, {"$set": {"version": 2}}),
    )

    assert results == ["done", "WriteRefused", "done", "DuplicateKey", "done"]
    assert sorted([d["_id"] async for d in collection.find({}, {"_id": 1})]) == ["a", "b", "there"]


async def test_a_document_that_grows_too_large_is_refused_and_stays_as_it_was(
    commit: GroupCommit, collection: Collection
) -> None:
    await commit.insert(a_document(text="x" * (9 * 1024 * 1024)))

    with pytest.raises(WriteRefused):
        await commit.save("a", 1, {"$set": {"version": 2, "more": "x" * (9 * 1024 * 1024)}})
    assert (await find(collection))["version"] == 1


async def test_an_update_the_database_refuses_fails_alone(commit: GroupCommit) -> None:
    await commit.insert(a_document("a", text="x"))

    results = await outcomes(
        commit.save("a", 1, {"$set": {"version": 2}, "$push": {"text": 1}}), commit.insert(a_document("b"))
    )

    assert results == ["WriteRefused", "done"]


async def test_what_a_refusal_means_is_told_by_its_kind() -> None:
    assert issubclass(VersionConflict, Conflict)
    assert issubclass(DuplicateKey, Conflict)
    assert issubclass(WriteRefused, Reject)


async def test_a_waiter_that_goes_away_before_the_group_leaves_writes_nothing(
    commit: GroupCommit, collection: Collection
) -> None:
    first = asyncio.create_task(commit.insert(a_document("first")))
    second = asyncio.create_task(commit.insert(a_document("second")))
    third = asyncio.create_task(commit.insert(a_document("first-of-next")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, third, return_exceptions=True)

    assert second.cancelled()
    assert await collection.count_documents({"_id": "second"}) == 0
    assert await collection.count_documents({}) == 2


async def test_a_waiter_that_goes_away_leaves_the_others_alone(commit: GroupCommit, collection: Collection) -> None:
    writes = [asyncio.create_task(commit.insert(a_document(f"{number}"))) for number in range(20)]
    await asyncio.sleep(0.001)
    for write in writes[::2]:
        write.cancel()

    results = await asyncio.gather(*writes[1::2], return_exceptions=True)

    assert results == [None] * 10
    await commit.insert(a_document("later"))


async def test_closing_returns_when_everything_is_decided(commit: GroupCommit, collection: Collection) -> None:
    writes = [asyncio.create_task(commit.insert(a_document(f"{number}"))) for number in range(10)]
    await asyncio.sleep(0)

    await commit.close()

    assert await collection.count_documents({}) == 10
    await asyncio.gather(*writes)


# --- reading -----------------------------------------------------------------------------------------------------


async def test_reads_of_one_moment_each_get_their_document(collection: Collection) -> None:
    await collection.insert_many([a_document(f"{number}", number=number) for number in range(20)])
    reads = GroupRead(collection)

    found = await asyncio.gather(*(reads.load(f"{number}") for number in range(25)))

    assert [document and document["number"] for document in found] == [*range(20), *([None] * 5)]


async def test_a_read_leaves_out_what_it_was_told_to(collection: Collection) -> None:
    await collection.insert_one(a_document(history=[1], name="x"))

    document = await GroupRead(collection, projection={"history": 0}).load("a")

    assert document == {"_id": "a", "version": 1, "name": "x"}


async def test_a_read_is_never_older_than_its_call(commit: GroupCommit, collection: Collection) -> None:
    reads = GroupRead(collection)
    await commit.insert(a_document())

    for version in range(1, 30):
        others = [asyncio.create_task(reads.load("a")) for _ in range(3)]
        await asyncio.sleep(0)
        await commit.save("a", version, {"$set": {"version": version + 1}})
        document = await reads.load("a")
        assert document is not None
        assert document["version"] == version + 1
        await asyncio.gather(*others)


async def test_a_reader_that_goes_away_leaves_the_others_alone(collection: Collection) -> None:
    await collection.insert_one(a_document())
    reads = GroupRead(collection)
    tasks = [asyncio.create_task(reads.load("a")) for _ in range(3)]
    await asyncio.sleep(0)
    tasks[0].cancel()

    found = await asyncio.gather(*tasks[1:])

    assert [document and document["_id"] for document in found] == ["a", "a"]


async def test_a_failing_read_fails_its_own_callers_and_not_the_next(collection: Collection) -> None:
    await collection.insert_one(a_document())
    reads = GroupRead(collection)

    async with asyncio.timeout(5):
        with pytest.raises(Exception, match="object"):
            await reads.load(object())
        assert await reads.load("a") is not None


async def test_a_cursor_that_went_with_its_server_is_an_outage_and_no_fault_of_what_was_read(
    collection: Collection,
) -> None:
    await collection.insert_many([{"_id": str(number)} for number in range(10)])
    cursor = collection.find({}, batch_size=2)
    assert await cursor.__anext__() is not None
    await collection.database.command("killCursors", collection.name, cursors=[cursor.cursor_id])

    with pytest.raises(DatabaseAway):
        async with database_call():
            await cursor.to_list(None)
