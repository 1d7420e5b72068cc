"""Gauges that are read from the database: when somebody scrapes, not more often than every 15 seconds, never twice at
once, and never because a message came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from convive_kit.errors import ConviveError
from convive_kit.logs import get_logger

log = get_logger(__name__)

Samples = Mapping[tuple[str, ...], float]
"""A gauge's values by the values of its labels."""
Read = Callable[[], Awaitable[Mapping[str, Samples]]]
"""Reads gauges, by name."""
_PATIENCE = 30.0
_NOTHING: Samples = {}


@dataclass(frozen=True, slots=True)
class Declared:
    """A gauge, and the reading that fills it."""

    reading: str
    name: str
    meaning: str
    labels: Sequence[str] = ()


_OUTCOME = (
    Declared("", "convive_reading_success", "Whether the last reading from the database succeeded.", ("reading",)),
    Declared(
        "", "convive_reading_timestamp_seconds", "When a reading last succeeded, in seconds since 1970.", ("reading",)
    ),
)


class Readings(Collector):
    """What is read for a scrape. What cannot be read is left out, and `convive_reading_success` says so: a gauge that
    is not there is better than one that was right an hour ago."""

    def __init__(
        self,
        registry: CollectorRegistry,
        declared: Sequence[Declared],
        *,
        fresh: float = 15.0,
        patience: float = 3.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Seconds: what was read within `fresh` is told again, and a scrape waits at most `patience` for a reading."""
        self.declared = [*declared, *_OUTCOME]
        self._fresh = fresh
        self._patience = patience
        self._monotonic = monotonic
        self._reads: dict[str, Read] = {}
        self._values: dict[str, Samples] = {}
        self._success: dict[tuple[str, ...], float] = {}
        self._when: dict[tuple[str, ...], float] = {}
        self._reading: asyncio.Task[None] | None = None
        self._fresh_until = 0.0
        registry.register(self)

    def fill(self, reading: str, read: Read) -> None:
        """Have `read` fill the gauges of a reading."""
        self._reads[reading] = read

    async def refresh(self) -> None:
        """Read anew what is no longer fresh. What takes long goes on, and shows at the next scrape."""
        if self._reading is None or (self._reading.done() and self._monotonic() >= self._fresh_until):
            self._reading = asyncio.create_task(self._read_all(), name="readings")
        await asyncio.wait([self._reading], timeout=self._patience)

    async def _read_all(self) -> None:
        await asyncio.gather(*(self._read(reading, read) for reading, read in self._reads.items()))
        self._fresh_until = self._monotonic() + self._fresh

    async def _read(self, reading: str, read: Read) -> None:
        values: Mapping[str, Samples] = {}
        try:
            async with asyncio.timeout(_PATIENCE):
                values = await read()
        except Exception as error:
            # Whatever it was, the other readings and the rest of /metrics are there.
            cause = error.slug if isinstance(error, ConviveError) else type(error).__name__
            log.warning("metrics.reading_failed", reading=reading, cause=cause)
            self._success[(reading,)] = 0.0
        else:
            self._success[(reading,)] = 1.0
            self._when[(reading,)] = time.time()
        for gauge in self.declared:
            if gauge.reading == reading:
                self._values[gauge.name] = values.get(gauge.name, _NOTHING)

    def describe(self) -> Iterable[Metric]:
        """The names, for the registry to keep them apart."""
        return [GaugeMetricFamily(gauge.name, gauge.meaning, labels=gauge.labels) for gauge in self.declared]

    def collect(self) -> Iterable[Metric]:
        """What was read last."""
        values = dict(self._values)
        values[_OUTCOME[0].name] = self._success
        values[_OUTCOME[1].name] = self._when
        for gauge in self.declared:
            family = GaugeMetricFamily(gauge.name, gauge.meaning, labels=gauge.labels)
            for labels, value in values.get(gauge.name, _NOTHING).items():
                family.add_metric(labels, value)
            yield family
