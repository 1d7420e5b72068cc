"""Case `sent`: invitations per second from a published `user.created` to a recorded `sent` with its event published."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from convive_contracts import topology
from deploy.local.processes import Process
from deploy.local.trouble import CannotStart
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.peers import node_usual
from tests.bench.processes import cpu_seconds, memory_of_all
from tests.bench.samples import people_added
from tests.bench.sink import Sink, mail_sink
from tests.bench.stage import Stage

PRODUCT, PEER, FLOOR = "Convive, one process", "FastStream, usual way", "raw batched floor"
DECIDING = "raw floor that decides too"
PREPARED, CELERY, NODE = "FastStream, prepared mails", "Celery and pymongo", "Node, usual way"
CONTENDERS: Mapping[str, Sequence[str]] = {
    PRODUCT: ("invitation", "--role", "worker"),
    PEER: ("tests.bench.peers.faststream_usual",),
    PREPARED: ("tests.bench.peers.faststream_prepared",),
    CELERY: ("tests.bench.peers.celery_usual",),
    NODE: ("tests.bench.peers.node_usual",),
    FLOOR: ("tests.bench.peers.raw_floor",),
    DECIDING: ("tests.bench.peers.raw_deciding",),
}
BARS = {PEER: 6.0, PREPARED: 3.0, CELERY: 6.0, NODE: 2.0, FLOOR: 0.8}
"""The product's rate must be so many times theirs."""
_LOOK_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """One contender, once. Rates per second; CPU in milliseconds per invitation, of the contender's own processes and
    of broker, database and mail sink beside it."""

    contender: str
    events: int
    seconds: float
    rate: float
    rate_of_the_middle: float
    cpu_ms: float
    broker_cpu_ms: float
    database_cpu_ms: float
    sink_cpu_ms: float
    highest_mb: float
    faults: list[str] = field(default_factory=list[str])


class Watch:
    """Looks at the two queues from outside, 50 times a second."""

    def __init__(self, stage: Stage, events: int) -> None:
        self._stage = stage
        self._events = events
        self._seen: list[tuple[float, int]] = []
        self.began = 0.0

    async def until_taken(self, process: Process, within: float = 30) -> None:
        """Return when the first event was taken from the queue. Raises CannotStart when none is."""
        deadline = time.monotonic() + within
        while True:
            looked = time.monotonic()
            if await self._stage.ready(topology.INVITATION_EVENTS) < self._events:
                return
            self.began = looked
            if looked > deadline or not process.alive:
                raise CannotStart(
                    f"{process.name} takes nothing from its queue. Its last words:\n{process.last_lines()}"
                )
            await asyncio.sleep(_LOOK_EVERY)

    async def until_sent(self, *processes: Process, within: float) -> None:
        """Return when as many `invitation.sent` were published as events were waiting, or when that will not happen."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and any(process.alive for process in processes):
            sent = await self._stage.ready(topology.DIRECTORY_EVENTS)
            self._seen.append((time.monotonic(), sent))
            if sent >= self._events:
                return
            await asyncio.sleep(_LOOK_EVERY)

    def reached(self, share: float) -> float:
        """When that share was published; between two looks, evenly."""
        wanted = self._events * share
        before, count_before = self.began, 0
        for at, count in self._seen:
            if count >= wanted:
                if count == count_before:
                    return at
                return before + (at - before) * (wanted - count_before) / (count - count_before)
            before, count_before = at, count
        return before


async def measure(stage: Stage, contender: str, events: int, *, more: Mapping[str, str] | None = None) -> Run:
    """Let one contender work through `events` that wait in the queue when it starts."""
    await stage.clear()
    await stage.publish(people_added(events))
    async with mail_sink(stage.folder) as sink:
        told = {"BENCH_MAIL": str(stage.folder / "mail.json"), **(more or {})}
        process = stage.child("contender", list(CONTENDERS[contender]), stage.environment(sink.port, **told))
        process.start()
        try:
            watch = Watch(stage, events)
            await watch.until_taken(process)
            parts = {"own": process.pid, "sink": sink.process.pid, **stage.pids}
            before = {part: cpu_seconds(pid) for part, pid in parts.items()}
            await watch.until_sent(process, within=max(60, events / 20))
            cpu = {part: 1000 * (cpu_seconds(pid) - before[part]) / events for part, pid in parts.items()}
            highest = memory_of_all(process.pid)
            faults = await found_faulty(stage, sink, events)
        finally:
            await process.stop()
    if process.exit_code != 0:
        faults.append(f"it ended with code {process.exit_code}: {process.last_lines(5)}")
    seconds = watch.reached(1) - watch.began
    return Run(
        contender=contender,
        events=events,
        seconds=seconds,
        rate=events / seconds,
        rate_of_the_middle=0.8 * events / max(watch.reached(0.9) - watch.reached(0.1), _LOOK_EVERY),
        cpu_ms=cpu["own"],
        broker_cpu_ms=cpu["broker"],
        database_cpu_ms=cpu["database"],
        sink_cpu_ms=cpu["sink"],
        highest_mb=highest,
        faults=faults,
    )


async def left_in_outboxes(stage: Stage) -> int:
    """How many documents still have something to publish or to clear after a moment for that."""
    deadline = time.monotonic() + 10
    while (left := await stage.count_invitations({"outbox.0": {"$exists": True}})) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    return left


async def found_faulty(stage: Stage, sink: Sink, events: int) -> list[str]:
    """What is not as it must be at the end; the outboxes are given a moment to be emptied."""
    waiting = await left_in_outboxes(stage)
    counted = {
        "invitations recorded as sent": await stage.count_invitations({"state": "sent"}),
        "events published": await stage.ready(topology.DIRECTORY_EVENTS),
        "mails taken": sink.mails(),
    }
    faults = [f"{what}: {count} instead of {events}" for what, count in counted.items() if count != events]
    if waiting:
        faults.append(f"outboxes not empty: {waiting}")
    return faults


async def run(stage: Stage, options: Options) -> list[Run]:
    """All contenders in turn, several times, so that drift of the machine hits all alike."""
    contenders = list(CONTENDERS)
    if reason := node_usual.left_out():
        print(f"  {NODE} is left out: {reason}", flush=True)
        contenders.remove(NODE)
    runs: list[Run] = []
    for number in range(options.repeat):
        # Every other round the other way round: nobody always comes first.
        for contender in contenders[:: 1 if number % 2 == 0 else -1]:
            done = await measure(stage, contender, options.events)
            print(
                f"  {done.contender:30} {done.rate:6.0f}/s   CPU each: {done.cpu_ms:.2f} ms, broker "
                f"{done.broker_cpu_ms:.2f}, database {done.database_cpu_ms:.2f}, sink {done.sink_cpu_ms:.2f}"
                f"{'   FAULTY: ' + '; '.join(done.faults) if done.faults else ''}",
                flush=True,
            )
            runs.append(done)
    return runs


def of(runs: Sequence[Run], contender: str) -> list[Run]:
    """The runs of one contender, in order."""
    return [run for run in runs if run.contender == contender]


def ratios(runs: Sequence[Run], to: str) -> list[float]:
    """The product's rate over another's, round by round."""
    return [ours.rate / theirs.rate for ours, theirs in zip(of(runs, PRODUCT), of(runs, to), strict=True)]


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "From `user.created` to `sent`, recorded and published"
METHOD = """\
{events:,} events are published before a contender starts. The clock runs from its taking the first of them to the
last `invitation.sent` in the queue of the directory, both seen from outside by asking the broker for the lengths of
the two queues 50 times a second. So the rate covers everything: taking in, sending, recording, publishing; start-up
is not in it. (Convive takes events in faster than it sends, so the rate between the 10 % and the 90 % mark of the
published events flatters it; it is shown beside.) The raw floor that decides too makes the floor's calls with
documents, updates, events and mails that are each made from what it reads, by the product's own code: it has no bar,
and says what is to be had with these clients. The contenders take turns on the same broker and database,
emptied each time. After each run it is checked that all invitations are `sent` in the database, that no outbox
holds anything, and that as many events were published and mails taken as events had been there. CPU is user and
system time of the processes over the same span. The mails go to {sink}.

What the peers do, and what they would lose in a crash: [tests/bench/peers](../tests/bench/peers/README.md)."""


def chapter(results: Sequence[Run]) -> list[str]:
    """Ratios first, then the rates behind them."""
    lines = ["| Convive, as a multiple of | median | lowest to highest | bar | |", "| --- | --- | --- | --- | --- |"]
    for to, bar in BARS.items():
        if of(results, to) and of(results, PRODUCT):
            value, low, high = middle(ratios(results, to))
            lines.append(f"| {to} | {value:.2f} × | {low:.2f} to {high:.2f} | ≥ {bar:g} × | {verdict(value >= bar)} |")
    lines += [
        "",
        "| contender | per second | from … to | 10 % to 90 % | own CPU each | broker | database | sink | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for contender in CONTENDERS:
        if mine := of(results, contender):
            rate, low, high = middle([run.rate for run in mine])
            inner = middle([run.rate_of_the_middle for run in mine])[0]
            cpu = (
                f"{middle([getattr(run, name) for run in mine])[0]:.2f} ms"
                for name in ("cpu_ms", "broker_cpu_ms", "database_cpu_ms", "sink_cpu_ms")
            )
            most = max(run.highest_mb for run in mine)
            lines.append(
                f"| {contender} | {rate:.0f} | {low:.0f} to {high:.0f} | {inner:.0f} | {' | '.join(cpu)}"
                f" | {most:.0f} MB |"
            )
    return lines + told_faults(f"{run.contender}: {fault}" for run in results for fault in run.faults)
