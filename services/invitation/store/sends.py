"""Sends by the ids that providers gave them, for providers who say no more than that of a message."""

from __future__ import annotations

from pymongo import IndexModel

from convive_kit.mongo import Collection, database_call
from invitation.lifecycle.links import Send

_ID = "history.detail.provider_id"
SEND_INDEXES = (IndexModel(_ID, name="provider_id", partialFilterExpression={_ID: {"$exists": True}}),)


async def sent_as(invitations: Collection, provider_id: str) -> Send | None:
    """The send that a provider took under this id of its own; None where no history tells of it. Raises
    `DatabaseAway`."""
    step = {"history": {"$elemMatch": {"detail.provider_id": provider_id}}}
    async with database_call():
        found = await invitations.find_one({_ID: provider_id}, step, hint="provider_id")
    return Send(found["_id"], found["history"][0]["detail"]["send"]) if found else None
