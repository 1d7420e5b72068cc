"""Events out, through the outbox of the document they tell of, and the invitation service's events in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from convive_contracts import DIRECTORY_SOURCE, INVITATION_SOURCE, InvitationState, new_event, parse_event
from convive_kit.bus import Incoming
from convive_kit.outbox import OutboxEntry
from directory.model.change import Change, Stored
from directory.model.member import Member
from directory.store.protocol import EntriesOf, Store, settle

log = structlog.stdlib.get_logger(__name__)


def entries(now: Callable[[], datetime]) -> EntriesOf:
    """Turns a change's announcements into outbox entries; each carries the version its document reaches with it."""

    def of(change: Change[Stored]) -> Sequence[OutboxEntry]:
        at = now()
        correlation = structlog.contextvars.get_contextvars().get("correlation_id")
        made: list[OutboxEntry] = []
        for sequence, announcement in enumerate(change.announcements, change.seen + 1):
            event = new_event(
                announcement.type,
                source=DIRECTORY_SOURCE,
                subject=announcement.subject,
                data=announcement.data,
                id=f"{announcement.subject}.{sequence}",
                time=at,
                sequence=sequence,
                correlation_id=correlation,
            )
            made.append({"id": event.id, "at": at, "key": announcement.type, "body": event.to_structured()})
        return made

    return of


class _Unknown(Exception):
    """A member of somebody else's."""


class InvitationNews:
    """Keeps what the invitation service says of our members beside them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def handle(self, message: Incoming) -> None:
        """Handler of `directory.events`. Requests are for the invitation service, other sources tell us nothing."""
        if message.routing_key.endswith("_requested"):
            return
        event = parse_event(message.body, content_type=message.content_type, headers=message.headers)
        fact = event.data
        if event.source != INVITATION_SOURCE or not isinstance(fact, InvitationState):
            return

        structlog.contextvars.bind_contextvars(correlation_id=event.correlation_id)

        async def load() -> Member:
            if member := await self._store.member(fact.member_id):
                return member
            raise _Unknown

        try:
            await settle(self._store, load, lambda member: member.learn(fact, event.time))
        except _Unknown:
            return  # another publisher's member: nothing of ours
        log.debug("member.invitation_noted", member=fact.member_id, state=fact.state)
