"""Long jobs as documents: what set was frozen, how far each has come, and who is at it.

A run is claimed by a lease, so that a crash of whoever carries it out leaves it to another; its position is saved with
its counts, and what was done after the last save is done again, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Literal, TypeVar

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument

from convive_kit.mongo import Collection, Document, database_call

Status = Literal["running", "paused", "done", "aborted", "failed"]

LEASE = timedelta(seconds=30)
RUN_INDEXES = (
    IndexModel([("status", ASCENDING), ("lease_until", ASCENDING)], name="claim"),
    IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)], name="list"),
)
_COUNTS = ("matched", "done", "failed", "skipped", "sample", "error")


@dataclass(slots=True, kw_only=True)
class Run:
    """One long job. `skipped` counts by why; `sample` shows a few of what a dry run found."""

    id: str
    actor: str
    created_at: datetime
    filter: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dry_run: bool = False
    rate: float | None = None
    reason: str = ""
    status: Status = "running"
    matched: int = 0
    done: int = 0
    failed: int = 0
    skipped: dict[str, int] = field(default_factory=dict[str, int])
    sample: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    error: str | None = None
    finished_at: datetime | None = None

    def count(self, outcomes: Sequence[str]) -> None:
        """Count what came of each: `done`, `failed`, or else why it was skipped."""
        for outcome in outcomes:
            if outcome == "done":
                self.done += 1
            elif outcome == "failed":
                self.failed += 1
            else:
                self.skipped[outcome] = self.skipped.get(outcome, 0) + 1


R = TypeVar("R", bound=Run)


class Runs(Generic[R]):
    """Where the runs of one kind are kept. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, collection: Collection, kind: type[R], *, moves: Sequence[str]) -> None:
        """`moves`: the fields of `kind`, beside the counts, that change as it is carried out."""
        self._runs = collection
        self._kind = kind
        self._fields = tuple(kind.__dataclass_fields__)
        self._moves = (*_COUNTS, *moves)

    async def begin(self, run: R) -> None:
        """Keep a new run; whoever claims it next carries it out."""
        document = {name: getattr(run, name) for name in self._fields if name != "id"}
        async with database_call():
            await self._runs.insert_one({"_id": run.id, **document})

    async def load(self, id: str) -> R | None:
        """One run, or None."""
        async with database_call():
            document = await self._runs.find_one({"_id": id})
        return None if document is None else self._run(document)

    async def list(self, *, limit: int, after: tuple[datetime, str] | None = None) -> Sequence[R]:
        """Runs, newest first."""
        query: Document = {}
        if after is not None:
            moment, id = after
            query = {"$or": [{"created_at": {"$lt": moment}}, {"created_at": moment, "_id": {"$lt": id}}]}
        found = self._runs.find(query).sort([("created_at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        async with database_call():
            return [self._run(document) async for document in found]

    async def under_way(self) -> Sequence[R]:
        """Those that have not ended; a hundred at most."""
        found = self._runs.find({"status": {"$in": ["running", "paused"]}}).hint("claim").limit(100)
        async with database_call():
            return [self._run(document) async for document in found]

    async def claim(self, owner: str, now: datetime, *, dry_run: bool | None = None) -> R | None:
        """Take a run that nobody is at, of those that are dry runs or that are not if it matters; None when there is
        none."""
        nobodys = [{"lease_until": {"$exists": False}}, {"lease_until": {"$lt": now}}]
        free: Document = {"status": "running", "$or": nobodys}
        if dry_run is not None:
            free["dry_run"] = dry_run
        lease = {"$set": {"owner": owner, "lease_until": now + LEASE}}
        async with database_call():
            document = await self._runs.find_one_and_update(
                free, lease, sort=[("lease_until", ASCENDING)], return_document=ReturnDocument.AFTER
            )
        return None if document is None else self._run(document)

    async def record(self, run: R, owner: str, now: datetime) -> bool:
        """Save how far it has come and keep the lease. False when it is to be left alone: paused, aborted or taken
        over. What was done until then counts all the same."""
        moved: Document = {name: getattr(run, name) for name in self._moves}
        async with database_call():
            document = await self._runs.find_one_and_update(
                {"_id": run.id, "owner": owner},
                {"$set": {**moved, "lease_until": now + LEASE}},
                return_document=ReturnDocument.AFTER,
            )
        return document is not None and document["status"] == "running"

    async def end(self, run: R, owner: str, now: datetime) -> None:
        """Save that it has ended, as its `status` says, unless it was ended otherwise meanwhile."""
        ended: Document = {name: getattr(run, name) for name in ("status", *self._moves)}
        async with database_call():
            await self._runs.update_one(
                {"_id": run.id, "owner": owner, "status": "running"}, {"$set": {**ended, "finished_at": now}}
            )

    async def give_back(self, run: R, owner: str) -> None:
        """Leave it to whoever claims it next."""
        async with database_call():
            await self._runs.update_one({"_id": run.id, "owner": owner}, {"$unset": {"lease_until": ""}})

    async def abort(self, id: str, now: datetime) -> R | None:
        """Have it stop after what it is at, for good; what is done stays done. None when there is no such run."""
        return await self._set(id, ("running", "paused"), {"status": "aborted", "finished_at": now})

    async def pause(self, id: str) -> R | None:
        """Have it stop after what it is at until it is resumed. None when there is no such run."""
        return await self._set(id, ("running",), {"status": "paused"})

    async def resume(self, id: str) -> R | None:
        """Have a paused one go on where it was. None when there is no such run."""
        return await self._set(id, ("paused",), {"status": "running"})

    async def _set(self, id: str, where: Sequence[Status], fields: Document) -> R | None:
        async with database_call():
            await self._runs.update_one({"_id": id, "status": {"$in": list(where)}}, {"$set": fields})
        return await self.load(id)

    def _run(self, document: Mapping[str, Any]) -> R:
        fields = {name: document[name] for name in self._fields if name in document}
        return self._kind(id=document["_id"], **fields)
