"""Parked messages as operators deal with them: read, replayed, edited, discarded. Nothing of them is deleted before
its time, and its body only for a person's sake."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, cast, get_args
from uuid import uuid4

from pymongo import IndexModel

from convive_contracts.envelope import LARGEST_MESSAGE, EventError
from convive_kit.consuming import Incoming
from convive_kit.errors import ConviveError
from convive_kit.mongo import Collection, Document, aggregate, database_call

_AT_ONCE = 200
_MOST_GROUPS = 200

Status = Literal["waiting", "parked", "replayed", "edited", "discarded"]

INDEXES = (
    IndexModel([("status", 1), ("last_seen", -1), ("_id", -1)], name="list"),
    IndexModel([("fingerprint", 1), ("status", 1), ("last_seen", -1), ("_id", -1), ("first_seen", 1)], name="alike"),
    IndexModel([("status", 1), ("_id", 1)], name="frozen"),
)


@dataclass(frozen=True, slots=True)
class Parked:
    """A message that could not be handled, as kept. In lists its body is left out."""

    id: str
    fields: Document = field(repr=False)

    @property
    def is_whole(self) -> bool:
        """Whether all of its body was kept: of an oversize one only the beginning is."""
        return self.fields["size"] <= LARGEST_MESSAGE

    def message(self) -> Incoming:
        """The message as it came."""
        kept = self.fields
        return Incoming(
            queue=kept["queue"],
            routing_key=kept["routing_key"],
            body=kept["body"],
            content_type=kept.get("content_type"),
            headers={header["name"]: header["value"] for header in kept.get("headers", ())},
            message_id=kept.get("message_id"),
            correlation_id=kept.get("correlation_id"),
            exchange=kept.get("exchange", ""),
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Parked messages that failed alike."""

    fingerprint: str
    slug: str
    reason: str
    messages: int
    first_seen: datetime
    last_seen: datetime
    # How many came first on which day (UTC), oldest first.
    per_day: Sequence[tuple[datetime, int]]


class ParkedMessages:
    """The parking place. Written by `convive_kit.parking`; every method raises `DatabaseAway` in an outage."""

    def __init__(self, collection: Collection) -> None:
        self._parked = collection

    async def prepare(self) -> None:
        """Make the indexes that are missing."""
        async with database_call(60):
            await self._parked.create_indexes(list(INDEXES))

    async def latest(
        self,
        *,
        limit: int,
        after: tuple[datetime, str] | None = None,
        status: Status = "parked",
        fingerprints: Sequence[str] = (),
    ) -> Sequence[Parked]:
        """Without their bodies, the one seen last first."""
        query: Document = {"status": status}
        if fingerprints:
            query["fingerprint"] = {"$in": list(fingerprints)}
        if after is not None:
            seen, id = after
            query["last_seen"] = {"$lte": seen}
            query["$or"] = [{"last_seen": {"$lt": seen}}, {"_id": {"$lt": id}}]
        found = self._parked.find(query, {"body": 0}).sort([("last_seen", -1), ("_id", -1)]).limit(limit)
        async with database_call():
            return [Parked(document.pop("_id"), document) async for document in found]

    async def waiting(self, *, limit: int) -> Sequence[Parked]:
        """Messages that were set aside to be tried again, the one tried last longest ago first."""
        found = self._parked.find({"status": "waiting"}).sort([("last_seen", 1), ("_id", 1)]).limit(limit)
        async with database_call():
            return [Parked(document.pop("_id"), document) async for document in found]

    async def groups(self) -> Sequence[Group]:
        """What is parked now, by fingerprint, the group seen last first."""
        span: Document = {"first_seen": {"$min": "$first_seen"}, "last_seen": {"$max": "$last_seen"}}
        day: Document = {"$dateTrunc": {"date": "$first_seen", "unit": "day"}}
        # Counted in an index: a message is read for each group, not for each message.
        pipeline: list[Document] = [
            {"$match": {"status": "parked"}},
            {"$group": {"_id": {"fingerprint": "$fingerprint", "day": day}, **span, "messages": {"$sum": 1}}},
            {
                "$group": {
                    "_id": "$_id.fingerprint",
                    **span,
                    "messages": {"$sum": "$messages"},
                    "per_day": {"$push": {"day": "$_id.day", "messages": "$messages"}},
                }
            },
            {"$sort": {"last_seen": -1}},
            {"$limit": _MOST_GROUPS},
            {
                "$lookup": {
                    "from": self._parked.name,
                    "localField": "_id",
                    "foreignField": "fingerprint",
                    "pipeline": [
                        {"$match": {"status": "parked"}},
                        {"$sort": {"last_seen": -1, "_id": -1}},
                        {"$limit": 1},
                        {"$project": {"slug": 1, "reason": 1}},
                    ],
                    "as": "newest",
                }
            },
            # Whatever was settled between the two looks is in no group any more.
            {"$unwind": "$newest"},
        ]
        async with database_call():
            found = await aggregate(self._parked, pipeline, hint="alike")
        return [_group(group) for group in found]

    async def numbers(self) -> dict[str, int]:
        """How many are parked now, by fingerprint: counted in an index, without reading a message."""
        pipeline: list[Document] = [
            {"$match": {"status": "parked"}},
            {"$group": {"_id": "$fingerprint", "messages": {"$sum": 1}}},
        ]
        async with database_call():
            return {group["_id"]: group["messages"] for group in await aggregate(self._parked, pipeline, hint="alike")}

    async def one(self, id: str) -> Parked | None:
        """One message with its body."""
        async with database_call():
            document = await self._parked.find_one({"_id": id})
        return None if document is None else Parked(document.pop("_id"), document)

    async def frozen(self, at: datetime, *, after: str | None) -> AsyncGenerator[Parked]:
        """All that were parked at that moment and still are, by id, beginning behind `after`. What was parked later
        is not swept in."""
        while True:
            query: Document = {"status": "parked", "first_seen": {"$lte": at}}
            if after is not None:
                query["_id"] = {"$gt": after}
            async with database_call():
                found = [document async for document in self._parked.find(query).sort("_id", 1).limit(200)]
            for document in found:
                after = cast("str", document["_id"])
                yield Parked(document.pop("_id"), document)
            if not found:
                return

    async def replayed(self, id: str, by: str, reason: str, at: datetime) -> None:
        """It was handled at last."""
        await self._set(id, {"status": "replayed", "settled": {"at": at, "by": by, "reason": reason}})

    async def failed_again(self, id: str, error: Exception, at: datetime) -> None:
        """It was tried again, in vain."""
        slug = error.slug if isinstance(error, (ConviveError, EventError)) else "unexpected"
        async with database_call():
            await self._parked.update_one(
                {"_id": id},
                {"$set": {"last_seen": at, "slug": slug, "reason": str(error)[:2000]}, "$inc": {"count": 1}},
            )

    async def given_up(self, id: str, error: Exception, at: datetime) -> None:
        """What was set aside is tried no more: from here on it is for somebody to look at."""
        await self.failed_again(id, error, at)
        await self._set(id, {"status": "parked"})

    async def edited(self, original: Parked, body: bytes, content_type: str | None, by: str, at: datetime) -> str:
        """Keep a corrected copy and tie the two together; the original stays as it came. Returns the copy's id."""
        id = str(uuid4())
        copy = {
            **original.fields,
            "_id": id,
            "body": body,
            "size": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "content_type": content_type or original.fields.get("content_type"),
            "status": "parked",
            "edited_from": original.id,
            "first_seen": at,
            "last_seen": at,
            "count": 1,
        }
        async with database_call():
            await self._parked.insert_one(copy)
        await self._set(original.id, {"status": "edited", "edited_to": id, "settled": {"at": at, "by": by}})
        return id

    async def discarded(self, id: str, by: str, reason: str | None, at: datetime) -> None:
        """Nobody wants it handled: it is kept, out of sight."""
        await self._set(id, {"status": "discarded", "settled": {"at": at, "by": by, "reason": reason}})

    async def mentioning(self, *words: str) -> AsyncGenerator[Parked]:
        """Every message, whatever became of it, in whose body one of these words stands, in any case."""
        sought = [word.casefold() for word in words]
        after = ""
        while True:
            async with database_call():
                found = [d async for d in self._parked.find({"_id": {"$gt": after}}).sort("_id", 1).limit(_AT_ONCE)]
            for document in found:
                text = _readable(document)
                if any(word in text for word in sought):
                    yield Parked(document["_id"], {name: value for name, value in document.items() if name != "_id"})
            if not found:
                return
            after = cast("str", found[-1]["_id"])

    async def erased(self, id: str, by: str, at: datetime) -> None:
        """Its body and headers go; that there was one, and why it could not be handled, stays."""
        gone: Document = {"body": b"", "headers": [], "size": 0, "sha256": "", "message_id": None}
        await self._set(id, {**gone, "status": "discarded", "settled": {"at": at, "by": by, "reason": "erased"}})

    async def drop(self, before: datetime) -> None:
        """Delete what was last seen before that time, whatever became of it."""
        async with database_call(60):
            await self._parked.delete_many({"status": {"$in": list(get_args(Status))}, "last_seen": {"$lt": before}})

    async def _set(self, id: str, fields: Mapping[str, Any]) -> None:
        async with database_call():
            await self._parked.update_one({"_id": id}, {"$set": dict(fields)})


def _group(found: Document) -> Group:
    days = sorted((day["day"], day["messages"]) for day in found.pop("per_day"))
    newest = found.pop("newest")
    return Group(fingerprint=found.pop("_id"), slug=newest["slug"], reason=newest["reason"], per_day=days, **found)


def _readable(document: Mapping[str, Any]) -> str:
    """What a reader would see of a message: its body, the characters that JSON escapes too, and its headers."""
    text = cast("bytes", document["body"]).decode("utf-8", "replace")
    if "\\u" in text:
        text += re.sub(r"\\u([0-9a-fA-F]{4})", lambda escaped: chr(int(escaped[1], 16)), text)
    return f"{text} {document.get('headers', '')}".casefold()
