"""Ops tokens: who may operate, and how far. Kept as hashes; a token is shown once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from pymongo import DESCENDING, IndexModel

from convive_kit.auth import new_secret, secret_hash
from convive_kit.mongo import Database, Document, database_call

Role = Literal["reader", "writer", "admin"]
ROLES: Sequence[Role] = ("reader", "writer", "admin")
"""Each may do what those before it may: look; act on invitations and messages; say who else may, and erase people."""

TOKENS = "ops_tokens"
TOKEN_INDEXES = (
    IndexModel("hash", name="hash", unique=True),
    IndexModel([("created_at", DESCENDING), ("_id", DESCENDING)], name="list"),
)
_PREFIX = "cvo_"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsToken:
    """One token, without its secret."""

    id: str
    name: str
    role: Role
    created_at: datetime
    created_by: str
    revoked_at: datetime | None = None
    revoked_by: str | None = None


_FIELDS = ("name", "role", "created_at", "created_by", "revoked_at", "revoked_by")


class OpsTokens:
    """Where ops tokens are kept. Every method raises `DatabaseAway` in an outage."""

    def __init__(self, database: Database) -> None:
        self._tokens = database[TOKENS]

    async def create(self, name: str, role: Role, by: str, now: datetime) -> tuple[str, OpsToken]:
        """A new token: its text, to be shown once, and what is kept of it."""
        text = _PREFIX + new_secret()
        token = OpsToken(id=str(uuid4()), name=name, role=role, created_at=now, created_by=by)
        kept: Document = {name: getattr(token, name) for name in _FIELDS}
        async with database_call():
            await self._tokens.insert_one({"_id": token.id, "hash": secret_hash(text), **kept})
        return text, token

    async def of(self, text: str) -> OpsToken | None:
        """The token with this text, unless it is revoked or there is none."""
        return await self._living({"hash": secret_hash(text)}) if text.startswith(_PREFIX) else None

    async def with_id(self, id: str) -> OpsToken | None:
        """The token with this id, unless it is revoked or there is none."""
        return await self._living({"_id": id})

    async def _living(self, which: Document) -> OpsToken | None:
        async with database_call():
            document = await self._tokens.find_one({**which, "revoked_at": None})
        return None if document is None else _token(document)

    async def list(self, *, limit: int, after: tuple[datetime, str] | None = None) -> Sequence[OpsToken]:
        """Tokens, newest first, the revoked ones too."""
        query: Document = {}
        if after is not None:
            moment, id = after
            query = {"$or": [{"created_at": {"$lt": moment}}, {"created_at": moment, "_id": {"$lt": id}}]}
        found = self._tokens.find(query).sort([("created_at", DESCENDING), ("_id", DESCENDING)]).limit(limit)
        async with database_call():
            return [_token(document) async for document in found]

    async def revoke(self, id: str, by: str, now: datetime) -> OpsToken | None:
        """End it, if it has not ended; None when there is no such token."""
        async with database_call():
            await self._tokens.update_one(
                {"_id": id, "revoked_at": None}, {"$set": {"revoked_at": now, "revoked_by": by}}
            )
            document = await self._tokens.find_one({"_id": id})
        return None if document is None else _token(document)


def _token(document: Mapping[str, Any]) -> OpsToken:
    return OpsToken(id=document["_id"], **{name: document[name] for name in _FIELDS})
