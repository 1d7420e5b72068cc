"""The directory's parked messages, as operators read them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pymongo import IndexModel

from convive_kit.mongo import Collection, database_call


class ParkedMessages:
    """Written by the kit's parking; the collection is its own, so it is no part of the store's protocol."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection

    async def prepare(self) -> None:
        async with database_call():
            await self._collection.create_indexes([IndexModel([("last_seen", -1), ("_id", -1)], name="list")])

    async def latest(self, *, after: tuple[datetime, str] | None, limit: int) -> list[dict[str, Any]]:
        """Without their bodies, the one seen last first."""
        query: dict[str, Any] = {}
        if after:
            at, id = after
            query = {"last_seen": {"$lte": at}, "$or": [{"last_seen": {"$lt": at}}, {"_id": {"$lt": id}}]}
        cursor = self._collection.find(query, {"body": 0}).sort([("last_seen", -1), ("_id", -1)]).limit(limit)
        async with database_call():
            return [document async for document in cursor]

    async def one(self, id: str) -> dict[str, Any] | None:
        async with database_call():
            return await self._collection.find_one({"_id": id})
