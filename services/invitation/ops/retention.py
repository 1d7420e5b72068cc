"""Nothing is kept for longer than the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from convive_kit.errors import Retry
from convive_kit.logs import get_logger
from convive_kit.parked import ParkedMessages
from invitation.lifecycle.erasure import forget
from invitation.lifecycle.invitation import Cause
from invitation.store.audit import Audit
from invitation.store.personal_data import People
from invitation.store.protocol import Store, decide_and_save

log = get_logger(__name__)

_AT_ONCE = 200


class Retention:
    """Several processes may look at the same time; all of it may be done twice."""

    def __init__(
        self,
        store: Store,
        people: People,
        parked: ParkedMessages,
        audit: Audit,
        kept_for: timedelta,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._people = people
        self._parked = parked
        self._audit = audit
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
        """Forget whose the invitations were that ended too long ago, and drop messages and audit records of that age;
        returns how many invitations."""
        before = self._now() - self._kept_for
        forgotten = 0
        while over := await self._people.ended(before, _AT_ONCE):
            await asyncio.gather(*(self._forget(id, before) for id in over))
            forgotten += len(over)
        await self._parked.drop(before)
        await self._audit.drop(before)
        if forgotten:
            log.info("retention.forgotten", invitations=forgotten)
        return forgotten

    async def _forget(self, id: str, before: datetime) -> None:
        cause = Cause(self._now(), "system")
        # Words first: what is forgotten is not found again.
        await self._people.drop_details(id)
        # Something may have happened to it since it was found.
        await decide_and_save(self._store, id, lambda i: forget(i, cause) if i.updated_at < before else None)
