"""The one door to MongoDB: the client, its time limits, and the database's clock.

motor gets only critical fixes until May 2027, so its name appears here alone. Both drivers are typed as PyMongo's
async client and used only where they are alike: no `aggregate`, no sessions.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from inspect import isawaitable
from typing import Any, Literal, TypeAlias, cast

import structlog
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern

from convive_kit.errors import Retry

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = AsyncMongoClient[Document]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]
Driver: TypeAlias = Literal["motor", "pymongo"]

MAJORITY = ReadConcern("majority")
DEADLINE = 10.0
"""Seconds after which a call to the database is given up."""

log = structlog.stdlib.get_logger(__name__)


class DatabaseAway(Retry):
    """The database does not answer."""

    slug = "database_away"


def open_client(url: str, *, driver: Driver = "motor", **options: Any) -> Client:
    """Open a client whose writes wait for a majority and whose every wait has a limit.

    No I/O happens here; the first call connects. Close it with `close_client`.
    """
    settings: dict[str, Any] = {
        "w": "majority",
        "tz_aware": True,
        "tzinfo": UTC,
        "connectTimeoutMS": 3_000,
        "serverSelectionTimeoutMS": 3_000,
        "socketTimeoutMS": int(DEADLINE * 1000),
        "waitQueueTimeoutMS": 5_000,
        "appname": "convive",
        **options,
    }
    if driver == "pymongo":
        return AsyncMongoClient(url, **settings)
    return cast("Client", AsyncIOMotorClient(url, **settings))


async def close_client(client: Client) -> None:
    """Close a client of either driver (motor's `close` is synchronous, PyMongo's is not)."""
    closing = cast("Any", client).close()
    if closing is not None:
        await closing


_SERVER_GONE = frozenset((6, 7, 43, 89, 91, 133, 134, 175, 189, 237, 262, 9001, 10107, 11600, 11602, 13435, 13436))
"""What a server says that was restarted, steps down or stops in the middle of a call: the retryable codes of the
drivers' specification (retryable reads), and those of a cursor that went with it (CursorNotFound, CursorKilled,
QueryPlanKilled)."""


def is_outage(error: BaseException) -> bool:
    """Whether a failed call says nothing about the data: it may or may not have been carried out."""
    if isinstance(error, BulkWriteError):
        return False
    if isinstance(error, (TimeoutError, ConnectionFailure, ExecutionTimeout, WTimeoutError)):
        return True
    if isinstance(error, OperationFailure) and error.code in _SERVER_GONE:
        return True
    return isinstance(error, PyMongoError) and error.has_error_label("RetryableWriteError")


@asynccontextmanager
async def database_call(seconds: float = DEADLINE) -> AsyncGenerator[None]:
    """Put a time limit on calls to the database and turn an outage into `DatabaseAway`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except (TimeoutError, PyMongoError) as error:
        if is_outage(error):
            raise DatabaseAway from error
        raise


async def ping(client: Client) -> None:
    """Return when the database answers and has a primary; raise `DatabaseAway` otherwise."""
    async with database_call(3.0):
        hello = await client.admin.command("hello")
    if not hello.get("isWritablePrimary"):
        raise DatabaseAway


_QUICK = 0.02
"""Seconds for an answer that is good enough not to ask again."""
_MOST_SAMPLES = 4
_DRIFT = 0.0005
"""Seconds by which two clocks may go apart in a second: five times what hardware is built to."""
_RESOLUTION = 0.001


class DatabaseClock:
    """The time as the database sees it, so that leases taken by different machines compare.

    The offset is measured by `hello` every `every` seconds; between measurements the monotonic clock carries on, so a
    process that was stopped for a while knows it when it goes on. Milliseconds, as the database keeps them.

    The answer to a measurement was read at some moment between asking and hearing, so it may be wrong by half of that
    time. A worse measurement does not replace a better one, unless the two contradict each other (the principle of
    RFC 5905, 10: the sample with the smallest delay counts).
    """

    def __init__(self, client: Client, *, every: float = 10.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._every = every
        self._monotonic = monotonic
        self._at = monotonic()
        self._database_time = _in_milliseconds(datetime.now(UTC))
        self._told = datetime.min.replace(tzinfo=UTC)
        self._measured = False
        self._wrong_by = math.inf

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        now = self._database_time + timedelta(milliseconds=int(1000 * (self._monotonic() - self._at)))
        # A new measurement may be a little behind the last: time that was told is never taken back.
        if now > self._told:
            self._told = now
        return self._told

    async def measure(self) -> None:
        """Ask the database for its time, a few times while it is slow to answer; raises `DatabaseAway`."""
        for _ in range(_MOST_SAMPLES):
            before = self._monotonic()
            async with database_call(3.0):
                hello: Mapping[str, Any] = await self._client.admin.command("hello")
            after = self._monotonic()
            self._sample((before + after) / 2, (after - before) / 2, hello["localTime"].replace(tzinfo=UTC))
            if after - before <= _QUICK:
                return

    def _sample(self, at: float, wrong_by: float, database_time: datetime) -> None:
        drifted = self._wrong_by + abs(at - self._at) * _DRIFT
        expected = self._database_time + timedelta(seconds=at - self._at)
        contradicts = abs((database_time - expected).total_seconds()) > drifted + wrong_by + _RESOLUTION
        if self._measured and wrong_by > drifted and not contradicts:
            return
        if not self._measured:  # what was told until now was only this machine's opinion
            self._measured = True
            self._told = datetime.min.replace(tzinfo=UTC)
        self._at, self._wrong_by, self._database_time = at, wrong_by, _in_milliseconds(database_time)

    async def run(self) -> None:
        """Keep measuring until cancelled; an outage is waited out."""
        while True:
            try:
                await self.measure()
            except DatabaseAway:
                log.warning("database.clock_not_measured")
            await asyncio.sleep(self._every)


def _in_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


async def aggregate(collection: Collection, pipeline: list[Document], **options: Any) -> list[Document]:
    """The results of an aggregation. Here the drivers differ: PyMongo's call is awaited, motor's is not."""
    cursor = cast("Any", collection).aggregate(pipeline, **options)
    if isawaitable(cursor):
        cursor = await cursor
    return [document async for document in cursor]
