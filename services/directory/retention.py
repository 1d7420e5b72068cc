"""Nothing is kept for longer than the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from convive_kit.errors import Retry
from convive_kit.logs import get_logger
from convive_kit.parked import ParkedMessages
from directory.erasure import Erasure
from directory.store.protocol import Store

log = get_logger(__name__)

_AT_ONCE = 200


class Retention:
    """Several processes may look at the same time; all of it may be done twice."""

    def __init__(
        self,
        store: Store,
        erasure: Erasure,
        parked: ParkedMessages,
        kept_for: timedelta,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._erasure = erasure
        self._parked = parked
        self._kept_for = kept_for
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
        """Forget who the members were that were removed too long ago, with what their accounts have of it, and drop
        parked messages of that age; returns how many members."""
        before = self._now() - self._kept_for
        forgotten = 0
        while over := await self._store.removed_before(before, limit=_AT_ONCE):
            await asyncio.gather(*map(self._erasure.forget, over))
            forgotten += len(over)
        await self._parked.drop(before)
        if forgotten:
            log.info("retention.forgotten", members=forgotten)
        return forgotten
