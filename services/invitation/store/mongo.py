"""The store in MongoDB: one document per invitation, every save one compare-and-swap in a group commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from convive_contracts.events import CabinetState, DossierState
from convive_kit.group_commit import GroupCommit, GroupRead
from convive_kit.mongo import Database, Document, database_call
from convive_kit.outbox import OUTBOX_INDEX, OutboxEntry
from invitation.lifecycle.invitation import Change, Invitation, Invitee, Step
from invitation.lifecycle.states import FINAL, State
from invitation.store.documents import (
    WITHOUT_HISTORY,
    entries,
    from_document,
    key_of,
    steps_of,
    to_document,
    to_update,
)
from invitation.store.protocol import Filter, Names, Page
from invitation.store.replays import REPLAY_INDEXES, REPLAYS

INVITATIONS = "invitations"
PARKED = "parked"
NAMES = "names"
NAMES_LAST = 1.0
"""Seconds for which a name read is used again: so long may a renamed firm still be called by its old name."""
_MOST_NAMES = 10_000

Announce = Callable[[str, Sequence[OutboxEntry]], None]


def _by_creation(*fields: str) -> list[tuple[str, int]]:
    return [*((name, ASCENDING) for name in fields), ("created_at", DESCENDING), ("_id", DESCENDING)]


INDEXES = (
    IndexModel(["channel", "due_at"], name="due", partialFilterExpression={"due_at": {"$exists": True}}),
    OUTBOX_INDEX,
    IndexModel(_by_creation(), name="list"),
    IndexModel(_by_creation("state"), name="list_state"),
    IndexModel(_by_creation("cabinet.id"), name="list_cabinet"),
    IndexModel(_by_creation("dossier.id"), name="list_dossier"),
    IndexModel("disarmed", name="disarmed", partialFilterExpression={"disarmed": True}),
    IndexModel(_by_creation("member.id"), name="list_member"),
    IndexModel(_by_creation("member.email_key"), name="list_email"),
)


async def create_indexes(database: Database) -> None:
    """Make the indexes that are missing; safe to repeat, and from several processes at once."""
    async with database_call(60):
        await database[INVITATIONS].create_indexes(list(INDEXES))
        await database[REPLAYS].create_indexes(list(REPLAY_INDEXES))


class MongoStore:
    """See `Store`. `announce` is handed the outbox entries of each save once it is committed; without it nothing is
    announced at all, for rebuilding what was announced long ago."""

    def __init__(self, database: Database, commit: GroupCommit, announce: Announce | None) -> None:
        self._invitations = database[INVITATIONS]
        self._commit = commit
        self._names = database[NAMES]
        self._reads = GroupRead(self._invitations, projection=WITHOUT_HISTORY)
        self._name_reads = GroupRead(self._names)
        self._known_names: dict[str, tuple[float, asyncio.Future[Document | None]]] = {}
        self._announce = announce

    async def load(self, id: str) -> Invitation | None:
        document = await self._reads.load(id)
        return None if document is None else from_document(document)

    async def save(self, change: Change) -> None:
        outbox: list[OutboxEntry] = []
        if self._announce is not None:
            context: Mapping[str, Any] = structlog.contextvars.get_contextvars()
            outbox = entries(change, context.get("correlation_id") or change.after.correlation_id)
        if change.before is None:
            await self._commit.insert(to_document(change, outbox))
        else:
            await self._commit.save(change.after.id, change.seen, to_update(change, outbox))
        if self._announce is not None:
            self._announce(change.after.id, outbox)

    async def history(self, id: str) -> Sequence[Step]:
        async with database_call():
            document = await self._invitations.find_one({"_id": id}, {"history": 1})
        return [] if document is None else steps_of(document)

    async def due(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        due = {"channel": {"$in": list(channels)}, "due_at": {"$lte": now}}
        found = self._invitations.find(due, WITHOUT_HISTORY).sort("due_at", ASCENDING).limit(limit)
        async with database_call():
            return [from_document(document) async for document in found]

    async def learn_cabinet(self, state: CabinetState, order: int) -> bool:
        return await self._learn(f"cabinet:{state.id}", order, {"name": state.name, "phone": state.phone})

    async def learn_dossier(self, state: DossierState, order: int) -> bool:
        return await self._learn(f"dossier:{state.id}", order, {"name": state.name})

    async def _learn(self, id: str, order: int, fields: Document) -> bool:
        # An upsert that finds something newer misses and runs into its `_id`: then there is nothing to learn.
        try:
            async with database_call():
                await self._names.update_one(
                    {"_id": id, "order": {"$lt": order}}, {"$set": {**fields, "order": order}}, upsert=True
                )
        except DuplicateKeyError:
            return False
        self._known_names.pop(id, None)
        return True

    def _ask_name(self, id: str) -> asyncio.Future[Document | None]:
        now = time.monotonic()
        known = self._known_names.get(id)
        if known is not None and now < known[0] and not (known[1].done() and known[1].exception()):
            return known[1]
        if len(self._known_names) >= _MOST_NAMES:
            self._known_names.clear()
        asked = self._name_reads.ask(id)
        self._known_names[id] = (now + NAMES_LAST, asked)
        return asked

    async def names(self, invitee: Invitee) -> Names:
        # Both are asked for before either is waited for, so they travel together.
        asked_cabinet = self._ask_name(f"cabinet:{invitee.cabinet_id}")
        asked_dossier = self._ask_name(f"dossier:{invitee.dossier_id}")
        cabinet = await _answer(asked_cabinet)
        dossier = await _answer(asked_dossier)
        return Names(
            cabinet=cabinet["name"] if cabinet else invitee.cabinet_name,
            cabinet_phone=cabinet["phone"] if cabinet else invitee.cabinet_phone,
            dossier=dossier["name"] if dossier else invitee.dossier_name,
        )

    async def find(
        self, which: Filter, *, limit: int, after: tuple[datetime, str] | None = None, newest_first: bool = True
    ) -> Page:
        direction, beyond = (DESCENDING, "$lt") if newest_first else (ASCENDING, "$gt")
        query = _query(which)
        if after is not None:
            moment, id = after
            # The first bound is what the index can use, the second what the key says.
            bound = {f"{beyond}e": moment}
            query["$and"] = [
                {"created_at": bound},
                {"$or": [{"created_at": {beyond: moment}}, {"_id": {beyond: id}}]},
            ]
        order = [("created_at", direction), ("_id", direction)]
        found = self._invitations.find(query, WITHOUT_HISTORY).sort(order).limit(limit + 1)
        async with database_call():
            items = [from_document(document) async for document in found]
        more = len(items) > limit
        items = items[:limit]
        return Page(items, key_of(items[-1]) if more else None)

    async def disarmed(self, limit: int) -> Sequence[str]:
        found = self._invitations.find({"disarmed": True}, {"_id": 1}).limit(limit)
        async with database_call():
            return [document["_id"] async for document in found]

    async def is_empty(self) -> bool:
        async with database_call():
            return await self._invitations.find_one({}, {"_id": 1}) is None


def _query(which: Filter) -> Document:
    query: Document = {"announced": True}
    wanted = (
        ("state", [state.value for state in which.states]),
        ("channel", which.channels),
        ("cabinet.id", which.cabinet_ids),
        ("dossier.id", which.dossier_ids),
        ("member.id", which.member_ids),
        ("member.email_key", which.email_keys),
        ("reason", which.errors),
    )
    for name, values in wanted:
        if values:
            query[name] = values[0] if len(values) == 1 else {"$in": list(values)}
    created: Document = {}
    if which.created_after is not None:
        created["$gte"] = which.created_after
    if which.created_before is not None:
        created["$lt"] = which.created_before
    if created:
        query["created_at"] = created
    if which.stuck_since is not None:
        query["updated_at"] = {"$lt": which.stuck_since}
        # Each state by name: the index of a state is in order, a range over states would be sorted in memory.
        query["state"] = {"$in": [state.value for state in which.states or State if state not in FINAL]}
    return query


async def _answer(asked: asyncio.Future[Document | None]) -> Document | None:
    # Shielded, for others may share it.
    return asked.result() if asked.done() else await asyncio.shield(asked)
