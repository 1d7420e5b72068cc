"""Messages about invitations that nobody knows yet: set aside in the parking place, and tried until they are known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from convive_contracts.envelope import EventError
from convive_kit.errors import Reject, Retry
from convive_kit.logs import get_logger
from convive_kit.parked import ParkedMessages
from invitation.intake.events import Intake, NotKnownYet

log = get_logger(__name__)

_AT_ONCE = 200


class WaitingRoom:
    """Several processes may look at the same time: each event counts once."""

    def __init__(self, parked: ParkedMessages, intake: Intake, *, now: Callable[[], datetime]) -> None:
        self._parked = parked
        self._intake = intake
        self._now = now

    async def run(self, *, every: float = 2.0) -> None:
        """Look every so many seconds until cancelled; an outage is waited out."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.look()
            except Retry as away:
                log.warning("waiting.paused", cause=away.slug)

    async def look(self) -> int:
        """Try those that have waited longest since they were last tried; returns how many came to an end."""
        ended = 0
        for message in await self._parked.waiting(limit=_AT_ONCE):
            try:
                await self._intake.handle(message.message(), waits_since=message.fields["first_seen"])
            except NotKnownYet as not_yet:
                await self._parked.failed_again(message.id, not_yet, self._now())
            except (Reject, EventError) as refused:
                await self._parked.given_up(message.id, refused, self._now())
                ended += 1
            else:
                await self._parked.replayed(message.id, "system", "known by now", self._now())
                ended += 1
        return ended
