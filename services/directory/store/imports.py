"""Imports in MongoDB: what was uploaded, the rows with their verdicts, and how far each has come.

The rows stand apart, a few hundred to a document: one write records what came of all of them.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from pymongo import ASCENDING, DESCENDING, IndexModel

from convive_kit.mongo import Database, Document, database_call
from convive_kit.runs import RUN_INDEXES, Run, Runs

IMPORTS = "imports"
ROWS = "import_rows"
KEPT_FOR = timedelta(days=30)
"""From the upload on: then the rows, which are somebody's names and addresses, are let go of."""

_EXPIRY = IndexModel([("expires_at", ASCENDING)], name="expiry", expireAfterSeconds=0)
_INDEXES: Mapping[str, Sequence[IndexModel]] = {
    IMPORTS: [
        *RUN_INDEXES,
        _EXPIRY,
        IndexModel([("cabinet_id", 1), ("created_at", -1), ("_id", -1)], name="of_cabinet"),
    ],
    ROWS: [_EXPIRY, IndexModel([("rows.email_key", 1)], name="email")],
}


@dataclass(slots=True, kw_only=True)
class Import(Run):
    """One table, paused until somebody has seen the preview and starts it. `matched` counts the rows to add, `done`
    those added, `failed` those refused when it came to it, and `skipped` those of people who were there by then.
    `position` is the part that comes next.

    `opens` counts the client files that would be opened, and `opened` names a few of them. `unsaid` counts the rows to
    add that do not say how to invite, `phoneless` those of them without a phone number.
    """

    cabinet_id: str
    dossier_id: str | None
    file: str
    digest: str
    encoding: str
    separator: str
    headings: Sequence[str]
    ignored: Sequence[str]
    invited_by: str | None
    expires_at: datetime
    rows: int = 0
    verdicts: dict[str, int] = field(default_factory=dict[str, int])
    opens: int = 0
    opened: Sequence[str] = ()
    unsaid: int = 0
    phoneless: int = 0
    invite_by: str = "email"
    started_at: datetime | None = None
    position: int = 0


@dataclass(frozen=True, slots=True)
class RowsPage:
    """A page of rows, and where to go on, or None at the end."""

    rows: Sequence[Document]
    after: tuple[int, int] | None


class Imports(Runs[Import]):
    """Where imports are kept. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, database: Database) -> None:
        super().__init__(database[IMPORTS], Import, moves=("position",))
        self._imports = database[IMPORTS]
        self._rows = database[ROWS]

    async def prepare(self) -> None:
        """Make the indexes; safe to repeat."""
        async with database_call():
            await self._imports.create_indexes(list(_INDEXES[IMPORTS]))
            await self._rows.create_indexes(list(_INDEXES[ROWS]))

    async def of_cabinet(
        self, cabinet_id: str, dossier_id: str | None, *, limit: int, after: tuple[datetime, str] | None = None
    ) -> Sequence[Import]:
        """A cabinet's imports, or those into one dossier, newest first."""
        query: Document = {"cabinet_id": cabinet_id}
        if dossier_id is not None:
            query["dossier_id"] = dossier_id
        if after is not None:
            moment, id = after
            query["$or"] = [{"created_at": {"$lt": moment}}, {"created_at": moment, "_id": {"$lt": id}}]
        found = self._imports.find(query).sort([("created_at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        async with database_call():
            return [self._run(document) async for document in found]

    async def start(self, id: str, invite_by: str, now: datetime) -> Import | None:
        """Have it carried out, once; `invite_by` is for the rows that do not say. None when there is no such import."""
        return await self._set(id, ("paused",), {"status": "running", "invite_by": invite_by, "started_at": now})

    async def add_part(self, of: Import, number: int, rows: Sequence[Document]) -> None:
        """Keep a part of the rows; parts count from 0 without a gap."""
        part = {
            "_id": _part_id(of.id, number),
            "cabinet_id": of.cabinet_id,
            "expires_at": of.expires_at,
            "rows": rows,
        }
        async with database_call():
            await self._rows.insert_one(part)

    async def part(self, id: str, number: int) -> Sequence[Document] | None:
        """The rows of a part; None behind the last."""
        async with database_call():
            document = await self._rows.find_one({"_id": _part_id(id, number)})
        return None if document is None else cast("list[Document]", document["rows"])

    async def record_part(self, id: str, number: int, results: Mapping[int, tuple[str, Sequence[Any]]]) -> None:
        """Record what came of rows of a part: by their place in it, the result and the faults."""
        set_: Document = {}
        for place, (result, faults) in results.items():
            set_ |= {f"rows.{place}.result": result, f"rows.{place}.faults": list(faults)}
        async with database_call():
            await self._rows.update_one({"_id": _part_id(id, number)}, {"$set": set_})

    async def parts(self, id: str, *, first: int = 0) -> AsyncGenerator[tuple[int, Sequence[Document]]]:
        """Every part from `first` on, with its number. By id, not by a cursor that would have to live as long as
        whoever reads takes."""
        while (rows := await self.part(id, first)) is not None:
            yield first, rows
            first += 1

    async def rows(
        self, id: str, verdicts: Sequence[str] = (), *, start: tuple[int, int] = (0, 0), limit: int
    ) -> RowsPage:
        """Rows with one of these verdicts (none given: every row) from a place on: a part, and a row in it."""
        # A slash comes between an id and the number of a part: the next character ends them.
        query: Document = {"_id": {"$gte": _part_id(id, start[0]), "$lt": f"{id}0"}}
        if verdicts:
            query["rows.verdict"] = {"$in": list(verdicts)}
        found: list[Document] = []
        parts = self._rows.find(query, {"rows": 1}).sort("_id", ASCENDING).batch_size(2)
        async with database_call():
            async for part in parts:
                number = int(part["_id"].rpartition("/")[2])
                for place, row in enumerate(part["rows"]):
                    if (number, place) < start or (verdicts and row["verdict"] not in verdicts):
                        continue
                    if len(found) == limit:
                        return RowsPage(found, (number, place))
                    found.append(row)
        return RowsPage(found, None)

    async def forget(self, cabinet_id: str, email_key: str) -> None:
        """Blank the rows of a person in every import of a cabinet."""
        blank: Document = {
            "rows.$[theirs].cells": [],
            "rows.$[theirs].fields": {},
            "rows.$[theirs].email_key": None,
            "rows.$[theirs].faults": [],
            "rows.$[theirs].hints": [],
        }
        async with database_call():
            await self._rows.update_many(
                {"cabinet_id": cabinet_id, "rows.email_key": email_key},
                {"$set": blank},
                array_filters=[{"theirs.email_key": email_key}],
            )

    async def rows_of(self, email_key: str) -> Sequence[Document]:
        """The rows of a person in whatever imports."""
        found = self._rows.find({"rows.email_key": email_key}).limit(100)
        async with database_call():
            return [row async for part in found for row in part["rows"] if row["email_key"] == email_key]


def _part_id(id: str, number: int) -> str:
    return f"{id}/{number:05d}"
