"""Case `round_trips`: database commands per invitation, one at a time and under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from uuid import uuid4

from tests.bench.case import Options, told_faults, verdict
from tests.bench.counting import FILE_VARIABLE, CommandCounts
from tests.bench.samples import people_added
from tests.bench.sent import Watch
from tests.bench.sink import mail_sink
from tests.bench.stage import Stage

_QUIET_SECONDS = 10.0
_ONE_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class Trips:
    """Commands per invitation by name, without those that an idle worker sends anyway (`idle_per_second`)."""

    way: str
    invitations: int
    per_invitation: float
    by_command: dict[str, float] = field(default_factory=dict[str, float])
    idle_per_second: dict[str, float] = field(default_factory=dict[str, float])
    faults: list[str] = field(default_factory=list[str])


async def run(stage: Stage, options: Options) -> list[Trips]:
    """Both ways, in one worker each."""
    file = stage.folder / f"counts-{uuid4().hex[:8]}"
    alone, idle = await _alone(stage, _ONE_AT_A_TIME, file)
    loaded = await _loaded(stage, options.events, idle, stage.folder / f"counts-{uuid4().hex[:8]}")
    return [alone, loaded]


async def _alone(stage: Stage, count: int, file: Path) -> tuple[Trips, dict[str, float]]:
    await stage.clear()
    counts = CommandCounts(file)
    async with mail_sink(stage.folder) as sink:
        environment = stage.environment(sink.port, **{FILE_VARIABLE: str(file)})
        worker = stage.child("counted worker", ["tests.bench.counted_worker", "--role", "worker"], environment)
        worker.start()
        try:
            # The first one also says that it is up; what starting costs is not counted.
            await _one(stage, 0)
            await asyncio.sleep(1)
            before, began = counts.read(), time.monotonic()
            await asyncio.sleep(_QUIET_SECONDS)
            idle = _per_second(before, counts.read(), time.monotonic() - began)
            before, began = counts.read(), time.monotonic()
            for number in range(1, count + 1):
                await _one(stage, number)
            took, after = time.monotonic() - began, counts.read()
            sent = await stage.count_invitations({"state": "sent", "outbox": []})
        finally:
            await worker.stop()
    faults = [] if sent == count + 1 else [f"recorded as sent, with nothing left to publish: {sent} of {count + 1}"]
    return _trips("one at a time", count, before, after, took, idle, faults), idle


async def _one(stage: Stage, number: int) -> None:
    """Publish one event and wait until everything that follows from it is done, the outbox emptied."""
    await stage.publish(people_added(1, first=number))
    async with asyncio.timeout(30):
        while await stage.count_invitations({"state": "sent", "outbox": []}) <= number:
            await asyncio.sleep(0.005)


async def _loaded(stage: Stage, events: int, idle: dict[str, float], file: Path) -> Trips:
    await stage.clear()
    await stage.publish(people_added(events))
    counts = CommandCounts(file)
    async with mail_sink(stage.folder) as sink:
        environment = stage.environment(sink.port, **{FILE_VARIABLE: str(file)})
        worker = stage.child("counted worker", ["tests.bench.counted_worker", "--role", "worker"], environment)
        worker.start()
        try:
            watch = Watch(stage, events)
            await watch.until_taken(worker)
            before, began = counts.read(), time.monotonic()
            await watch.until_sent(worker, within=max(60, events / 20))
            while await stage.count_invitations({"outbox.0": {"$exists": True}}):
                await asyncio.sleep(0.1)
            took, after = time.monotonic() - began, counts.read()
            sent = await stage.count_invitations({"state": "sent", "outbox": []})
        finally:
            await worker.stop()
    faults = [] if sent == events else [f"recorded as sent, with nothing left to publish: {sent} of {events}"]
    return _trips("under load", events, before, after, took, idle, faults)


def _per_second(before: dict[str, int], after: dict[str, int], seconds: float) -> dict[str, float]:
    return {name: (after[name] - before[name]) / seconds for name in after if after[name] > before[name]}


def _trips(
    way: str,
    count: int,
    before: dict[str, int],
    after: dict[str, int],
    seconds: float,
    idle: dict[str, float],
    faults: list[str],
) -> Trips:
    # Whole commands: an idle worker that looks once a second has looked a sixth time after 5.2 seconds, or not.
    by_command = {
        name: max(after[name] - before[name] - ceil(idle.get(name, 0) * seconds), 0) / count
        for name in after
        if after[name] > before[name]
    }
    return Trips(way, count, sum(by_command.values()), by_command, idle, faults)


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "Round trips to the database"
METHOD = """\
A listener in the worker counts the commands its drivers send (heartbeats are none). One at a time: each event is
published when everything that follows from the one before is done, its outbox entry pulled. Under load: {events:,}
events wait when the worker starts."""


def chapter(results: Sequence[Trips]) -> list[str]:
    lines = ["| database commands per invitation | | bar | | by command |", "| --- | --- | --- | --- | --- |"]
    for one, bar in zip(results, (4.0, 0.1), strict=True):
        parts = ", ".join(f"{name} {count:.3f}" for name, count in one.by_command.items())
        lines.append(
            f"| {one.way} ({one.invitations} invitations) | {one.per_invitation:.3f} | ≤ {bar:g}"
            f" | {verdict(one.per_invitation <= bar)} | {parts} |"
        )
    idle = ", ".join(f"{name} {count:.1f}" for name, count in results[0].idle_per_second.items())
    lines += ["", f"An idle worker sends, per second: {idle or 'nothing'}. That is subtracted above."]
    return lines + told_faults(f"{one.way}: {fault}" for one in results for fault in one.faults)
