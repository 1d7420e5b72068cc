"""Case `memory`: resident memory of each service idle, with 100,000 events waiting for it, and as it handles a million.

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
from tests.bench.startup import until_ready

_QUEUES = {"invitation": topology.INVITATION_EVENTS, "directory": topology.DIRECTORY_EVENTS}
_IDLE_FOR = 5.0
_LOOK_EVERY = 0.25
_STALLED_FOR = 120.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Megabytes of one service: idle; after it had handled so many; at its highest."""

    service: str
    waiting: int
    handled: int
    seconds: float
    idle: float
    after: dict[int, float]
    highest: float
    faults: list[str] = field(default_factory=list[str])

    @property
    def warm(self) -> float:
        """After a fifth: what grows from there on would go on growing."""
        return next(mb for count, mb in sorted(self.after.items()) if count >= self.handled / 5)

    @property
    def growth(self) -> float:
        """From there to the end, as a share."""
        return self.after[max(self.after)] / self.warm - 1


async def run(stage: Stage, options: Options) -> list[Footprint]:
    """Both services at the same time, with `waiting` events in each queue whenever one is filled up again."""
    await stage.clear()
    environment = stage.environment(free_port())
    services = {name: stage.child(f"the {name} service", [name], environment) for name in _QUEUES}
    for service in services.values():
        service.start()
    try:
        for name in services:
            await until_ready(int(environment[f"CONVIVE_{name.upper()}_PORT"]))
        await asyncio.sleep(_IDLE_FOR)
        idle = {name: memory(service.pid)[0] for name, service in services.items()}
        return await _work(stage, services, idle, options.waiting, options.handled)
    finally:
        await asyncio.gather(*(service.stop() for service in services.values()))


async def _work(
    stage: Stage, services: Mapping[str, Process], idle: Mapping[str, float], waiting: int, handled: int
) -> list[Footprint]:
    began = time.monotonic()
    after: dict[str, dict[int, float]] = {name: {} for name in services}
    stopped: dict[str, str] = {}
    for published in range(0, handled, waiting):
        await stage.publish(people_added(waiting, first=published))
        # As the invitation service's own: they land in the directory's queue.
        await stage.publish(invitations_sent(waiting, first=published))
        for name, service in services.items():
            if not await _handled(stage, _QUEUES[name], service):
                stopped[name] = f"it handles nothing any more: {service.last_lines(5)}"
            after[name][published + waiting] = memory(service.pid)[0] if service.alive else 0.0
        print(
            f"  {published + waiting:,}: { ({name: after[name][published + waiting] for name in after}) }", flush=True
        )
        if stopped:
            break
    taken_in = await stage.stored()
    found: list[Footprint] = []
    for name, service in services.items():
        faults = [stopped[name]] if name in stopped else []
        if name == "invitation" and taken_in != max(after[name]):
            faults.append(f"invitations recorded: {taken_in} instead of {max(after[name])}")
        highest = memory(service.pid)[1] if service.alive else 0.0
        seconds = time.monotonic() - began
        found.append(Footprint(name, waiting, max(after[name]), seconds, idle[name], after[name], highest, faults))
    return found


async def _handled(stage: Stage, queue: str, service: Process) -> bool:
    """Return when the queue is empty; False when it has not become shorter for a while."""
    left, since = await stage.ready(queue), time.monotonic()
    while left:
        await asyncio.sleep(_LOOK_EVERY)
        now = await stage.ready(queue)
        if now != left:
            left, since = now, time.monotonic()
        elif time.monotonic() - since > _STALLED_FOR or not service.alive:
            return False
    return True


# --- what it says of them ---------------------------------------------------------------------------------------------

TITLE = "Memory"
METHOD = """\
Both services run at once. {waiting:,} `user.created` wait for the one and as many `invitation.sent` for the other, and
when they are handled as many again, until each has handled {handled:,}. The mail server refuses connections, so that
the invitation service has all of them on its hands. Growth is counted from the first fifth on. Resident memory (VmRSS,
VmHWM)."""


def chapter(results: Sequence[Footprint]) -> list[str]:
    """Idle, at the highest, and how it goes on."""
    lines = [
        "| service | highest | bar | | idle | after the first fifth | at the end | growth | bar | | handled |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {one.service} | {one.highest:.0f} MB | ≤ 120 MB | {verdict(one.highest <= 120)} | {one.idle:.0f} MB"
        f" | {one.warm:.0f} MB | {one.after[max(one.after)]:.0f} MB | {100 * one.growth:.1f} % | ≤ 5 %"
        f" | {verdict(one.growth <= 0.05)} | {one.handled:,} in {one.seconds:.0f} s |"
        for one in results
    ]
    return lines + told_faults(f"{one.service}: {fault}" for one in results for fault in one.faults)
