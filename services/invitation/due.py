"""The one loop that makes time pass: it claims what is due. No other timer exists.

Whatever must happen to an invitation later (a lease ends, a retry, a reminder, the end of quiet hours, the expiry) is
its `due_at`. Several processes may
run the loop: each claim is a compare-and-swap, and whoever loses it goes on to the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from convive_kit.errors import Retry
from convive_kit.group_commit import VersionConflict
from invitation.lifecycle.invitation import Cause, Invitation, then
from invitation.lifecycle.rebuilt import armed
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Store, policy_for

if TYPE_CHECKING:
    from invitation.delivery.slots import Delivery

log = structlog.stdlib.get_logger(__name__)


class DueLoop:
    """Finds what is due, sends it where there is room, and expires what is over."""

    def __init__(
        self,
        store: Store,
        delivery: Delivery,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        rebuilt: Callable[[], Awaitable[bool]],
        every: float = 1.0,
    ) -> None:
        """`rebuilt` tells whether what a rebuild has folded in may come due. `every`: seconds between looks when nobody
        calls `wake`."""
        self._rebuilt = rebuilt
        self._store = store
        self._delivery = delivery
        self._policy = policy
        self._now = now
        self._every = every
        self._nothing_rebuilt_at = datetime.min.replace(tzinfo=UTC)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something became due: look now."""
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled. After an outage, claims wait one attempt's deadline: attempts that others were at when
        it began have ended by then."""
        while True:
            try:
                more = await self.look()
            except Retry as away:
                log.warning("due.paused", cause=away.slug)
                await self._until_back()
                continue
            if more:
                await self._delivery.wait_for_room()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._every):
                        await self._wake.wait()
            self._wake.clear()

    async def look(self) -> bool:
        """Handle one batch of what is due; True when there may be more."""
        channels = self._delivery.open_channels() if self._delivery.room > 0 else []
        limit = max(self._delivery.room, 100)
        due = await self._due(limit, [*channels, "none"])
        results = await asyncio.gather(*(self._handle(invitation) for invitation in due), return_exceptions=True)
        for failure in (result for result in results if isinstance(result, BaseException)):
            raise failure
        return len(due) == limit or self._delivery.room == 0

    async def _due(self, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        now = self._now()
        due = await self._store.due(now, limit, channels)
        # There is hardly ever a rebuild: however often it looks, it need not ask for that more often.
        asked_lately = timedelta(0) <= now - self._nothing_rebuilt_at < timedelta(seconds=self._every)
        if asked_lately or len(due) == limit:
            return due
        # In this order: what a rebuild still changed after it was found here is not saved, its version tells.
        folded_in = await self._store.due_once_armed(now, limit - len(due), channels)
        if folded_in and await self._rebuilt():
            return [*due, *folded_in]
        if len(channels) > 1:  # else there may be some, and no room
            self._nothing_rebuilt_at = now
        return due

    async def _handle(self, invitation: Invitation) -> None:
        now = self._now()
        policy = await policy_for(self._store, invitation, self._policy)
        cause = Cause(now, "system")
        change = armed(invitation, cause)
        due = (change.after if change else invitation).came_due(cause, policy)
        change = then(change, due) if change else due
        wanted = change.after if change else invitation
        if change is not None and not wanted.wants_sending(now):
            with suppress(VersionConflict):
                await self._store.save(change)
                if change.facts:
                    log.info("invitation.ended", invitation=invitation.id, state=wanted.state.value)
            return
        if not self._delivery.reserve(invitation.channel):
            return
        claim = wanted.claimed(self._delivery.owner, now, policy)
        if change is not None:
            claim = then(change, claim)
        try:
            await self._store.save(claim)
        except VersionConflict:
            self._delivery.give_back(invitation.channel)  # somebody else took it
        except BaseException:
            self._delivery.give_back(invitation.channel)
            raise
        else:
            self._delivery.start(claim.after)

    async def _until_back(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            with suppress(Retry):
                await self._store.due(self._now(), 1, ["none"])
                break
        await asyncio.sleep(self._policy.attempt_deadline.total_seconds())
