"""Group commit: writes that are waiting in the same moment travel in one unordered `bulk_write`.

Code reads as if each write stood alone. A group leaves at once when none is under way and otherwise as soon as the one
before it is back, so nobody ever waits for a timer and groups grow with the load by themselves.

Each waiter learns its own fate: a compare-and-swap is an upsert on `{_id, version}`, so a lost race is a duplicate-key
error at its own index. A connection error leaves the outcome open; then the `write_id` that every write leaves in a
short ring of the document tells whether it was carried out.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal, cast

import structlog
from bson import ObjectId
from bson.errors import BSONError
from pymongo import InsertOne, UpdateMany, UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from convive_kit import tracing
from convive_kit.errors import Conflict, Reject
from convive_kit.mongo import DEADLINE, MAJORITY, Collection, DatabaseAway, Document, is_outage

RING = 8
"""How many write ids a document keeps: more than the writers that can meet on one document within one outage."""
_DUPLICATE_KEY = 11000

log = structlog.stdlib.get_logger(__name__)


class VersionConflict(Conflict):
    """Somebody else changed it in the meantime."""

    slug = "version_conflict"


class DuplicateKey(Conflict):
    """There is one already."""

    slug = "duplicate_key"

    def __init__(self, key: Mapping[str, Any]) -> None:
        """`key` maps the fields of the unique index that refused the write to their values."""
        super().__init__()
        self.key = key


class WriteRefused(Reject):
    """The database refuses the document."""

    slug = "write_refused"


_Operation = InsertOne[Document] | UpdateOne | UpdateMany


@dataclass(slots=True)
class _Write:
    id: Any
    kind: Literal["insert", "save", "apply"]
    operation: _Operation
    write_id: ObjectId | None = None
    seen: int = 0
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    tries: int = 0
    refusal: Conflict | None = None
    span: tracing.Span = tracing.NO_SPAN

    def succeed(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


def _write_ids() -> Iterator[ObjectId]:
    # Drawn at random once, then counted: with the driver's own way each would take longer than all else that is done
    # to submit a write.
    drawn = os.urandom(8)
    return (ObjectId(drawn + (number % 2**32).to_bytes(4)) for number in count())


class GroupCommit:
    """Writes to one collection, in groups.

    `largest` bounds a group, `deadline` (seconds) how long an outage is waited out before the waiters get
    `DatabaseAway`: the write may then have been carried out or not, and may be repeated safely by whoever reads again.
    """

    def __init__(
        self,
        collection: Collection,
        *,
        largest: int = 500,
        deadline: float = DEADLINE,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        """`observe(writes, seconds)` is told of each group once it is decided."""
        self._collection = collection
        self._majority = collection.with_options(read_concern=MAJORITY)
        self._largest = largest
        self._deadline = deadline
        self._observe = observe
        self._waiting: list[_Write] = []
        self._flusher: asyncio.Task[None] | None = None
        self._write_ids = _write_ids()

    async def insert(self, document: Document) -> None:
        """Insert a document that has an `_id`; raises `DuplicateKey` when its `_id` or another unique key is taken."""
        write_id = next(self._write_ids)
        operation = InsertOne({**document, "writes": [write_id]})
        await self._submit(_Write(document["_id"], "insert", operation, write_id))

    async def save(self, id: Any, seen: int, update: Mapping[str, Any]) -> None:
        """Apply `update` if the document still has the version `seen`; raises `VersionConflict` when it has not.

        `update` must set `version` to a higher number. Saving the same change again after `DatabaseAway` is safe: at
        most one of them is carried out.
        """
        write_id = next(self._write_ids)
        pushes = {**update.get("$push", {}), "writes": {"$each": [write_id], "$slice": -RING}}
        operation = UpdateOne({"_id": id, "version": seen}, {**update, "$push": pushes}, upsert=True)
        await self._submit(_Write(id, "save", operation, write_id, seen))

    async def apply(self, id: Any, update: Mapping[str, Any], *, upsert: bool = False) -> None:
        """Apply an update that is right whatever the version; may be applied twice."""
        await self._submit(_Write(id, "apply", UpdateOne({"_id": id}, update, upsert=upsert)))

    async def pull(self, array: str, entries: Mapping[Any, Sequence[str]]) -> None:
        """Take entries out of an array of many documents, by their ids; may be done twice.

        `entries` maps each document's `_id` to ids that no other document uses: so one update does for all. It goes
        beside the groups: nobody who waits for a group waits for it.
        """
        ids = [id for many in entries.values() for id in many]
        update = UpdateMany({"_id": {"$in": list(entries)}}, {"$pull": {array: {"id": {"$in": ids}}}})
        write = _Write(None, "apply", update)
        await self._commit([write])
        await write.done

    async def close(self) -> None:
        """Return when everything handed in so far has been decided."""
        while self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _submit(self, write: _Write) -> None:
        # What is applied whenever is nobody's step.
        with tracing.NO_SPAN if write.write_id is None else tracing.step("save") as write.span:
            self._waiting.append(write)
            if self._flusher is None:
                self._flusher = asyncio.create_task(self._flush(), name="group-commit")
            await write.done

    async def _flush(self) -> None:
        try:
            while True:
                # One more turn of the loop: whoever is about to hand something in comes along. No timer is waited for.
                await asyncio.sleep(0)
                if not (group := self._next_group()):
                    return
                began = time.perf_counter()
                # Of no trace alone: many wait for it, and it names them.
                with tracing.shared("group commit", [write.span for write in group]) as span:
                    span.set("convive.writes", len(group))
                    await self._commit(group)
                if self._observe is not None:
                    self._observe(len(group), time.perf_counter() - began)
        finally:
            self._flusher = None

    def _next_group(self) -> list[_Write]:
        """Take what waits, but never two writes of one `_id`: in an unordered group their order would be open."""
        group: dict[Any, _Write] = {}
        later: list[_Write] = []
        for write in self._waiting:
            if write.id in group or len(group) >= self._largest:
                later.append(write)
            elif not write.done.done():  # a waiter that was cancelled no longer wants it
                group[write.id] = write
        self._waiting = later
        return list(group.values())

    async def _commit(self, group: list[_Write]) -> None:
        """Bring every write of the group to its end; never raises."""
        open_writes = group
        try:
            async with asyncio.timeout(self._deadline):
                pause = 0.05
                while open_writes:
                    open_writes = await self._attempt(open_writes)
                    if open_writes:
                        await asyncio.sleep(pause)
                        pause = min(pause * 2, 1.0)
                        open_writes = await self._still_open(open_writes)
        except TimeoutError:
            log.warning("group_commit.database_away", writes=len(open_writes))
            for write in open_writes:
                write.fail(DatabaseAway())
        except Exception as error:
            # The flusher serves everyone: whatever went wrong belongs to this group's waiters, not to those behind.
            for write in open_writes:
                write.fail(error)

    async def _attempt(self, writes: Sequence[_Write]) -> list[_Write]:
        """Send one group; returns the writes whose outcome is open."""
        for write in writes:
            write.tries += 1
        try:
            await self._collection.bulk_write([write.operation for write in writes], ordered=False)
        except BulkWriteError as error:
            return self._settle(writes, cast("dict[str, Any]", error.details))
        except (BSONError, OverflowError, UnicodeError, PyMongoError) as error:
            if is_outage(error):
                return list(writes)
            if len(writes) == 1:
                writes[0].fail(WriteRefused(type(error).__name__))
                return []
            # One document that cannot be encoded spoils the whole group before it leaves: find it alone.
            still_open: list[_Write] = []
            for write in writes:
                still_open += await self._attempt([write])
            return still_open
        for write in writes:
            write.succeed()
        return []

    def _settle(self, writes: Sequence[_Write], details: Mapping[str, Any]) -> list[_Write]:
        if details.get("writeConcernErrors"):
            # Carried out, but perhaps not for ever: read the rings with majority concern.
            return list(writes)
        errors: dict[int, Mapping[str, Any]] = {error["index"]: error for error in details["writeErrors"]}
        still_open: list[_Write] = []
        for index, write in enumerate(writes):
            error = errors.get(index)
            if error is None:
                write.succeed()
            elif error["code"] != _DUPLICATE_KEY:
                write.fail(WriteRefused(f"error {error['code']}"))
            elif write.tries > 1:
                write.refusal = self._lost(write, error)
                still_open.append(write)  # perhaps its own earlier try was what it ran into
            else:
                write.fail(self._lost(write, error))
        return still_open

    @staticmethod
    def _lost(write: _Write, error: Mapping[str, Any]) -> Conflict:
        key: Mapping[str, Any] = error.get("keyValue") or {"_id": write.id}
        return VersionConflict() if write.kind == "save" and "_id" in key else DuplicateKey(key)

    async def _still_open(self, writes: Sequence[_Write]) -> list[_Write]:
        """After an outage: who was carried out, who lost, and who has to be sent again."""
        try:
            found = {
                document["_id"]: document
                async for document in self._majority.find(
                    {"_id": {"$in": [write.id for write in writes]}}, {"version": 1, "writes": 1}
                )
            }
        except PyMongoError as error:
            if is_outage(error):
                return list(writes)
            raise
        again: list[_Write] = []
        for write in writes:
            document = found.get(write.id)
            if write.write_id is None:
                again.append(write)
            elif document is not None and write.write_id in document.get("writes", ()):
                write.succeed()
            elif write.refusal is not None:
                write.fail(write.refusal)
            elif write.kind == "insert" and document is not None:
                write.fail(DuplicateKey({"_id": write.id}))
            elif document is not None and document["version"] != write.seen:
                write.fail(VersionConflict())
            else:
                again.append(write)
        return again


class GroupRead:
    """Reads by `_id` that are waiting in the same moment travel in one `find`."""

    def __init__(
        self, collection: Collection, *, projection: Mapping[str, Any] | None = None, largest: int = 500
    ) -> None:
        self._collection = collection
        self._projection = projection
        self._largest = largest
        self._waiting: dict[Any, asyncio.Future[Document | None]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def load(self, id: Any) -> Document | None:
        """The document with that `_id`, not older than this call, or None; raises `DatabaseAway`.

        Callers that wait for the same id share one document: treat it as read-only.
        """
        return await asyncio.shield(self.ask(id))

    def ask(self, id: Any) -> asyncio.Future[Document | None]:
        """As `load`, without waiting: a future that others may share, so wait for it shielded."""
        waiting = self._waiting.get(id)
        if waiting is None:
            waiting = self._waiting[id] = asyncio.get_running_loop().create_future()
            if self._reader is None:
                self._reader = asyncio.create_task(self._read(), name="group-read")
        return waiting

    async def _read(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # as in `GroupCommit`: whoever is about to ask comes along
                ids = list(self._waiting)[: self._largest]
                group = {id: self._waiting.pop(id) for id in ids}
                try:
                    async with asyncio.timeout(DEADLINE):
                        found = {
                            d["_id"]: d async for d in self._collection.find({"_id": {"$in": ids}}, self._projection)
                        }
                except Exception as error:
                    # The reader serves everyone: whatever went wrong is told to this group's callers.
                    failure = DatabaseAway() if is_outage(error) else error
                    for waiting in group.values():
                        waiting.set_exception(failure)
                        waiting.exception()  # a caller may have been cancelled: nobody else need hear of it
                else:
                    for id, waiting in group.items():
                        waiting.set_result(found.get(id))
        finally:
            self._reader = None
