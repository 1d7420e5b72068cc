"""The parking place: a message that could not be handled is kept with its reason, joins the group commit, and only
then is acknowledged. Nothing is dropped, nothing blocks the queue, and an operator can see, edit and replay it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, cast
from uuid import NAMESPACE_OID, uuid5

import structlog

from convive_contracts.envelope import LARGEST_MESSAGE, EventError
from convive_kit.bus import Unroutable
from convive_kit.consuming import Incoming
from convive_kit.errors import ConviveError, Reject
from convive_kit.group_commit import GroupCommit

log = structlog.stdlib.get_logger(__name__)

KEPT_OF_OVERSIZE = 64 * 1024
"""Bytes kept of a message over the limit; its size and SHA-256 tell the rest."""
_LARGEST_HEADER = 4 * 1024
# What the broker adds on the way; it differs between two deliveries of one message.
_OF_THE_BROKER = ("x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-acquired-count")
_MOST_HEADERS = 64


class DeadLettered(Reject):
    """The broker gave the message up after too many deliveries."""

    slug: ClassVar[str] = "dead_lettered"

    def __init__(self) -> None:
        super().__init__(self.message())


class Parking:
    """Writes parked messages. The same message parked again counts up instead of standing there twice."""

    def __init__(self, commit: GroupCommit, *, now: Callable[[], datetime], step: str) -> None:
        """`step` names what failed, such as `intake`; with the error's slug it makes the fingerprint."""
        self._commit = commit
        self._now = now
        self._step = step

    async def park(self, message: Incoming, error: Exception) -> None:
        """Keep `message` with its reason; raises `Retry` while the database is away."""
        now = self._now()
        digest = hashlib.sha256(message.body).hexdigest()
        slug = error.slug if isinstance(error, (ConviveError, EventError)) else "unexpected"
        id = _identity(message, slug, digest)
        status = "waiting" if isinstance(error, Reject) and error.waits else "parked"
        oversize = len(message.body) > LARGEST_MESSAGE
        kept: dict[str, Any] = {
            "queue": message.queue,
            "exchange": message.exchange,
            "routing_key": _text(message.routing_key),
            "content_type": _text_or_none(message.content_type),
            "message_id": _text_or_none(message.message_id),
            "correlation_id": _text_or_none(message.correlation_id),
            "headers": _storable(message.headers),
            "body": message.body[:KEPT_OF_OVERSIZE] if oversize else message.body,
            "size": len(message.body),
            "sha256": digest,
            "step": self._step,
            "slug": slug,
            "reason": _text(str(error) or (type(error).__doc__ or "").strip())[:2000],
            "fingerprint": f"{self._step}:{slug}",
            "first_seen": now,
        }
        await self._commit.apply(
            id,
            {"$setOnInsert": kept, "$set": {"last_seen": now, "status": status}, "$inc": {"count": 1}},
            upsert=True,
        )
        log.warning(f"message.{status}", parked=id, queue=message.queue, slug=slug)

    async def keep_dead_letter(self, message: Incoming) -> None:
        """Handler of a `….parked` queue: what the broker gave up or could not route is kept here too."""
        dead = "x-first-death-queue" in message.headers or "x-death" in message.headers
        await self.park(message, DeadLettered() if dead else Unroutable(message.routing_key))


def _identity(message: Incoming, slug: str, digest: str) -> str:
    """The id of a message's record. Headers count: in binary mode they say what the event is, and two events may well
    have the same data."""
    headers = sorted(
        f"{_text(name)}={_text(value)}"
        for name, value in message.headers.items()
        if not str(name).startswith(_OF_THE_BROKER)
    )
    parts = [message.queue, _text(message.routing_key), slug, digest, _text(message.content_type or ""), *headers]
    return str(uuid5(NAMESPACE_OID, "\n".join(parts)))


def _storable(headers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Headers as a list of name and text: foreign names may hold dots and dollars, foreign values anything."""
    return [
        {"name": _text(name)[:200], "value": _text(value)[:_LARGEST_HEADER]}
        for name, value in list(headers.items())[:_MOST_HEADERS]
    ]


def _text(value: Any) -> str:
    """Anything as text that can be stored: halves of surrogate pairs cannot."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(cast("object", value))
    return text.encode("utf-8", "replace").decode()


def _text_or_none(value: str | None) -> str | None:
    return None if value is None else _text(value)
