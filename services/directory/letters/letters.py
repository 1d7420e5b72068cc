"""Letters that wait to be handed in, in a collection of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from convive_kit.mongo import Database, database_call
from directory.i18n import Language

LETTERS = "letters"
INDEXES = [
    IndexModel("due_at", name="due", partialFilterExpression={"due_at": {"$exists": True}}),
    IndexModel("to", name="to", partialFilterExpression={"to": {"$exists": True}}),
    IndexModel("done_at", name="done", expireAfterSeconds=int(timedelta(days=7).total_seconds())),
]
LEASE = timedelta(seconds=60)
"""How long whoever claimed a letter has it to themselves; an attempt may take a third of it."""


class Letter(BaseModel):
    """`to` is an e-mail address, or the key of one; `data` is what the kind's writer needs, and never a link."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    kind: str
    to: str
    language: Language
    data: dict[str, Any] = {}
    attempts: int
    created_at: datetime


class Letters:
    """A letter is kept until it is handed in, then its id alone for a week: so long the same is not written twice.

    `due_at` is both when it is to be sent and, once it is claimed, when the claim ends.
    """

    def __init__(self, database: Database, now: Callable[[], datetime], *, lease: timedelta = LEASE) -> None:
        self._letters = database[LETTERS]
        self._now = now
        self._lease = lease
        self.written: Callable[[], None] = lambda: None
        """Called when there is something to send."""

    async def prepare(self) -> None:
        """Make the indexes; safe to repeat."""
        async with database_call():
            await self._letters.create_indexes(INDEXES)

    async def write(
        self,
        kind: str,
        to: str,
        *,
        language: Language,
        id: str | None = None,
        data: Mapping[str, Any] | None = None,
        after: timedelta = timedelta(0),
    ) -> None:
        """Have a letter sent, not before `after`. With an `id` (letters, digits, dots, hyphens, and nothing personal:
        it becomes the Message-ID) it may be repeated, and is sent once. Raises `DatabaseAway`."""
        now = self._now()
        letter = {
            "_id": id or str(uuid4()),
            "kind": kind,
            "to": to,
            "language": language,
            "data": dict(data or {}),
            "attempts": 0,
            "due_at": now + after,
            "created_at": now,
        }
        try:
            async with database_call():
                await self._letters.insert_one(letter)
        except DuplicateKeyError:
            return
        self.written()

    async def claim(self) -> Letter | None:
        """The letter that has been due for longest, for as long as the lease; None when nothing is due."""
        now = self._now()
        async with database_call():
            found = await self._letters.find_one_and_update(
                {"due_at": {"$lte": now}},
                {"$set": {"due_at": now + self._lease}, "$inc": {"attempts": 1}},
                sort=[("due_at", 1)],
                return_document=True,
            )
        return Letter.model_validate({**found, "id": found["_id"]}) if found else None

    async def postpone(self, letter: Letter, wait: timedelta) -> None:
        """Try again later, unless somebody else has taken it since."""
        async with database_call():
            await self._letters.update_one(
                {"_id": letter.id, "attempts": letter.attempts, "due_at": {"$exists": True}},
                {"$set": {"due_at": self._now() + wait}},
            )

    async def end(self, letter: Letter) -> None:
        """It is sent, or never will be: nothing of it is kept but its id."""
        await self._blank({"_id": letter.id})

    async def forget(self, to: str) -> None:
        """Send nothing more to that address."""
        await self._blank({"to": to})

    async def _blank(self, which: dict[str, str]) -> None:
        gone = dict.fromkeys(("to", "data", "due_at", "language"), "")
        async with database_call():
            await self._letters.update_many(which, {"$set": {"done_at": self._now()}, "$unset": gone})
