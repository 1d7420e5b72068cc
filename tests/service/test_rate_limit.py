"""The shared limiter on a real database."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import pytest
from pymongo import MongoClient

from convive_kit.rate_limit import Limiter, LimiterAway
from deploy.local.database import Database

pytestmark = pytest.mark.database


@pytest.fixture
def limiter(mongo_url: str, database: str) -> Iterator[Callable[[], Limiter]]:
    """Opens limiters on the test's database, as each replica of a service does."""
    opened: list[Limiter] = []

    def open_one() -> Limiter:
        opened.append(Limiter(mongo_url, database))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


async def test_hits_over_the_limit_are_told_how_long_to_wait(limiter: Callable[[], Limiter]) -> None:
    one = limiter()
    waits = [await one.hit("sign-in", "a", "3/minute") for _ in range(5)]
    assert waits[:3] == [0, 0, 0]
    assert all(55 <= wait <= 60 for wait in waits[3:])


async def test_keys_names_and_limits_are_counted_apart(limiter: Callable[[], Limiter]) -> None:
    one = limiter()
    assert await one.hit("sign-in", "a", "1/minute") == 0
    assert await one.hit("sign-in", "b", "1/minute") == 0
    assert await one.hit("renew", "a", "1/minute") == 0
    assert await one.hit("sign-in", "a", "5/hour") == 0
    assert await one.hit("sign-in", "a", "1/minute") > 0


async def test_replicas_that_race_share_one_count_from_the_very_first_hit(limiter: Callable[[], Limiter]) -> None:
    replicas = [limiter() for _ in range(4)]
    for key in map(str, range(5)):
        waits = await asyncio.gather(
            *(replica.hit("sign-in", key, "10/minute") for replica in replicas for _ in range(10))
        )
        assert waits.count(0) == 10


async def test_after_the_wait_hits_are_let_through_again(limiter: Callable[[], Limiter]) -> None:
    one = limiter()
    assert await one.hit("sign-in", "a", "1/2second") == 0
    wait = await one.hit("sign-in", "a", "1/2second")
    assert 1 <= wait <= 2
    deadline = time.monotonic() + 10
    while await one.hit("sign-in", "a", "1/2second") and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    assert time.monotonic() < deadline


async def test_the_database_holds_no_address_and_forgets_by_itself(
    limiter: Callable[[], Limiter], mongo_url: str, database: str
) -> None:
    await limiter().hit("sign-in", "jeanne@example.com", "3/minute")
    with MongoClient[dict[str, object]](mongo_url) as client:
        collection = client[database]["rate_limits"]
        assert "jeanne" not in json.dumps(list(collection.find()), default=str)
        indexes = collection.index_information()
    assert [index for index in indexes.values() if index.get("expireAfterSeconds") == 0]


async def test_while_the_database_is_away_the_caller_is_told_to_try_again(own_database: Database) -> None:
    one = Limiter(own_database.url, "convive_test", time_limit=0.5)
    try:
        assert await one.hit("sign-in", "a", "1/hour") == 0
        await own_database.stop()
        started = time.monotonic()
        with pytest.raises(LimiterAway):
            await one.hit("sign-in", "a", "1/hour")
        assert time.monotonic() - started < 3
        await own_database.start()
        deadline = time.monotonic() + 20
        while True:
            try:
                assert await one.hit("sign-in", "a", "1/hour") > 0
                break
            except LimiterAway:
                assert time.monotonic() < deadline
    finally:
        one.close()
