"""Which processes of this service there are and what each is at, as each says of itself every few seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from pymongo import IndexModel

from convive_kit.mongo import Database, database_call

PROCESSES = "processes"
PROCESS_INDEXES = (IndexModel("seen_at", name="seen_at", expireAfterSeconds=3600),)
GONE_AFTER = timedelta(seconds=20)
_MOST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSeen:
    """`providers`: by channel, whether this process finds that its provider takes messages."""

    id: str
    parts: Sequence[str]
    version: str
    started_at: datetime
    seen_at: datetime
    slots: int
    busy: int
    waiting: int
    providers: Mapping[str, bool]


class Processes:
    """Where they say so. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, database: Database) -> None:
        self._processes = database[PROCESSES]

    async def say(self, process: ProcessSeen) -> None:
        """Keep what a process says of itself."""
        fields = asdict(process)
        id = fields.pop("id")
        async with database_call():
            await self._processes.update_one({"_id": id}, {"$set": fields}, upsert=True)

    async def leave(self, id: str) -> None:
        """A process ends in good order: a word that may be missed, for which nobody waits long."""
        async with database_call(1.0):
            await self._processes.delete_one({"_id": id})

    async def there(self, now: datetime) -> Sequence[ProcessSeen]:
        """Those that have been heard of lately, the longest running first."""
        found = self._processes.find({"seen_at": {"$gt": now - GONE_AFTER}}).limit(_MOST)
        async with database_call():
            seen = [ProcessSeen(id=document.pop("_id"), **document) async for document in found]
        return sorted(seen, key=lambda process: process.started_at)
