"""How much is due, and how late it is: what /metrics tells of it."""

from __future__ import annotations

from datetime import datetime

from convive_kit.mongo import Database, Document, database_call
from invitation.store.mongo import INVITATIONS

_COUNTED = 10_000


async def overdue(database: Database, now: datetime) -> tuple[int, float]:
    """At how many invitations something is due and not done, counted to 10,000, and by how many seconds the longest
    due is late. Raises `DatabaseAway` in an outage."""
    due: Document = {"channel": {"$in": ["email", "sms", "none"]}, "due_at": {"$lte": now}}
    invitations = database[INVITATIONS]
    async with database_call():
        number = await invitations.count_documents(due, hint="due", limit=_COUNTED)
        found = invitations.find(due, {"due_at": 1}).hint("due").sort("due_at", 1).limit(1)
        late = [(now - document["due_at"]).total_seconds() async for document in found]
    return number, late[0] if late else 0.0
