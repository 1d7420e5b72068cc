"""The embedded outbox: events are pushed into the document by the very write that makes them true, then published,
then pulled by their id, those of a moment together. A crash in between leaves an entry that the sweeper publishes;
receivers know the event id.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any, NotRequired, Protocol, TypedDict

import structlog
from pymongo import IndexModel
from pymongo.errors import PyMongoError

from convive_kit import tracing
from convive_kit.errors import Reject, Retry
from convive_kit.mongo import DEADLINE, MAJORITY, Collection, DatabaseAway, database_call, is_outage

log = structlog.stdlib.get_logger(__name__)

OUTBOX_INDEX = IndexModel(
    [("outbox.at", 1)], name="outbox_waiting", partialFilterExpression={"outbox.at": {"$exists": True}}
)
"""Holds only documents with something left to publish, so it stays tiny however many there are."""


_COUNTED = 10_000


async def outbox_waiting(collection: Collection, now: datetime) -> tuple[int, float]:
    """How many documents have something left to publish, counted to 10,000, and for how many seconds the oldest has
    been waiting. Raises `DatabaseAway` in an outage."""
    waiting: dict[str, Any] = {"outbox.at": {"$exists": True}}
    async with database_call():
        documents = await collection.count_documents(waiting, hint="outbox_waiting", limit=_COUNTED)
        found = collection.find(waiting, {"outbox.at": 1}).hint("outbox_waiting").sort("outbox.at", 1).limit(1)
        since = [entry["at"] async for document in found for entry in document["outbox"]]
    return documents, max((now - min(since)).total_seconds(), 0.0) if since else 0.0


class OutboxEntry(TypedDict):
    """An event as it waits in its document: its id, since when, its routing key and its finished body; with traces,
    which trace it belongs to, so that whoever publishes it later joins it."""

    id: str
    at: datetime
    key: str
    body: bytes
    trace: NotRequired[dict[str, str]]


class Publishes(Protocol):
    """What the relay needs of the bus."""

    async def publish(self, *, key: str, body: bytes, message_id: str, correlation_id: str | None = None) -> None: ...


class Pulls(Protocol):
    """What the relay needs of the group commit."""

    async def pull(self, array: str, entries: Mapping[Any, Sequence[str]]) -> None: ...


class Relay:
    """Publishes outbox entries, right after their commit and, for what a crash or an outage left, by sweeping.

    Times in seconds. At most `in_flight` documents are being announced at a time and `most_waiting` wait for it, the
    rest is left to the sweeper, so a broker outage costs little memory. The sweeper takes what is older than
    `older_than` every `every` seconds; once an announcement has failed it tries after `catch_up`, and takes what is
    older than that: what an outage has piled up goes out when it ends.

    What was published is cleared `gather` later, with all that was published meanwhile: nobody waits for that, so it
    need not be a write of its own for each event when little goes on. A crash has that much published again.
    """

    def __init__(
        self,
        *,
        bus: Publishes,
        collection: Collection,
        commit: Pulls,
        now: Callable[[], datetime],
        in_flight: int = 500,
        most_waiting: int = 20_000,
        older_than: float = 30.0,
        every: float = 10.0,
        catch_up: float = 2.0,
        gather: float = 0.25,
    ) -> None:
        self._bus = bus
        self._collection = collection.with_options(read_concern=MAJORITY)
        self._commit = commit
        self._now = now
        self._in_flight = in_flight
        self._older_than = timedelta(seconds=older_than)
        self._every = every
        self._catch_up = catch_up
        self._behind = asyncio.Event()
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[Any, Sequence[OutboxEntry]]] = deque()
        self._held: Counter[Any] = Counter()
        self._announcing: set[asyncio.Task[None]] = set()
        self._gather = gather
        self._published: dict[Any, list[str]] = {}
        self._hurry = asyncio.Event()
        self._clearing: set[asyncio.Task[None]] = set()

    def announce(self, id: Any, entries: Sequence[OutboxEntry]) -> None:
        """Publish the entries that a committed write has pushed into the document `id`; does not wait."""
        if not entries:
            return
        if len(self._waiting) >= self._most_waiting:
            self._behind.set()
            return
        self._waiting.append((id, entries))
        self._held[id] += 1
        if len(self._announcing) < self._in_flight:
            task = asyncio.create_task(self._announce_all(), name="announce")
            self._announcing.add(task)
            task.add_done_callback(self._announcing.discard)

    async def drain(self) -> None:
        """Return when what is being announced has been published and cleared, or left to a sweeper."""
        if self._announcing:
            await asyncio.wait(self._announcing)
        await self._cleared()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            # Spread, so that several processes do not publish the same leftovers in the same moment.
            spread = random.uniform(0.8, 1.2)  # noqa: S311 (not for secrets)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every * spread):
                    await self._behind.wait()
            older_than = self._older_than
            if self._behind.is_set():
                self._behind.clear()
                older_than = timedelta(seconds=self._catch_up)
                # Longer than `catch_up`: what has just failed must be old enough by then, or it would grow old.
                await asyncio.sleep(self._catch_up * (spread + 0.5))
            try:
                while await self.sweep(older_than=older_than):
                    pass
            except Retry as away:
                self._behind.set()
                log.warning("outbox.sweep_paused", cause=away.slug)

    async def sweep(self, *, older_than: timedelta | None = None, largest: int = 200) -> bool:
        """Publish entries that have waited too long; True when there may be more. Raises `Retry` in an outage."""
        cutoff = self._now() - (self._older_than if older_than is None else older_than)
        overdue = {"outbox.at": {"$lt": cutoff}}
        waiting = self._collection.find(overdue, {"outbox": 1}).sort("outbox.at", 1).limit(largest)
        try:
            async with asyncio.timeout(DEADLINE):
                documents = [document async for document in waiting]
        except (TimeoutError, PyMongoError) as error:
            if is_outage(error):
                raise DatabaseAway from error
            raise
        # What waits its turn here is about to be published anyway.
        left = [document for document in documents if document["_id"] not in self._held]
        published = await asyncio.gather(
            *(self._publish(d["_id"], [entry for entry in d["outbox"] if entry["at"] < cutoff]) for d in left)
        )
        await self._cleared()  # or the next look would find them again
        if left:
            log.info("outbox.swept", documents=len(left))
        return len(documents) == largest and bool(left) and all(published)

    async def _announce_all(self) -> None:
        while self._waiting:
            id, entries = self._waiting.popleft()
            try:
                with self._left_to_sweeper():
                    await self._publish(id, entries)
            finally:
                self._release(id)

    async def _publish(self, id: Any, entries: Sequence[OutboxEntry]) -> bool:
        """Publish in order, and have cleared what was confirmed; False when one was refused and stays."""
        confirmed: list[str] = []
        try:
            for entry in entries:
                with tracing.span(f"publish {entry['key']}", "producer", parent=entry.get("trace", {})):
                    await self._bus.publish(key=entry["key"], body=entry["body"], message_id=entry["id"])
                confirmed.append(entry["id"])
        except Reject as refused:
            log.error("outbox.refused", key=refused.args[0] if refused.args else None, slug=refused.slug)
        finally:
            if confirmed:
                self._clear_later(id, confirmed)
        return len(confirmed) == len(entries)

    def _clear_later(self, id: Any, published: Sequence[str]) -> None:
        if not self._published:
            self._hurry = asyncio.Event()
            task = asyncio.create_task(self._clear(self._hurry), name="clear")
            self._clearing.add(task)
            task.add_done_callback(self._clearing.discard)
        if id not in self._published:
            self._held[id] += 1
        self._published.setdefault(id, []).extend(published)

    async def _clear(self, hurry: asyncio.Event) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._gather):
                await hurry.wait()
        published, self._published = self._published, {}
        try:
            with self._left_to_sweeper():
                # By id, never the array as a whole: what other writes have pushed meanwhile stays.
                await self._commit.pull("outbox", published)
        finally:
            for id in published:
                self._release(id)

    async def _cleared(self) -> None:
        """Return when what has been published so far is cleared, or left to a sweeper."""
        self._hurry.set()
        if self._clearing:
            await asyncio.wait(self._clearing)

    @contextmanager
    def _left_to_sweeper(self) -> Generator[None]:
        """What fails here is tried again by the sweeper, and holds up nothing that waits behind it."""
        try:
            yield
        except Retry as away:
            self._behind.set()
            log.debug("outbox.left_to_sweeper", cause=away.slug)
        except Exception:
            self._behind.set()
            log.exception("outbox.failed")

    def _release(self, id: Any) -> None:
        self._held[id] -= 1
        if not self._held[id]:
            del self._held[id]
