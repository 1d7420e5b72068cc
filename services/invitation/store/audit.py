"""The audit: who did what, when and why, and what it was before and after. Nothing of it is changed afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from pymongo import ASCENDING, DESCENDING, IndexModel

from convive_kit.mongo import Database, Document, database_call

AUDIT = "audit"


def _latest(*fields: str) -> IndexModel:
    keys = [*((name, ASCENDING) for name in fields), ("at", DESCENDING), ("_id", DESCENDING)]
    return IndexModel(keys, name="_".join(("latest", *fields)))


AUDIT_INDEXES = (_latest(), _latest("target"), _latest("actor"), _latest("action"))


@dataclass(slots=True, kw_only=True)
class AuditRecord:
    """One action. `outcome`: `begun` until it is known, then `done`, `refused` (with the slug in `error`) or `failed`;
    one that stays `begun` was cut off, and may have been carried out. No personal data is kept in it."""

    id: str = field(default_factory=lambda: str(uuid4()))
    at: datetime
    actor: str
    action: str
    target: str
    reason: str | None = None
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    outcome: str = "begun"
    error: str | None = None
    request_id: str | None = None


_FIELDS = tuple(name for name in AuditRecord.__dataclass_fields__ if name != "id")


class Audit:
    """Where the audit is kept. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, database: Database) -> None:
        self._records = database[AUDIT]

    async def begin(self, record: AuditRecord) -> None:
        """Write down what is about to be done: without that it is not done."""
        async with database_call():
            await self._records.insert_one({"_id": record.id, **{name: getattr(record, name) for name in _FIELDS}})

    async def end(self, record: AuditRecord) -> None:
        """Write down how it ended."""
        ended: Document = {name: getattr(record, name) for name in ("before", "after", "outcome", "error")}
        async with database_call():
            await self._records.update_one({"_id": record.id, "outcome": "begun"}, {"$set": ended})

    async def latest(
        self,
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
        targets: Sequence[str] = (),
        actors: Sequence[str] = (),
        actions: Sequence[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[AuditRecord]:
        """Records, newest first. Values of one field mean OR, fields mean AND."""
        query: Document = {
            name: {"$in": list(values)}
            for name, values in (("target", targets), ("actor", actors), ("action", actions))
            if values
        }
        bounds: list[Document] = []
        if since is not None:
            bounds.append({"at": {"$gte": since}})
        if until is not None:
            bounds.append({"at": {"$lt": until}})
        if after is not None:
            moment, id = after
            bounds += [{"at": {"$lte": moment}}, {"$or": [{"at": {"$lt": moment}}, {"_id": {"$lt": id}}]}]
        if bounds:
            query["$and"] = bounds
        found = self._records.find(query).sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        async with database_call():
            return [
                AuditRecord(id=document["_id"], **{name: document[name] for name in _FIELDS})
                async for document in found
            ]

    async def of(self, targets: Sequence[str]) -> Sequence[Document]:
        """Every record about these, as it is kept."""
        found = self._records.find({"target": {"$in": list(targets)}}).sort([("at", ASCENDING), ("_id", ASCENDING)])
        async with database_call():
            return [document async for document in found]

    async def drop_reasons(self, targets: Sequence[str]) -> None:
        """Take the words out of the records about these; who did what, and when, stays."""
        async with database_call():
            await self._records.update_many({"target": {"$in": list(targets)}}, {"$set": {"reason": None}})

    async def drop(self, before: datetime) -> None:
        """Delete what is older than may be kept."""
        async with database_call(60):
            await self._records.delete_many({"at": {"$lt": before}})
