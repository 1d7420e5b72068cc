"""The circuit breaker: a provider that is down is asked by one message at a time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitation.delivery.breaker import Breaker


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def breaker(seconds: Seconds) -> Breaker:
    return Breaker(monotonic=seconds)


def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        breaker.enter()
        breaker.failed()


def test_it_lets_everything_through_at_first(breaker: Breaker) -> None:
    assert breaker.lets_through
    assert not breaker.is_open


def test_it_opens_after_five_failures_in_a_row(breaker: Breaker) -> None:
    fail(breaker, 4)
    assert breaker.lets_through

    fail(breaker)
    assert breaker.is_open
    assert not breaker.lets_through


def test_a_success_in_between_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, 4)
    breaker.succeeded()
    fail(breaker, 4)

    assert breaker.lets_through


def test_after_its_pause_it_lets_one_through_and_no_other(breaker: Breaker, seconds: Seconds) -> None:
    fail(breaker, 5)
    seconds.now += breaker.opens_in

    assert breaker.lets_through
    breaker.enter()
    assert not breaker.lets_through


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, seconds: Seconds) -> None:
    fail(breaker, 5)
    seconds.now += breaker.opens_in
    breaker.enter()
    breaker.succeeded()

    assert breaker.lets_through
    assert not breaker.is_open


def test_each_probe_that_fails_doubles_the_pause_up_to_a_minute(breaker: Breaker, seconds: Seconds) -> None:
    fail(breaker, 5)
    pauses = [breaker.opens_in]
    for _ in range(8):
        seconds.now += breaker.opens_in
        fail(breaker)
        pauses.append(breaker.opens_in)

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_those_under_way_when_it_opened_do_not_lengthen_the_pause(breaker: Breaker) -> None:
    fail(breaker, 5)
    for _ in range(100):
        breaker.failed()

    assert breaker.opens_in == 1


def test_a_probe_that_was_not_needed_leaves_its_place_to_another(breaker: Breaker, seconds: Seconds) -> None:
    fail(breaker, 5)
    seconds.now += breaker.opens_in
    breaker.enter()
    breaker.left()

    assert breaker.lets_through


@given(st.lists(st.sampled_from(["enter", "succeeded", "failed", "wait"]), max_size=60))
def test_whatever_happens_it_lets_somebody_through_in_the_end(steps: list[str]) -> None:
    seconds = Seconds()
    breaker = Breaker(monotonic=seconds)
    inside = 0
    for step in steps:
        if step == "enter" and breaker.lets_through:
            breaker.enter()
            inside += 1
        elif step in ("succeeded", "failed") and inside:
            inside -= 1
            getattr(breaker, step)()
        elif step == "wait":
            seconds.now += breaker.opens_in
    for _ in range(inside):
        breaker.failed()
    assert 0 <= breaker.opens_in <= 60
    seconds.now += breaker.opens_in

    assert breaker.lets_through
