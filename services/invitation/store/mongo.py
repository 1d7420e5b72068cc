"""The store in MongoDB: one document per invitation, every save one compare-and-swap in a group commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog
from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from convive_contracts.events import CabinetState, DossierState, Policies
from convive_kit import tracing
from convive_kit.group_commit import GroupCommit, GroupRead
from convive_kit.mongo import Database, Document, database_call
from convive_kit.outbox import OUTBOX_INDEX, OutboxEntry
from convive_kit.parked import INDEXES as PARKED_INDEXES
from convive_kit.runs import RUN_INDEXES
from invitation.lifecycle.invitation import Change, Invitation, Invitee, Step
from invitation.store.audit import AUDIT, AUDIT_INDEXES
from invitation.store.bookmarks import BOOKMARK_INDEXES, BOOKMARKS
from invitation.store.bulk import BULK
from invitation.store.documents import (
    COLUMNS,
    DISARMED_AND_REMOVED,
    FLAT,
    WITHOUT_HISTORY,
    entries,
    from_document,
    key_of,
    steps_of,
    to_document,
    to_update,
)
from invitation.store.personal_data import ERASURES, PERSONAL_INDEXES
from invitation.store.processes import PROCESS_INDEXES, PROCESSES
from invitation.store.protocol import Filter, Names, Page, Row, policies_in
from invitation.store.replays import REPLAY_INDEXES, REPLAYS
from invitation.store.sends import SEND_INDEXES
from invitation.store.sign_outs import SIGN_OUT_INDEXES, SIGN_OUTS
from invitation.store.tokens import TOKEN_INDEXES, TOKENS
from invitation.store.walk import LIST_INDEXES, Key, Walk

INVITATIONS = "invitations"
PARKED = "parked"
NAMES = "names"
NAMES_LAST = 1.0
"""Seconds for which a name read is used again: so long may a renamed firm still be called by its old name."""
_MOST_NAMES = 10_000
_COUNTING_LASTS = 20.0

Announce = Callable[[str, Sequence[OutboxEntry]], None]
Saved = Callable[[Change], None]


INDEXES = (
    IndexModel(["channel", "due_at"], name="due", partialFilterExpression={"due_at": {"$exists": True}}),
    OUTBOX_INDEX,
    IndexModel(
        ["channel", "due_once_armed"],
        name="due_once_armed",
        partialFilterExpression={"due_once_armed": {"$exists": True}},
    ),
    IndexModel("removal.time", name="disarmed_and_removed", partialFilterExpression=DISARMED_AND_REMOVED),
    *LIST_INDEXES,
    *PERSONAL_INDEXES,
    *SEND_INDEXES,
)
LOOKED_AT = 1500
"""Invitations looked at in one go for those that fit the rest of a filter."""
ROWS = 1000
"""Rows of a table read at a time."""
_NO_VALUES = dict.fromkeys(COLUMNS)
PATIENCE = 0.02
"""Seconds after which a list shows what it has found so far."""


_INDEXES_BY_COLLECTION: Mapping[str, Sequence[IndexModel]] = {
    INVITATIONS: INDEXES,
    REPLAYS: REPLAY_INDEXES,
    BULK: RUN_INDEXES,
    ERASURES: RUN_INDEXES,
    TOKENS: TOKEN_INDEXES,
    AUDIT: AUDIT_INDEXES,
    BOOKMARKS: BOOKMARK_INDEXES,
    SIGN_OUTS: SIGN_OUT_INDEXES,
    PROCESSES: PROCESS_INDEXES,
}


async def create_indexes(database: Database) -> None:
    """Make the indexes that are missing; safe to repeat, and from several processes at once."""
    async with database_call(60):
        await asyncio.gather(
            *(database[name].create_indexes(list(indexes)) for name, indexes in _INDEXES_BY_COLLECTION.items())
        )


async def missing_indexes(database: Database) -> list[str]:
    """Those that `create_indexes` makes, or the parked messages have, and that are not there as they should be."""
    missing: list[str] = []
    async with database_call():
        for collection, indexes in {**_INDEXES_BY_COLLECTION, PARKED: PARKED_INDEXES}.items():
            there: Mapping[str, Any] = await database[collection].index_information()
            for index in indexes:
                name, keys = index.document["name"], list(index.document["key"].items())
                if list(there.get(name, {}).get("key", ())) != keys:
                    missing.append(f"{collection}.{name}")
    return missing


async def write_of_a_majority(database: Database, now: datetime) -> None:
    """Return once a write was kept by a majority; raises `DatabaseAway`."""
    async with database_call(5.0):
        await database["checks"].update_one({"_id": "write"}, {"$set": {"at": now}}, upsert=True)


class MongoStore:
    """See `Store`. `announce` is handed the outbox entries of each save once it is committed; without it nothing is
    announced at all, for rebuilding what was announced long ago."""

    def __init__(
        self, database: Database, commit: GroupCommit, announce: Announce | None, *, saved: Saved | None = None
    ) -> None:
        """`announce` is given what each committed change has to tell, `saved` the change."""
        self._invitations = database[INVITATIONS]
        self._commit = commit
        self._names = database[NAMES]
        self._reads = GroupRead(self._invitations, projection=WITHOUT_HISTORY)
        self._name_reads = GroupRead(self._names)
        self._known_names: dict[str, tuple[float, asyncio.Future[Document | None]]] = {}
        self._announce = announce
        self._saved = saved

    async def load(self, id: str) -> Invitation | None:
        document = await self._reads.load(id)
        return None if document is None else from_document(document)

    async def save(self, change: Change) -> None:
        outbox: list[OutboxEntry] = []
        trace = tracing.carrier()
        if trace and (change.before is None or change.after.send_sequence != change.before.send_sequence):
            change.after.traceparent = trace["traceparent"]
        if self._announce is not None:
            context: Mapping[str, Any] = structlog.contextvars.get_contextvars()
            outbox = entries(change, context.get("correlation_id") or change.after.correlation_id, trace)
        if change.before is None:
            await self._commit.insert(to_document(change, outbox))
        else:
            await self._commit.save(change.after.id, change.seen, to_update(change, outbox))
        if self._announce is not None:
            self._announce(change.after.id, outbox)
        if self._saved is not None:
            self._saved(change)

    async def history(self, id: str) -> Sequence[Step]:
        async with database_call():
            document = await self._invitations.find_one({"_id": id}, {"history": 1})
        return [] if document is None else steps_of(document)

    async def due(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        return await self._due("due_at", now, limit, channels)

    async def due_once_armed(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        return await self._due("due_once_armed", now, limit, channels)

    async def _due(self, moment: str, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        due = {"channel": {"$in": list(channels)}, moment: {"$lte": now}}
        found = self._invitations.find(due, WITHOUT_HISTORY).sort(moment, ASCENDING).limit(limit)
        async with database_call():
            return [from_document(document) async for document in found]

    async def learn_cabinet(self, state: CabinetState, order: int) -> bool:
        return await self._learn(f"cabinet:{state.id}", order, state.model_dump(exclude={"id"}))

    async def learn_dossier(self, state: DossierState, order: int) -> bool:
        return await self._learn(f"dossier:{state.id}", order, {"name": state.name})

    async def _learn(self, id: str, order: int, fields: Document) -> bool:
        # An upsert that finds something newer misses and runs into its `_id`: then there is nothing to learn. Once, it
        # may be something older that was inserted in the same moment.
        for _ in range(2):
            with suppress(DuplicateKeyError):
                async with database_call():
                    await self._names.update_one(
                        {"_id": id, "order": {"$lt": order}}, {"$set": {**fields, "order": order}}, upsert=True
                    )
                self._known_names.pop(id, None)
                return True
        return False

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
        return Names.known(invitee, cabinet, dossier)

    async def policies(self, cabinet_id: str) -> Policies:
        return policies_in(await _answer(self._ask_name(f"cabinet:{cabinet_id}")))

    async def find(
        self, which: Filter, *, limit: int, after: tuple[datetime, str] | None = None, newest_first: bool = True
    ) -> Page:
        walk = Walk.through(which, newest_first=newest_first)
        began, items = time.monotonic(), list[Invitation]()
        while True:
            # With nothing else to hold, each one that the index leads to is shown, and no edge is needed.
            edge = await self._edge(walk, after, LOOKED_AT) if walk.rest else None
            wanted = {**walk.between(after, edge), **walk.rest}
            found = self._invitations.find(wanted, WITHOUT_HISTORY, hint=walk.index).sort(walk.order)
            async with database_call():
                items += [from_document(document) async for document in found.limit(limit + 1 - len(items))]
            if len(items) > limit:
                items = items[:limit]
                return Page(items, key_of(items[-1]))
            if edge is None or time.monotonic() - began > PATIENCE:
                return Page(items, edge)
            after = edge

    async def rows(self, which: Filter) -> AsyncGenerator[Sequence[Row]]:
        walk = Walk.through(which, newest_first=True)
        reading = asyncio.create_task(self._piece(walk, None))
        try:
            while True:
                rows, edge = await reading
                if edge is not None:
                    # The next is read while this one is carried out; more is never held.
                    reading = asyncio.create_task(self._piece(walk, edge))
                    await asyncio.sleep(0)  # it has to be on its way before whoever takes this one is busy with it
                if rows:
                    yield rows
                if edge is None:
                    return
        finally:
            reading.cancel()

    async def _piece(self, walk: Walk, after: Key | None) -> tuple[Sequence[Row], Key | None]:
        """Rows behind `after`, and where to go on. By key, not by a cursor that would have to live as long as the
        reader takes."""
        edge = await self._edge(walk, after, ROWS) if walk.rest else None
        wanted = {**walk.between(after, edge), **walk.rest}
        found = self._invitations.find(wanted, FLAT, hint=walk.index).sort(walk.order)
        # In one answer: what comes in several would wait for whoever is busy with the rows before.
        found = found.limit(0 if walk.rest else ROWS).batch_size(ROWS)
        async with database_call():
            rows = [{**_NO_VALUES, **row} for row in await found.to_list(None)]
        if not walk.rest and len(rows) == ROWS:
            edge = (datetime.fromisoformat(str(rows[-1]["created_at"])), str(rows[-1]["id"]))
        return rows, edge

    async def _edge(self, walk: Walk, after: Key | None, looked_at: int) -> Key | None:
        """The last one to look at in one go, or None when all that is left can be."""
        key = {"created_at": 1, "_id": 1}
        found = self._invitations.find(walk.between(after, None), key, hint=walk.index).sort(walk.order)
        async with database_call():
            edge = [(document["created_at"], document["_id"]) async for document in found.skip(looked_at - 1).limit(1)]
        return edge[0] if edge else None

    async def disarmed(self) -> int:
        async with database_call(_COUNTING_LASTS):
            return await self._invitations.count_documents({"due_once_armed": {"$exists": True}}, hint="due_once_armed")

    async def disarmed_and_removed(self, limit: int) -> Sequence[Invitation]:
        found = self._invitations.find(DISARMED_AND_REMOVED, WITHOUT_HISTORY).hint("disarmed_and_removed").limit(limit)
        async with database_call():
            return [from_document(document) async for document in found]

    async def is_empty(self) -> bool:
        async with database_call():
            return await self._invitations.find_one({}, {"_id": 1}, hint="_id_") is None


async def _answer(asked: asyncio.Future[Document | None]) -> Document | None:
    # Shielded, for others may share it.
    return asked.result() if asked.done() else await asyncio.shield(asked)
