"""`/v1/stats`: the whole at a glance."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.errors import Retry
from convive_kit.http import Timestamp
from convive_kit.logs import get_logger
from convive_kit.routes import Route
from invitation.lifecycle.invitation import Channel, Invitation
from invitation.lifecycle.states import WAY_IN, State
from invitation.store.protocol import Filter, Store
from invitation.store.statistics import Statistics

log = get_logger(__name__)

_FRESH = 2.0
_SENT_BY: Sequence[Channel] = ("email", "sms")
_LOOKED_AT = 20
_SHARE = 50
"""Counting may take a fiftieth of the time: what takes long to count is counted more seldom."""


class OldestPending(BaseModel):
    id: str
    created_at: Timestamp


class Day(BaseModel):
    day: date
    created: int
    by_state: dict[State, int] = Field(description="How those created on that day stand now.")


class Outcomes(BaseModel):
    waiting: int = Field(description="To be sent.")
    accepted: int = Field(description="Taken by the provider, and not over since.")
    failed: int


class Delivery(Outcomes):
    by_channel: dict[Channel, Outcomes]


class StatsView(BaseModel):
    as_of: Timestamp = Field(description="When it was counted: more seldom the more there is to count.")
    total: int
    by_state: dict[State, int]
    created_last_hour: int
    per_day: list[Day]
    oldest_pending: OldestPending | None = Field(description="Of those that are to be sent; none waits longer.")
    delivery: Delivery
    reasons: dict[str, int] = Field(description="Why they failed, expired, were revoked or declined.")


class Stats:
    """Counts when it is asked, not more often than is cheap, and never twice at once."""

    def __init__(
        self, store: Store, count: Callable[[datetime], Awaitable[Statistics]], *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._count = count
        self._now = now
        self._last: Statistics | None = None
        self._fresh_until = 0.0
        self._counting: asyncio.Task[Statistics] | None = None
        self.failed = False
        """Whether the last try to count was in vain: what is told is from before."""

    def routes(self) -> list[Route]:
        """The call."""
        return [Route("GET", "/v1/stats", self._show, "How many stand where", response=StatsView, auth="ops_reader")]

    async def _show(self, _: web.Request) -> BaseModel:
        return await self.view()

    async def view(self) -> StatsView:
        """The whole, as it was counted last. Raises `DatabaseAway` in an outage."""
        statistics = await self.latest()
        oldest = await self.oldest_pending()
        by_state = {state: statistics.by_state.get(state.value, 0) for state in State}
        return StatsView(
            as_of=statistics.as_of,
            total=sum(by_state.values()),
            by_state=by_state,
            created_last_hour=statistics.created_last_hour,
            per_day=[
                Day(day=day.date(), created=sum(numbers.values()), by_state={State(s): n for s, n in numbers.items()})
                for day, numbers in statistics.per_day
            ],
            oldest_pending=OldestPending(id=oldest.id, created_at=oldest.created_at) if oldest else None,
            delivery=_delivery(statistics),
            reasons=statistics.reasons,
        )

    async def oldest_pending(self) -> Invitation | None:
        """Of those that are to be sent and do not only wait for the end of quiet hours, the one that was created first,
        as far as a look at the oldest tells."""
        waiting = Filter(states=[State.PENDING], channels=["email", "sms"])
        page, now = await self._store.find(waiting, limit=_LOOKED_AT, newest_first=False), self._now()
        return next((invitation for invitation in page.items if not invitation.sleeps(now)), None)

    async def latest(self) -> Statistics:
        """The last count, and a new one begun where it is no longer fresh. Raises `DatabaseAway` where there is none
        yet and none can be had."""
        counting = self._counting
        if counting is None or (counting.done() and time.monotonic() >= self._fresh_until):
            counting = self._counting = asyncio.create_task(self._anew(), name="statistics")
            counting.add_done_callback(_say_if_failed)
        # Shielded, for others may wait for it too.
        return self._last or await asyncio.shield(counting)

    async def _anew(self) -> Statistics:
        began = time.monotonic()
        try:
            self._last = await self._count(self._now())
        except BaseException:
            self.failed = True
            raise
        self.failed = False
        took = time.monotonic() - began
        self._fresh_until = time.monotonic() + max(_FRESH, took * _SHARE)
        return self._last


def _delivery(counted: Statistics) -> Delivery:
    by_channel: dict[Channel, Outcomes] = {}
    for channel in _SENT_BY:
        numbers = counted.by_channel.get(channel, {})
        by_channel[channel] = Outcomes(
            waiting=numbers.get(State.PENDING, 0),
            accepted=sum(numbers.get(state, 0) for state in WAY_IN[1:]),
            failed=numbers.get(State.FAILED, 0),
        )
    totals = {name: sum(getattr(one, name) for one in by_channel.values()) for name in Outcomes.model_fields}
    return Delivery(**totals, by_channel=by_channel)


def _say_if_failed(counting: asyncio.Task[Statistics]) -> None:
    if not counting.cancelled() and isinstance(away := counting.exception(), Retry):
        log.warning("statistics.put_off", slug=away.slug)
