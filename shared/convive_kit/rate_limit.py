"""Rate limits: shared by all replicas through the database, and one of the process itself for floods of nonsense.

Both answer how many seconds to wait, 0 when the call may go on:

    if wait := await limiter.hit("sign-in", email_key, "10/minute"):
        raise too_many_requests(wait)
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import limits
from limits.aio.storage import MongoDBStorage
from pymongo.errors import PyMongoError

from convive_kit.errors import Retry
from convive_kit.http import Problem

parse = functools.lru_cache(maxsize=64)(limits.parse)


class LimiterAway(Retry):
    """This cannot be checked at the moment; try again shortly."""

    slug = "limiter_away"


def too_many_requests(wait: float) -> Problem:
    """429, to be tried again after `wait` seconds."""
    return Problem(429, "too_many_requests", "Too many attempts; wait a little.", retry_after=wait)


def address_bucket(address: str) -> str:
    """What counts as one caller: an IPv4 address, or the /64 an IPv6 subscriber has to themselves."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(IPv6Address(int(parsed) >> 64 << 64)) if isinstance(parsed, IPv6Address) else address


class Limiter:
    """Counts hits in the database, in fixed windows: one atomic update each, so that replicas racing for the last hit
    cannot both have it. (The moving window
    of `limits` 5.8 wrongly refuses some of the first hits of a key that come at once, and its sliding counter lets hits
    through while an outdated document waits for the TTL monitor: both seen.) Around the border of two windows
    up to twice the limit can pass.

    Keys are stored as hashes. Closed when in doubt: `LimiterAway` while the database does not answer in `time_limit`.
    """

    def __init__(self, url: str, database: str, *, time_limit: float = 2) -> None:
        milliseconds = int(time_limit * 1000)
        self._time_limit = time_limit
        self._storage = MongoDBStorage(
            f"async+{url}",
            database_name=database,
            counter_collection_name="rate_limits",
            window_collection_name="rate_limit_windows",
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            socketTimeoutMS=milliseconds,
            maxPoolSize=10,
        )

    async def hit(self, name: str, key: str, limit: str, *, times: int = 1) -> int:
        """Counts one `name` (what is limited), or so many, by `key` (who or what does it) against a `limit` such as
        "10/minute". Hits that are refused count too, but never lengthen the wait."""
        item = parse(limit)
        counter = _counter(item, name, key)
        try:
            async with asyncio.timeout(self._time_limit):
                if await self._storage.incr(counter, item.get_expiry(), amount=times) <= item.amount:
                    return 0
                left = await self._storage.get_expiry(counter) - time.time()
        except (PyMongoError, TimeoutError) as error:
            raise LimiterAway from error
        return min(max(1, math.ceil(left)), item.get_expiry())

    async def take_back(self, name: str, key: str, limit: str) -> None:
        """What `hit` counted did not happen after all."""
        item = parse(limit)
        try:
            async with asyncio.timeout(self._time_limit):
                await self._storage.incr(_counter(item, name, key), item.get_expiry(), amount=-1)
        except (PyMongoError, TimeoutError) as error:
            raise LimiterAway from error

    def close(self) -> None:
        self._storage.storage.close()


def _counter(item: limits.RateLimitItem, name: str, key: str) -> str:
    return item.key_for(name, hashlib.sha256(key.encode()).hexdigest())


class _Counts:
    """Hits of the current window by caller, of at most `size` callers; the one seen least recently is forgotten."""

    def __init__(self, window: float, size: int, clock: Callable[[], float]) -> None:
        self._window, self._size, self._clock = window, size, clock
        self._counts: OrderedDict[int, tuple[float, int]] = OrderedDict()

    def add(self, key: str) -> tuple[int, float]:
        """Counts one; returns how many there are in the window and for how many seconds it lasts."""
        now = self._clock()
        slot = hash(key)  # salted per process, and small however long the key is
        started, count = self._counts.pop(slot, (now, 0))
        if now - started >= self._window:
            started, count = now, 0
        self._counts[slot] = (started, count + 1)
        if len(self._counts) > self._size:
            self._counts.popitem(last=False)
        return count + 1, started + self._window - now


class LocalLimiter:
    """Counts hits in this process alone, for at most `size` callers."""

    def __init__(self, limit: str, *, size: int = 10_000, clock: Callable[[], float] = time.monotonic) -> None:
        item = parse(limit)
        self._amount = item.amount
        self._counts = _Counts(item.get_expiry(), size, clock)

    def hit(self, key: str) -> int:
        count, left = self._counts.add(key)
        return 0 if count <= self._amount else max(1, math.ceil(left))


class FrugalLimiter:
    """For what hardly anybody does often: the first `alone` hits in a window are counted in this process alone and cost
    no write; the next one is counted in the database, with them, and so is every one after it.

    So a replica may let through `alone` hits that the others do not know of, or that the window of the database, which
    begins with the first it is told of, would have refused.
    """

    def __init__(
        self,
        limiter: Limiter,
        name: str,
        limit: str,
        *,
        alone: int = 3,
        size: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limiter, self._name, self._limit, self._alone = limiter, name, limit, alone
        self._counts = _Counts(parse(limit).get_expiry(), size, clock)

    async def hit(self, key: str) -> int:
        """See `Limiter.hit`."""
        count, _ = self._counts.add(key)
        if count <= self._alone:
            return 0
        return await self._limiter.hit(self._name, key, self._limit, times=count if count == self._alone + 1 else 1)
