"""Replays as documents: what set was frozen, how far it has come, and who is at it.

A replay is claimed by a lease, so that a crash of the replayer leaves it to another; its position is saved with its
counts, and what was handled after the last save is handled again, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument

from convive_kit.mongo import Database, Document, database_call

Origin = Literal["log", "parked"]
Status = Literal["running", "done", "aborted", "failed"]

REPLAYS = "replays"
LEASE = timedelta(seconds=30)
REPLAY_INDEXES = (
    IndexModel([("status", ASCENDING), ("lease_until", ASCENDING)], name="claim"),
    IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)], name="list"),
)


@dataclass(slots=True, kw_only=True)
class Replay:
    """One replay. `position` is the last offset of the log, or the last parked id, that is done with."""

    id: str
    origin: Origin
    filter: Mapping[str, Any]
    dry_run: bool
    rate: float | None
    reason: str
    actor: str
    created_at: datetime
    frozen_at: datetime
    # A rebuild folds the log into an empty database, with nothing coming due until all of it is in.
    rebuild: bool = False
    last_offset: int | None = None
    position: int | str | None = None
    pass_number: int = 1
    status: Status = "running"
    abort_asked: bool = False
    matched: int = 0
    done: int = 0
    failed: int = 0
    armed: int = 0
    skipped: dict[str, int] = field(default_factory=dict[str, int])
    sample: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    error: str | None = None
    finished_at: datetime | None = None


_FIELDS = tuple(Replay.__dataclass_fields__)
_PROGRESS = ("position", "pass_number", "status", "matched", "done", "failed", "armed", "skipped", "sample", "error")


class Replays:
    """Where replays are kept."""

    def __init__(self, database: Database) -> None:
        self._replays = database[REPLAYS]

    async def begin(self, replay: Replay) -> None:
        """Keep a new replay; whoever claims it next carries it out."""
        document = {name: getattr(replay, name) for name in _FIELDS if name != "id"}
        async with database_call():
            await self._replays.insert_one({"_id": replay.id, **document})

    async def load(self, id: str) -> Replay | None:
        """One replay, or None."""
        async with database_call():
            document = await self._replays.find_one({"_id": id})
        return None if document is None else _replay(document)

    async def list(self, *, limit: int, after: tuple[datetime, str] | None = None) -> Sequence[Replay]:
        """Replays, newest first."""
        query: Document = {}
        if after is not None:
            moment, id = after
            query = {"$or": [{"created_at": {"$lt": moment}}, {"created_at": moment, "_id": {"$lt": id}}]}
        found = self._replays.find(query).sort([("created_at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        async with database_call():
            return [_replay(document) async for document in found]

    async def claim(self, owner: str, now: datetime) -> Replay | None:
        """Take a replay that nobody is at; None when there is none."""
        free = {"status": "running", "$or": [{"lease_until": {"$exists": False}}, {"lease_until": {"$lt": now}}]}
        lease = {"$set": {"owner": owner, "lease_until": now + LEASE}}
        async with database_call():
            document = await self._replays.find_one_and_update(
                free, lease, sort=[("lease_until", ASCENDING)], return_document=ReturnDocument.AFTER
            )
        return None if document is None else _replay(document)

    async def record(self, replay: Replay, owner: str, now: datetime) -> bool:
        """Save how far it has come and keep the lease. False when it is to be left alone: aborted or taken over."""
        progress: Document = {name: getattr(replay, name) for name in _PROGRESS}
        if replay.status != "running":
            progress["finished_at"] = now
        mine = {"_id": replay.id, "owner": owner, "status": "running"}
        async with database_call():
            document = await self._replays.find_one_and_update(
                mine, {"$set": {**progress, "lease_until": now + LEASE}}, return_document=ReturnDocument.AFTER
            )
        return document is not None and not document["abort_asked"]

    async def give_back(self, replay: Replay, owner: str) -> None:
        """Leave it to whoever claims it next."""
        async with database_call():
            await self._replays.update_one({"_id": replay.id, "owner": owner}, {"$unset": {"lease_until": ""}})

    async def abort(self, id: str, now: datetime) -> Replay | None:
        """Have it stop after what it is at; what is done stays done. None when there is no such replay."""
        running = {"_id": id, "status": "running"}
        stop = {"$set": {"status": "aborted", "abort_asked": True, "finished_at": now}}
        async with database_call():
            await self._replays.update_one(running, stop)
        return await self.load(id)


def _replay(document: Mapping[str, Any]) -> Replay:
    fields = {name: document[name] for name in _FIELDS if name in document}
    return Replay(id=document["_id"], **fields)
