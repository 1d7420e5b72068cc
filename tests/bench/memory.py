"""Case `memory`: resident memory of each service while 100,000 events wait for it and are worked through.

The mail server refuses connections, so the invitation service takes all of them in and can send none. The directory
has as many `invitation.sent` to read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from convive_contracts import topology
from deploy.local.addresses import free_port
from deploy.local.processes import Process
from tests.bench.case import Options, told_faults, verdict
from tests.bench.processes import memory
from tests.bench.samples import invitations_sent, people_added
from tests.bench.stage import Stage

_QUEUES = {"invitation": topology.INVITATION_EVENTS, "directory": topology.DIRECTORY_EVENTS}
_LOOK_EVERY = 0.25
_LOOK_LONGER = 5.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Megabytes of one service: at its start, in the middle of its samples, at its highest, at the end."""

    service: str
    waiting: int
    worked_through: int
    seconds: float
    at_start: float
    median: float
    highest: float
    at_end: float
    faults: list[str] = field(default_factory=list[str])


async def run(stage: Stage, options: Options) -> list[Footprint]:
    """Both services at the same time; stops looking after `--within` seconds, and says how far they have come."""
    waiting = options.waiting
    await stage.clear()
    await stage.publish(people_added(waiting))
    # As the invitation service's own: they land in the directory's queue.
    await stage.publish(invitations_sent(waiting))
    environment = stage.environment(free_port())
    services = {name: stage.child(f"the {name} service", [name], environment) for name in _QUEUES}
    for service in services.values():
        service.start()
    try:
        return await _watch(stage, services, waiting, options.within)
    finally:
        await asyncio.gather(*(service.stop() for service in services.values()))


async def _watch(stage: Stage, services: Mapping[str, Process], waiting: int, within: float) -> list[Footprint]:
    began = time.monotonic()
    samples: dict[str, list[float]] = {name: [] for name in services}
    left = dict.fromkeys(services, waiting)
    done_at: dict[str, float] = {}
    while time.monotonic() - began < within and not all(
        name in done_at and time.monotonic() - done_at[name] > _LOOK_LONGER for name in services
    ):
        await asyncio.sleep(_LOOK_EVERY)
        for name, service in services.items():
            if service.alive:
                samples[name].append(memory(service.pid)[0])
            left[name] = await stage.ready(_QUEUES[name])
            if left[name] == 0:
                done_at.setdefault(name, time.monotonic())
    taken_in = await stage.count_invitations()
    found: list[Footprint] = []
    for name, service in services.items():
        faults = [] if service.alive else [f"it ended: {service.last_lines(5)}"]
        worked_through = waiting - left[name]
        if name == "invitation" and left[name] == 0 and taken_in != waiting:
            faults.append(f"invitations recorded: {taken_in} instead of {waiting}")
        seen = sorted(samples[name])
        found.append(
            Footprint(
                service=name,
                waiting=waiting,
                worked_through=worked_through,
                seconds=done_at.get(name, time.monotonic()) - began,
                at_start=samples[name][min(4, len(seen) - 1)],
                median=seen[len(seen) // 2],
                highest=memory(service.pid)[1] if service.alive else max(seen),
                at_end=samples[name][-1],
                faults=faults,
            )
        )
    return found


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "Memory while events wait"
METHOD = """\
Both services run at once; {waiting:,} `user.created` wait for the one, as many `invitation.sent` for the other. The
mail server refuses connections. Resident memory (VmRSS, VmHWM)."""


def chapter(results: Sequence[Footprint]) -> list[str]:
    lines = [
        "| service | highest | bar | | at start | median | at the end | worked through |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.service} | {one.highest:.0f} MB | < 120 MB | {verdict(one.highest < 120)} | {one.at_start:.0f} MB"
        f" | {one.median:.0f} MB | {one.at_end:.0f} MB | {one.worked_through:,} of {one.waiting:,}"
        f" in {one.seconds:.0f} s |"
        for one in results
    ]
    return lines + told_faults(f"{one.service}: {fault}" for one in results for fault in one.faults)
