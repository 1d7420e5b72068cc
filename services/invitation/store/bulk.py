"""Bulk operations: one action on each of a set of invitations, which is frozen when it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

from convive_kit.mongo import Database, Document, aggregate, database_call
from convive_kit.runs import Run, Runs
from invitation.store.protocol import Filter
from invitation.store.walk import Walk

BULK = "bulk"
BULK_ITEMS = "bulk_items"
MOST = 200_000
"""Invitations one operation may take: freezing them has to fit into a call."""
_FREEZING = 12.0

Action = Literal["resend", "revoke", "extend"]


@dataclass(slots=True, kw_only=True)
class Bulk(Run):
    """One operation. `position` is the last invitation that is done with."""

    action: Action
    channel: Literal["email", "sms"] | None = None
    until: datetime | None = None
    position: str | None = None


class Bulks(Runs[Bulk]):
    """Where bulk operations and their frozen sets are kept."""

    def __init__(self, database: Database, invitations: str) -> None:
        super().__init__(database[BULK], Bulk, moves=("position",))
        self._invitations = database[invitations]
        self._items = database[BULK_ITEMS]

    async def freeze(self, id: str, which: Filter) -> int | None:
        """Keep the ids of what fits now as the set of the run `id`; how many, or None for more than `MOST`."""
        walk = Walk.through(which, newest_first=True)
        wanted = {**walk.between(None, None), **walk.rest}
        async with database_call(_FREEZING):
            count = await self._invitations.count_documents(wanted, hint=walk.index, limit=MOST + 1)
            if count > MOST:
                return None
            pipeline: list[Document] = [
                {"$match": wanted},
                {"$project": {"_id": {"$concat": [f"{id}/", "$_id"]}}},
                {"$merge": {"into": BULK_ITEMS, "whenMatched": "keepExisting"}},
            ]
            await aggregate(self._invitations, pipeline, hint=walk.index)
            return await self._items.count_documents(_of(id))

    async def items(self, id: str, *, after: str | None, limit: int) -> Sequence[str]:
        """Ids of the set, in order, beginning behind `after`."""
        found = self._items.find(_of(id, after)).sort("_id", 1).limit(limit)
        async with database_call():
            return [document["_id"].partition("/")[2] async for document in found]

    async def with_items(self) -> Sequence[str]:
        """Ids of the runs whose sets are kept."""
        found: list[str] = []
        after = ""
        async with database_call(_FREEZING):
            while first := await self._items.find_one({"_id": {"$gt": after}}, sort=[("_id", 1)]):
                found.append(cast("str", first["_id"]).partition("/")[0])
                after = f"{found[-1]}0"
        return found

    async def forget(self, id: str) -> None:
        """The run is over: its set is not needed any more."""
        async with database_call(_FREEZING):
            await self._items.delete_many(_of(id))


def _of(id: str, after: str | None = None) -> Document:
    # "0" follows "/": everything that begins with the run's id and a slash.
    return {"_id": {"$gt": f"{id}/{after or ''}", "$lt": f"{id}0"}}
