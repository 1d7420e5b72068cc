from __future__ import annotations

import pytest

from convive_kit.rate_limit import LocalLimiter, address_bucket


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
