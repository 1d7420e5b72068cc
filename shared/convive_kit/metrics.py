"""Metrics: one registry per process, passed in. Names start with `convive_`, durations are seconds, and a label never
holds an id, an address or anything else without bound.

What is counted per message is a child that was looked up before (`functools.cache` over `labels`): a dictionary away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import cache

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from convive_contracts.envelope import short_type
from convive_contracts.events import DATA_BY_TYPE
from convive_kit.bus import Bus
from convive_kit.mongo import Collection
from convive_kit.outbox import outbox_waiting
from convive_kit.readings import Declared, Read, Readings, Samples
from convive_kit.version import installed_version

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Histogram buckets that fit HTTP calls, database calls and mails alike."""
GROUP_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500)
MOST_FINGERPRINTS = 20

_TYPES = {short_type(full): short_type(full) for full in DATA_BY_TYPE} | {"user.created.bulk": "user.created"}
"""Routing keys there are, and the event types they stand for."""

OUTBOX = "outbox"
PARKED = "parked"
_READINGS = (
    Declared(
        OUTBOX, "convive_outbox_documents", "Documents with an event that waits to be published; counted to 10,000.",
        ("collection",),
    ),
    Declared(
        OUTBOX, "convive_outbox_oldest_age_seconds", "How long the oldest of those events has been waiting.",
        ("collection",),
    ),
    Declared(
        PARKED, "convive_parked_messages",
        f"Parked messages by what failed: the {MOST_FINGERPRINTS} largest groups, the rest as `other`.",
        ("fingerprint",),
    ),
)  # fmt: skip


class Metrics:
    """What both services count. A service derives from it and adds its own."""

    def __init__(self, service: str, readings: Sequence[Declared] = ()) -> None:
        """`readings`: what the service reads from its database beside what both read."""
        # A series beside each counter and histogram that tells when it began: twice the series, and nobody asks for it.
        disable_created_metrics()
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        build = Gauge("convive_build_info", "Always 1; which build this is.", ["service", "version"], registry=registry)
        build.labels(service, installed_version()).set(1)
        self.readings = Readings(registry, [*_READINGS, *readings])
        self._taken = cache(
            Counter(
                "convive_events",
                "Messages taken from the bus, by the type that their routing key names (`unknown` for others) and what"
                " became of them: `handled` or `parked`.",
                ["queue", "type", "outcome"],
                registry=registry,
            ).labels
        )
        self._published = cache(
            Histogram(
                "convive_publish_seconds",
                "Time until the broker confirmed an event, or did not: `confirmed`, `away`, `unroutable`.",
                ["outcome"],
                buckets=SECONDS,
                registry=registry,
            ).labels
        )
        for outcome in ("confirmed", "away", "unroutable"):
            self._published(outcome)  # shown before the first one
        self._group_writes = Histogram(
            "convive_group_commit_writes",
            "Writes that travelled to the database in one group.",
            ["collection"],
            buckets=GROUP_SIZES,
            registry=registry,
        )
        self._group_seconds = Histogram(
            "convive_group_commit_seconds",
            "Time until the database had decided a group of writes, an outage it waited out included.",
            ["collection"],
            buckets=SECONDS,
            registry=registry,
        )
        self._requests = cache(
            Histogram(
                "convive_http_request_seconds",
                "Time to answer HTTP requests, by route template.",
                ["method", "route", "status"],
                buckets=SECONDS,
                registry=registry,
            ).labels
        )
        self._connected = Gauge(
            "convive_bus_connected",
            "1 while the broker is connected, everything declared and every consumer attached.",
            registry=registry,
        )
        self._consumers = Gauge(
            "convive_bus_consumers", "Whether this process consumes from a queue now.", ["queue"], registry=registry
        )
        self._in_hand = Gauge(
            "convive_bus_messages_in_hand", "Messages taken and not yet acknowledged.", ["queue"], registry=registry
        )

    def taken(self, queue: str, key: str, outcome: str) -> None:
        """A message came to its end: see `Bus`."""
        self._taken(queue, _TYPES.get(key, "unknown"), outcome).inc()

    def published(self, outcome: str, seconds: float) -> None:
        """A publish came to its end: see `Bus`."""
        self._published(outcome).observe(seconds)

    def groups_of(self, collection: str) -> Callable[[int, float], None]:
        """The `observe` of a collection's group commit."""
        writes, seconds = self._group_writes.labels(collection), self._group_seconds.labels(collection)

        def observe(size: int, took: float) -> None:
            writes.observe(size)
            seconds.observe(took)

        return observe

    def answered(self, method: str, route: str, status: str, seconds: float) -> None:
        """A request was answered; `route` is its template and never its path."""
        self._requests(method, route, status).observe(seconds)

    def watch(self, bus: Bus) -> None:
        """Tell of the bus and its consumers from here on; register them first."""
        self._connected.set_function(lambda: float(bus.healthy))
        for queue in bus.in_hand():
            self._consumers.labels(queue).set_function(lambda: float(bus.healthy))
            self._in_hand.labels(queue).set_function(lambda queue=queue: float(bus.in_hand()[queue]))


def outbox_reading(collections: Mapping[str, Collection], now: Callable[[], datetime]) -> Read:
    """Reads the outboxes of these collections, by name."""

    async def read() -> dict[str, Samples]:
        found = {(name,): await outbox_waiting(collection, now()) for name, collection in collections.items()}
        return {
            "convive_outbox_documents": {labels: float(documents) for labels, (documents, _) in found.items()},
            "convive_outbox_oldest_age_seconds": {labels: age for labels, (_, age) in found.items()},
        }

    return read


def parked_reading(numbers: Callable[[], Awaitable[Mapping[str, int]]]) -> Read:
    """Reads how many messages are parked by fingerprint, and keeps to the largest groups."""

    async def read() -> dict[str, Samples]:
        found = sorted((await numbers()).items(), key=lambda group: (-group[1], group[0]))
        samples = {(fingerprint,): float(number) for fingerprint, number in found[:MOST_FINGERPRINTS]}
        if rest := sum(number for _, number in found[MOST_FINGERPRINTS:]):
            samples[("other",)] = float(rest)
        return {"convive_parked_messages": samples}

    return read
