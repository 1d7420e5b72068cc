"""Carries the plan out, and measures after each fault how long it took until the system worked again."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.processes import Process
from tests.chaos.plan import BROKER, DATABASE, Fault, Kind, repeats_allowed
from tests.chaos.stage import Stage

_SLOWED_BY = 0.25
_RECOVERS_WITHIN = 180.0


@dataclass(slots=True)
class Incident:
    """A fault as it was carried out. Times by the monotonic clock; `recovery` in seconds, None when it never came.
    `allowed`: how many mails it may have sent twice."""

    fault: Fault
    begin: float
    end: float = 0.0
    recovery: float | None = None
    allowed: int = 0


def say(text: str) -> None:
    """Progress is for whoever watches; what was found goes to stdout."""
    print(text, file=sys.stderr, flush=True)


class Trouble:
    """`probe(number)` has somebody invited and returns when that invitation is sent."""

    def __init__(self, stage: Stage, plan: Sequence[Fault], probe: Callable[[int], Awaitable[None]]) -> None:
        self.incidents: list[Incident] = []
        self._stage = stage
        self._plan = plan
        self._probe = probe
        self._locks: dict[str, asyncio.Lock] = {}
        self._recoveries: list[asyncio.Task[None]] = []

    async def run(self, began: float) -> None:
        """Carry out every fault at its time; returns when the last is over."""
        async with asyncio.TaskGroup() as faults:
            for fault in self._plan:
                await asyncio.sleep(max(began + fault.at - time.monotonic(), 0.0))
                faults.create_task(self._carry_out(fault, began))

    async def recovered(self) -> None:
        """Return when the system has recovered from each fault, or will not."""
        if self._recoveries:
            await asyncio.wait(self._recoveries)

    async def _carry_out(self, fault: Fault, began: float) -> None:
        # Always in the same order, so that two faults that meet never wait for each other.
        locks = [self._locks.setdefault(target, asyncio.Lock()) for target in sorted(fault.targets)]
        for lock in locks:
            await lock.acquire()
        incident = Incident(fault, time.monotonic())
        self.incidents.append(incident)
        say(f"{incident.begin - began:7.1f} s  begins  {fault}")
        try:
            await self._do(fault)
            incident.end = time.monotonic()
            back = [asyncio.create_task(self._end(fault, target)) for target in fault.targets]
            self._recoveries.append(asyncio.create_task(self._recover(incident, began)))
            await asyncio.gather(*back)
            incident.allowed = repeats_allowed(fault, time.monotonic() - incident.begin)
        finally:
            for lock in locks:
                lock.release()

    async def _recover(self, incident: Incident, began: float) -> None:
        try:
            async with asyncio.timeout(_RECOVERS_WITHIN):
                await self._probe(incident.fault.number)
        except TimeoutError:
            say(f"{time.monotonic() - began:7.1f} s  no recovery from #{incident.fault.number}")
            return
        incident.recovery = time.monotonic() - incident.end
        say(f"{time.monotonic() - began:7.1f} s  recovered from #{incident.fault.number} in {incident.recovery:.1f} s")

    async def _do(self, fault: Fault) -> None:
        """Begin the trouble and keep it up for as long as it lasts."""
        stage = self._stage
        match fault.kind:
            case Kind.KILL | Kind.TERMINATE:
                stage.down |= set(fault.targets)
                await asyncio.gather(*(self._end_program(target, fault.kind) for target in fault.targets))
            case Kind.PAUSE:
                for target in fault.targets:
                    self._process(target).pause()
            case Kind.CUT:
                for target in fault.targets:
                    stage.lines[target].cut()
            case Kind.SLOW:
                for target in fault.targets:
                    stage.lines[target].delay = _SLOWED_BY
            case Kind.HALF_OPEN:
                for target in fault.targets:
                    stage.lines[target].freeze()
            case trouble:
                stage.sink.make_trouble(trouble)
        await asyncio.sleep(fault.lasts)

    async def _end(self, fault: Fault, target: str) -> None:
        """End the trouble; what this returns after is only that a program answers again."""
        stage = self._stage
        match fault.kind:
            case Kind.KILL | Kind.TERMINATE:
                stage.down.discard(target)
                await self._start_program(target)
            case Kind.PAUSE:
                self._process(target).resume()
            case Kind.CUT:
                pass
            case Kind.SLOW:
                stage.lines[target].delay = 0.0
            case Kind.HALF_OPEN:
                # What was held back is lost with the connections, as when a firewall forgot them.
                stage.lines[target].cut()
                stage.lines[target].thaw()
            case _:
                stage.sink.make_trouble(None)

    async def _end_program(self, target: str, kind: Kind) -> None:
        engine = self._engine(target)
        if kind is Kind.TERMINATE:
            await (engine.stop() if engine else self._stage.services[target].stop(grace=20))
        elif engine:
            engine.kill()
        else:
            self._stage.services[target].process.kill()

    async def _start_program(self, target: str) -> None:
        engine = self._engine(target)
        if engine:
            await engine.start()
        else:
            self._stage.services[target].process.start()

    def _engine(self, target: str) -> Broker | Database | None:
        return {BROKER: self._stage.broker, DATABASE: self._stage.database}.get(target)

    def _process(self, target: str) -> Process:
        engine = self._engine(target)
        return engine.server if engine else self._stage.services[target].process
