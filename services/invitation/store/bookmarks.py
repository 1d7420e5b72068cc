"""Saved views: a list that an operator comes back to, by a name of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pymongo import ASCENDING, IndexModel

from convive_kit.mongo import Database, database_call

BOOKMARKS = "console_views"
BOOKMARK_INDEXES = (IndexModel([("actor", ASCENDING), ("name", ASCENDING)], name="of_actor", unique=True),)
MOST = 50
"""Views of one operator."""


@dataclass(frozen=True, slots=True)
class Bookmark:
    """`query` is the part of an address behind the question mark; it holds no name and no address of a person."""

    name: str
    query: str


class Bookmarks:
    """Where saved views are kept. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, database: Database) -> None:
        self._views = database[BOOKMARKS]

    async def of(self, actor: str) -> Sequence[Bookmark]:
        """An operator's views, by name."""
        found = self._views.find({"actor": actor}).sort("name", ASCENDING).limit(MOST)
        async with database_call():
            return [Bookmark(document["name"], document["query"]) async for document in found]

    async def save(self, actor: str, bookmark: Bookmark) -> bool:
        """Keep a view, in place of one of the same name; False when there are too many."""
        async with database_call():
            if await self._views.count_documents({"actor": actor, "name": {"$ne": bookmark.name}}, limit=MOST) >= MOST:
                return False
            await self._views.update_one(
                {"actor": actor, "name": bookmark.name}, {"$set": {"query": bookmark.query}}, upsert=True
            )
        return True

    async def remove(self, actor: str, name: str) -> None:
        """Forget a view."""
        async with database_call():
            await self._views.delete_one({"actor": actor, "name": name})
