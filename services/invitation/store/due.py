"""How much is due, and how late it is: what /metrics tells of it."""

from __future__ import annotations

from datetime import datetime

from convive_kit.mongo import Database, Document, database_call
from invitation.store.mongo import INVITATIONS
from invitation.store.replays import Replays

_COUNTED = 10_000


async def overdue(database: Database, now: datetime) -> tuple[int, float]:
    """At how many invitations something is due and not done, counted to 10,000, and by how many seconds the longest
    due is late. Raises `DatabaseAway` in an outage."""
    number, late = await _overdue(database, "due_at", "due", now)
    folded_in, later = await _overdue(database, "due_once_armed", "due_once_armed", now)
    if folded_in and await Replays(database).rebuilt():
        number, late = min(number + folded_in, _COUNTED), max(late, later)
    return number, late


async def _overdue(database: Database, moment: str, index: str, now: datetime) -> tuple[int, float]:
    due: Document = {"channel": {"$in": ["email", "sms", "none"]}, moment: {"$lte": now}}
    invitations = database[INVITATIONS]
    async with database_call():
        number = await invitations.count_documents(due, hint=index, limit=_COUNTED)
        found = invitations.find(due, {moment: 1}).hint(index).sort(moment, 1).limit(1)
        late = [(now - document[moment]).total_seconds() async for document in found]
    return number, late[0] if late else 0.0
