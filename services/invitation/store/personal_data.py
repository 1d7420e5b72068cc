"""What is kept of a person, wherever it is kept: found, carried out, erased."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pymongo import ASCENDING, IndexModel

from convive_kit.mongo import Collection, Database, Document, database_call
from convive_kit.runs import Run, Runs

ERASURES = "erasures"

PERSONAL_INDEXES = (
    # Said of somebody who was never announced: in no list, and a person's data all the same.
    IndexModel("held", name="held", partialFilterExpression={"held": True}),
    IndexModel("updated_at", name="ended", partialFilterExpression={"ended": True}),
)
_OURS = {"outbox": 0, "writes": 0, "phrases": 0, "beginnings": 0}


@dataclass(slots=True, kw_only=True)
class Erasure(Run):
    """The erasure of one person. `email` is kept until it is over; `position` counts the invitations done with."""

    invitations: list[str] = field(default_factory=list[str])
    email: str | None = None
    member_id: str | None = None
    parked: int = 0
    position: int = 0


class Erasures(Runs[Erasure]):
    """Where erasures are kept: what was erased, never whose it was."""

    def __init__(self, database: Database) -> None:
        super().__init__(database[ERASURES], Erasure, moves=("position", "parked", "email"))


class People:
    """The invitations of a person. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, invitations: Collection) -> None:
        self._invitations = invitations

    async def invitations_of(self, *, email_key: str | None, member_id: str | None) -> Sequence[str]:
        """Ids of every invitation of that address, or of that member, in the order of their ids."""
        who: Document = {"member.email_key": email_key} if email_key is not None else {"member.id": member_id}
        index = "listed_member_email_key" if email_key is not None else "listed_member_id"
        announced = self._invitations.find({"announced": True, **who}, {"_id": 1}, hint=index)
        held = self._invitations.find({"held": True, **who}, {"_id": 1}, hint="held")
        async with database_call():
            found = {document["_id"] async for document in announced}
            found |= {document["_id"] async for document in held}
        return sorted(found)

    async def documents(self, ids: Sequence[str]) -> Sequence[Document]:
        """All that is kept of these, as it is kept."""
        async with database_call():
            return [document async for document in self._invitations.find({"_id": {"$in": list(ids)}}, _OURS)]

    async def drop_details(self, id: str) -> None:
        """Take out of a history what was said in words: reasons, replies, who asked. The steps stay."""
        async with database_call():
            await self._invitations.update_one({"_id": id}, {"$unset": {"history.$[].detail": ""}})

    async def ended(self, before: datetime, limit: int) -> Sequence[str]:
        """Ids of those that came to an end before that time and still say whose they were."""
        over = self._invitations.find({"ended": True, "updated_at": {"$lt": before}}, {"_id": 1}, hint="ended")
        async with database_call():
            return [document["_id"] async for document in over.sort("updated_at", ASCENDING).limit(limit)]
