"""The database's time, as well as it can be known from answers that take their time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from convive_kit.mongo import Client, DatabaseClock

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Server:
    """A database whose clock is right, and whose answers take `to` seconds to be made and `back` to arrive."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.to = self.back = 0.001
        self.apart = 0.0
        self.asked = 0

    def monotonic(self) -> float:
        return self.seconds

    @property
    def time(self) -> datetime:
        return NOW + timedelta(seconds=self.seconds + self.apart)

    @property
    def admin(self) -> Server:
        return self

    async def command(self, _: str) -> dict[str, Any]:
        self.asked += 1
        self.seconds += self.to
        answer = {"localTime": self.time.replace(tzinfo=None)}
        self.seconds += self.back
        return answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock(server: Server) -> DatabaseClock:
    return DatabaseClock(cast("Client", server), monotonic=server.monotonic)


def wrong_by(clock: DatabaseClock, server: Server) -> float:
    return abs((clock.now() - server.time).total_seconds())


async def test_a_quick_answer_is_enough(clock: DatabaseClock, server: Server) -> None:
    await clock.measure()
    assert server.asked == 1
    assert wrong_by(clock, server) <= 0.002


async def test_a_slow_answer_does_not_replace_a_better_one(clock: DatabaseClock, server: Server) -> None:
    await clock.measure()
    server.seconds += 10
    server.to, server.back = 0.0, 2.5
    await clock.measure()
    assert server.asked == 5, "a slow one is asked again"
    assert wrong_by(clock, server) <= 0.002


async def test_the_first_answers_may_be_slow_and_the_best_of_them_counts(clock: DatabaseClock, server: Server) -> None:
    server.to, server.back = 0.0, 2.0
    await clock.measure()
    assert wrong_by(clock, server) <= 1.001
    server.to, server.back = 0.005, 0.005
    await clock.measure()
    assert wrong_by(clock, server) <= 0.006


async def test_a_clock_that_was_set_is_followed(clock: DatabaseClock, server: Server) -> None:
    await clock.measure()
    server.seconds += 10
    server.apart = 3600.0
    server.to = server.back = 0.5
    await clock.measure()
    assert wrong_by(clock, server) <= 0.51


async def test_a_better_one_grows_old(clock: DatabaseClock, server: Server) -> None:
    await clock.measure()
    server.seconds += 3600
    server.apart = 0.9  # the two went apart, by less than hardware may
    server.to = server.back = 0.1
    await clock.measure()
    assert wrong_by(clock, server) <= 0.11
