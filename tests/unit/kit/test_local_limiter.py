from __future__ import annotations

from collections import Counter
from typing import cast

import pytest

from convive_kit.rate_limit import FrugalLimiter, Limiter, LocalLimiter, address_bucket, parse


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_hits_within_the_limit_need_no_wait_and_the_next_ones_do() -> None:
    limiter = LocalLimiter("3/minute", clock=Clock())
    assert [limiter.hit("a") for _ in range(5)] == [0, 0, 0, 60, 60]
    assert limiter.hit("b") == 0


def test_waiting_as_told_is_enough_even_when_asked_again_in_between() -> None:
    clock = Clock()
    limiter = LocalLimiter("1/minute", clock=clock)
    limiter.hit("a")
    clock.now = 30
    assert limiter.hit("a") == 30
    clock.now = 60
    assert limiter.hit("a") == 0


def test_memory_is_bounded_by_forgetting_who_was_seen_least_recently() -> None:
    limiter = LocalLimiter("1/minute", size=2, clock=Clock())
    for key in "abac":
        limiter.hit(key)
    assert limiter.hit("a") == 60
    assert limiter.hit("b") == 0


@pytest.mark.parametrize(
    ("address", "bucket"),
    [("198.51.100.7", "198.51.100.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("", ""), ("nonsense", "nonsense")],
)
def test_an_ipv6_subscriber_counts_as_one(address: str, bucket: str) -> None:
    assert address_bucket(address) == bucket


class Shared:
    """Counts as the database would, and knows how often it was asked."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.asked = 0

    async def hit(self, name: str, key: str, limit: str, *, times: int = 1) -> int:
        self.asked += 1
        self.counts[f"{name}:{key}"] += times
        return 0 if self.counts[f"{name}:{key}"] <= parse(limit).amount else 60


def frugal(shared: Shared, clock: Clock | None = None) -> FrugalLimiter:
    return FrugalLimiter(cast("Limiter", shared), "post", "10/minute", alone=3, clock=clock or Clock())


async def test_the_first_hits_are_counted_without_asking_anybody_and_none_is_forgotten() -> None:
    shared = Shared()
    limiter = frugal(shared)
    assert [await limiter.hit("a") for _ in range(3)] == [0, 0, 0]
    assert shared.asked == 0
    assert [await limiter.hit("a") for _ in range(9)] == [*[0] * 7, 60, 60]
    assert shared.counts == {"post:a": 12}
    assert await limiter.hit("b") == 0


async def test_several_processes_let_through_at_most_what_each_counts_alone() -> None:
    shared = Shared()
    first, second = frugal(shared), frugal(shared)
    assert [await second.hit("a") for _ in range(3)] == [0, 0, 0]
    assert [await first.hit("a") for _ in range(12)].count(0) == 10
    assert await second.hit("a") == 60


async def test_a_new_window_begins_alone_again() -> None:
    shared, clock = Shared(), Clock()
    limiter = frugal(shared, clock)
    for _ in range(4):
        await limiter.hit("a")
    clock.now += 60
    assert [await limiter.hit("a") for _ in range(3)] == [0, 0, 0]
    assert shared.asked == 1
