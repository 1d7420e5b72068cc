"""Case `replay`: the events of the log handled again by a system that knows them, and by one that has lost everything,
beside taking the same events in for the first time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from deploy.local.addresses import free_port
from deploy.local.processes import Process
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.samples import people_added
from tests.bench.stage import Stage
from tests.bench.startup import until_ready

INTAKE, KNOWN, REBUILT = "taken in", "replayed where all is known", "rebuilt where all is lost"
_LOOK_EVERY = 0.25
"""Seconds. A rebuild keeps a core busy, and each look takes some of it."""


@dataclass(frozen=True, slots=True)
class Handled:
    """So many events handled in one way, once."""

    way: str
    events: int
    seconds: float
    fault: str | None


async def run(stage: Stage, options: Options) -> list[Handled]:
    """Rounds of a fifth of `waiting`, then of all of them."""
    results: list[Handled] = []
    for events in [options.waiting // 5] * options.repeat + [options.waiting] * options.repeat:
        results += await _one(stage, events)
        print("  " + ", ".join(f"{one.way} {one.events / one.seconds:,.0f}/s" for one in results[-3:]), flush=True)
    return results


async def _one(stage: Stage, events: int) -> list[Handled]:
    await stage.clear()
    # Of today: a rebuild counts expiries from when it was said, and would have them all on its hands.
    await stage.publish(people_added(events, at=datetime.now(UTC)))
    environment = stage.environment(free_port())
    async with _service(stage, environment) as replay:
        began = await stage.first_taken(events, replay.process)
        await stage.until_stored(events, replay.process)
        taken_in = Handled(INTAKE, events, time.monotonic() - began, None)
        known = await replay(KNOWN, events, "nothing_to_change")
    await stage.lose_database()
    async with _service(stage, environment) as replay:
        rebuilt = await replay(REBUILT, events, None)
        stored = await stage.count_invitations({"state": "pending"})
        if stored != events:
            rebuilt = Handled(REBUILT, events, rebuilt.seconds, f"pending: {stored} instead of {events}")
    return [taken_in, known, rebuilt]


class _Service:
    """The invitation service, and its operator."""

    def __init__(self, process: Process, port: int, http: aiohttp.ClientSession) -> None:
        self.process = process
        self._port = port
        self._http = http

    async def __call__(self, way: str, events: int, skipped: str | None) -> Handled:
        await until_ready(self._port)
        asked = {"from": "log", "filter": {"type": ["user.created"]}, "reason": "measured"}
        began = time.monotonic()
        async with self._http.post("/v1/replays", json=asked) as answer:
            answer.raise_for_status()
            id = (await answer.json())["id"]
        while (seen := await self._seen(id))["status"] not in ("done", "failed", "aborted"):
            await asyncio.sleep(_LOOK_EVERY)
        seconds = time.monotonic() - began
        counted = seen["done"] if skipped is None else seen["skipped"].get(skipped, 0)
        whole = seen["status"] == "done" and counted == events
        return Handled(way, events, seconds, None if whole else f"{way}: {seen}")

    async def _seen(self, id: str) -> Any:
        async with self._http.get(f"/v1/replays/{id}") as answer:
            answer.raise_for_status()
            return await answer.json()


@asynccontextmanager
async def _service(stage: Stage, environment: Mapping[str, str]) -> AsyncGenerator[_Service]:
    process = stage.child("the invitation service", ["invitation"], environment)
    process.start()
    headers = {"Authorization": f"Bearer {environment['CONVIVE_OPS_TOKEN']}"}
    try:
        async with aiohttp.ClientSession(environment["CONVIVE_INVITATION_URL"], headers=headers) as http:
            yield _Service(process, int(environment["CONVIVE_INVITATION_PORT"]), http)
    finally:
        await process.stop()


# --- what it says of them ---------------------------------------------------------------------------------------------

TITLE = "Replaying the log"
METHOD = """\
The same events three times, by one process: taken in from the queue, nothing listening at the mail server's address;
replayed from the log into the database that knows them; and, after the database is gone, replayed into an empty one,
which rebuilds it, to the moment at which what is still due comes due.
Rounds of a fifth of {waiting:,}, then of all of them."""


def chapter(results: Sequence[Handled]) -> list[str]:
    """Ratios to taking in, of each round."""
    sizes = dict.fromkeys(one.events for one in results)
    lines = [
        "| as a multiple of taking in | events | median | lowest to highest | bar | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]

    def of(way: str, events: int) -> list[float]:
        return [one.events / one.seconds for one in results if (one.way, one.events) == (way, events)]

    for events in sizes:
        for way in (KNOWN, REBUILT):
            value, low, high = middle(
                [ours / base for ours, base in zip(of(way, events), of(INTAKE, events), strict=True)]
            )
            lines.append(
                f"| {way} | {events:,} | {value:.2f} × | {low:.2f} to {high:.2f} | ≥ 1 × | {verdict(value >= 1)} |"
            )
    lines += ["", "| way | events | per second | from … to |", "| --- | --- | --- | --- |"]
    for events in sizes:
        for way in (INTAKE, KNOWN, REBUILT):
            rate, low, high = middle(of(way, events))
            lines.append(f"| {way} | {events:,} | {rate:,.0f} | {low:,.0f} to {high:,.0f} |")
    return lines + told_faults(one.fault for one in results if one.fault)
