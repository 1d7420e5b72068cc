"""Events out, through the outbox of the document they tell of, and the invitation service's events in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog

from convive_contracts import (
    DIRECTORY_SOURCE,
    INVITATION_SOURCE,
    InvitationErased,
    InvitationState,
    new_event,
    parse_event,
)
from convive_kit import tracing
from convive_kit.consuming import Incoming
from convive_kit.outbox import OutboxEntry
from directory.model.account import Account
from directory.model.cabinet import Cabinet
from directory.model.change import Change, Stored
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.store.protocol import Document, EntriesOf, Store, settle

log = structlog.stdlib.get_logger(__name__)

_AT_ONCE = 100
_TOLD_AGAIN: tuple[type[Stored], ...] = (Cabinet, Dossier, Member, Account)


def entries(now: Callable[[], datetime]) -> EntriesOf:
    """Turns a change's announcements into outbox entries; each carries the version its document reaches with it."""

    def of(change: Change[Stored]) -> Sequence[OutboxEntry]:
        at = now()
        correlation = structlog.contextvars.get_contextvars().get("correlation_id")
        trace = tracing.carrier()
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
                extensions=trace,
            )
            entry: OutboxEntry = {"id": event.id, "at": at, "key": announcement.key, "body": event.to_structured()}
            made.append({**entry, "trace": trace} if trace else entry)
        return made

    return of


async def announce_some(store: Store, place: tuple[str, str] | None) -> tuple[str, int, tuple[str, str] | None]:
    """Tell the present state of the next hundred documents again: cabinets, dossiers, members, then what accounts have
    accepted. Who knows it already changes nothing; may be repeated from any place.

    Returns the kind, how many were told, and the place to go on from, or None at the end.
    """
    kinds = [model.kind for model in _TOLD_AGAIN]
    kind, after = place or (kinds[0], "")
    batch = await store.every(_TOLD_AGAIN[kinds.index(kind)], after=after, limit=_AT_ONCE)
    told = sum(await asyncio.gather(*(_tell_again(store, document) for document in batch)))
    if len(batch) == _AT_ONCE:
        return kind, told, (kind, batch[-1].id)
    following = kinds[kinds.index(kind) + 1 :]
    return kind, told, (following[0], "") if following else None


async def _tell_again(store: Store, document: Stored) -> bool:
    match document:
        case Member(id=id):
            dossier, cabinet = await store.dossier(document.dossier_id), await store.cabinet(document.cabinet_id)
            if dossier is None or cabinet is None or dossier.archived_at:
                return False
            told = await settle(store, _loads(store.member, id), lambda m: m.announced_anew(dossier, cabinet))
        case Cabinet(id=id):
            told = await settle(store, _loads(store.cabinet, id), Cabinet.announced_anew)
        case Dossier(id=id):
            told = await settle(store, _loads(store.dossier, id), Dossier.announced_anew)
        case Account(id=id):
            told = await settle(store, _loads(store.account, id), Account.announced_anew)
        case _:
            return False
    return told.version > document.version


def _loads(find: Callable[[str], Awaitable[Document | None]], id: str) -> Callable[[], Awaitable[Document]]:
    async def load() -> Document:
        if (document := await find(id)) is None:
            raise _Unknown  # documents are never deleted
        return document

    return load


class _Unknown(Exception):
    """A member of somebody else's."""


class InvitationNews:
    """Keeps what the invitation service says of our members beside them."""

    def __init__(
        self, store: Store, erase: Callable[[InvitationErased], Awaitable[None]], now: Callable[[], datetime]
    ) -> None:
        """`erase` is called for a person who is to be erased here too."""
        self._store = store
        self._erase = erase
        self._now = now

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

        with tracing.span(f"handle {event.short_type}", "consumer", parent=event.extensions):
            with suppress(_Unknown):  # another publisher's member: nothing of ours
                await settle(self._store, load, lambda member: member.learn(fact, event.time, self._now()))
            if isinstance(fact, InvitationErased):
                await self._erase(fact)
        log.debug("member.invitation_noted", member=fact.member_id, state=fact.state)
