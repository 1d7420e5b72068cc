"""Nothing is kept for longer than the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from convive_kit.errors import Retry
from convive_kit.logs import get_logger

log = get_logger(__name__)

_AT_ONCE = 200

Kept = TypeVar("Kept")


class Retention(Generic[Kept]):
    """Several processes may look at the same time; all of it may be done twice."""

    def __init__(
        self,
        kept_for: timedelta,
        *,
        over: Callable[[datetime, int], Awaitable[Sequence[Kept]]],
        forget: Callable[[Kept, datetime], Awaitable[object]],
        drop: Sequence[Callable[[datetime], Awaitable[object]]],
        now: Callable[[], datetime],
    ) -> None:
        """`over(before, limit)` finds what came to an end before that time and says whose it was; once
        `forget(one, before)` is through with it, it is not found again. `drop` deletes what is older altogether."""
        self._kept_for = kept_for
        self._over = over
        self._forget = forget
        self._drop = drop
        self._now = now

    async def run(self, *, every: float = 600.0) -> None:
        """Look every so many seconds until cancelled; an outage is waited out."""
        while True:
            try:
                await self.look()
            except Retry as away:
                log.warning("retention.paused", cause=away.slug)
            await asyncio.sleep(every)

    async def look(self) -> int:
        """Forget and drop all that is too old; returns how many were forgotten."""
        before = self._now() - self._kept_for
        forgotten = 0
        while found := await self._over(before, _AT_ONCE):
            await asyncio.gather(*(self._forget(one, before) for one in found))
            forgotten += len(found)
        for drop in self._drop:
            await drop(before)
        if forgotten:
            log.info("retention.forgotten", number=forgotten)
        return forgotten
