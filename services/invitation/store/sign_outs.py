"""Sessions of the console that were ended before their time."""

from __future__ import annotations

from datetime import datetime

from pymongo import IndexModel

from convive_kit.auth import secret_hash
from convive_kit.mongo import Database, database_call

SIGN_OUTS = "console_sign_outs"
SIGN_OUT_INDEXES = (IndexModel("until", name="until", expireAfterSeconds=0),)


class SignOuts:
    """Where it is kept which sessions are over. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, database: Database) -> None:
        self._ended = database[SIGN_OUTS]

    async def add(self, session: str, until: datetime) -> None:
        """The session ends; after `until` it would be over by itself. May be repeated."""
        async with database_call():
            await self._ended.update_one({"_id": secret_hash(session)}, {"$set": {"until": until}}, upsert=True)

    async def has(self, session: str) -> bool:
        """Whether somebody has signed out of it."""
        async with database_call():
            return await self._ended.find_one({"_id": secret_hash(session)}, {"_id": 1}) is not None
