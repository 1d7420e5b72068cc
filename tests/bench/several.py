"""Case `processes`: what several worker processes of the service do together, and what that costs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from deploy.local.addresses import free_port
from deploy.local.processes import Process
from tests.bench import stranger
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.processes import cpu_seconds, memory
from tests.bench.samples import people_added
from tests.bench.sent import CONTENDERS, PRODUCT, Watch, found_faulty, left_in_outboxes
from tests.bench.sink import mail_sink
from tests.bench.stage import Stage
from tests.bench.startup import is_ready

TITLE = "Several processes"
METHOD = """\
As many processes of `invitation --role worker` as are named start on an empty queue and work through 250 events each,
so that what a process does once is done: what it loads with the first mail, its connections. Then they are stopped
(SIGSTOP), {events:,} events are published, and all go on at the same moment (SIGCONT), at which the clock starts; it
ends with the last `invitation.sent` in the queue of the directory. CPU is user and system time over that span, of all
of them together. They share the cores with broker, database and mail sink, so the rate says little of what more cores
would give; what an invitation costs depends on that less, but it does: in the last row one process works while three
programs that have nothing to do with it, parsing JSON, want the cores too. What it costs more there is what sharing
the cores costs, for its work is that of one alone. Afterwards it is checked that all invitations are `sent`, that no
outbox holds anything, and that as many events were published and mails taken as events had been there. The mails go
to {sink}."""

PROCESSES = (1, 2, 4)
STRANGERS = PROCESSES[-1] - 1
TOGETHER = (*((processes, 0) for processes in PROCESSES), (1, STRANGERS))
"""How many processes, beside how many strangers."""
WARM = 250
"""How many events each process has worked through before."""
BAR = 1.10
"""What an invitation may cost with the most processes, as a multiple of what it costs with one."""


@dataclass(frozen=True, slots=True)
class Together:
    """So many processes, once. CPU in milliseconds per invitation; that of the service is all its processes'."""

    processes: int
    strangers: int
    events: int
    seconds: float
    rate: float
    cpu_ms: float
    broker_cpu_ms: float
    database_cpu_ms: float
    sink_cpu_ms: float
    highest_mb: float
    """Of the process that took the most memory."""
    faults: list[str] = field(default_factory=list[str])


async def run(stage: Stage, options: Options) -> list[Together]:
    """Each in turn, every other round the other way round."""
    results: list[Together] = []
    for number in range(options.repeat):
        for processes, strangers in TOGETHER if number % 2 == 0 else reversed(TOGETHER):
            done = await measure(stage, processes, options.events, strangers=strangers)
            print(
                f"  {_called(processes, strangers):22} {done.rate:6.0f}/s   CPU each: {done.cpu_ms:.2f} ms, broker "
                f"{done.broker_cpu_ms:.2f}, database {done.database_cpu_ms:.2f}, sink {done.sink_cpu_ms:.2f}"
                f"{'   FAULTY: ' + '; '.join(done.faults) if done.faults else ''}",
                flush=True,
            )
            results.append(done)
    return results


async def measure(stage: Stage, processes: int, events: int, *, strangers: int = 0) -> Together:
    """Let so many processes work through `events` together, beside so many strangers, all ready when it begins."""
    await stage.clear()
    async with mail_sink(stage.folder) as sink:
        ports: list[int] = []
        workers: list[Process] = []
        for number in range(processes):
            ports.append(free_port([sink.port, *ports]))
            environment = stage.environment(sink.port, CONVIVE_INVITATION_PORT=str(ports[-1]))
            workers.append(stage.child(f"worker {number}", list(CONTENDERS[PRODUCT]), environment))
        others = [stage.child(f"stranger {number}", [stranger.__name__], {}) for number in range(strangers)]
        try:
            for worker in workers:
                worker.start()
            for worker, port in zip(workers, ports, strict=True):
                await _until_ready(worker, port)
            warm = WARM * processes
            await stage.publish(people_added(warm))
            await Watch(stage, warm).until_sent(*workers, within=60)
            await left_in_outboxes(stage)
            for worker in workers:
                worker.pause()
            await stage.publish(people_added(events, first=warm))
            for other in others:
                other.start()
            pids = [worker.pid for worker in workers]
            before, engines_before = [cpu_seconds(pid) for pid in pids], _engines(stage, sink.process)
            watch = Watch(stage, warm + events)
            watch.began = time.monotonic()
            for worker in workers:
                worker.resume()
            await watch.until_sent(*workers, within=max(60, events / 20))
            own = sum(cpu_seconds(pid) - so_far for pid, so_far in zip(pids, before, strict=True))
            engines = {part: spent - engines_before[part] for part, spent in _engines(stage, sink.process).items()}
            await asyncio.gather(*(other.stop() for other in others))
            highest = max(memory(pid)[1] for pid in pids)
            faults = await found_faulty(stage, sink, warm + events)
        finally:
            await asyncio.gather(*(process.stop() for process in (*workers, *others)))
    faults += [
        f"{worker.name} ended with code {worker.exit_code}: {worker.last_lines(5)}"
        for worker in workers
        if worker.exit_code != 0
    ]
    seconds = watch.reached(1) - watch.began
    return Together(
        processes=processes,
        strangers=strangers,
        events=events,
        seconds=seconds,
        rate=events / seconds,
        cpu_ms=1000 * own / events,
        broker_cpu_ms=1000 * engines["broker"] / events,
        database_cpu_ms=1000 * engines["database"] / events,
        sink_cpu_ms=1000 * engines["sink"] / events,
        highest_mb=highest,
        faults=faults,
    )


async def _until_ready(worker: Process, port: int) -> None:
    async def ready() -> bool:
        return await is_ready(port)

    await worker.until(ready, within=60)


def _engines(stage: Stage, sink: Process) -> dict[str, float]:
    return {part: cpu_seconds(pid) for part, pid in {**stage.pids, "sink": sink.pid}.items()}


def _called(processes: int, strangers: int) -> str:
    return f"{processes} beside {strangers} strangers" if strangers else f"{processes}"


def of(results: Sequence[Together], processes: int, strangers: int = 0) -> list[Together]:
    """The runs with so many of both, in order."""
    return [one for one in results if (one.processes, one.strangers) == (processes, strangers)]


def chapter(results: Sequence[Together]) -> list[str]:
    """What an invitation costs, as a multiple of what it costs with one process, and what is behind that."""
    alone, *more = TOGETHER
    lines = [
        "| processes | CPU each, × one process | lowest to highest | bar | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for together in more:
        pairs = zip(of(results, *together), of(results, *alone), strict=True)
        value, low, high = middle([many.cpu_ms / one.cpu_ms for many, one in pairs])
        bar = f"≤ {BAR:.2f} × | {verdict(value <= BAR)}" if together == (PROCESSES[-1], 0) else "|"
        lines.append(f"| {_called(*together)} | {value:.2f} × | {low:.2f} to {high:.2f} | {bar} |")
    lines += [
        "",
        "| processes | per second | from … to | CPU each, all together | broker | database | sink | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for together in TOGETHER:
        runs = of(results, *together)
        rate, low, high = middle([one.rate for one in runs])
        cpu = (
            f"{median([getattr(one, name) for one in runs]):.2f} ms"
            for name in ("cpu_ms", "broker_cpu_ms", "database_cpu_ms", "sink_cpu_ms")
        )
        most = max(one.highest_mb for one in runs)
        lines.append(
            f"| {_called(*together)} | {rate:.0f} | {low:.0f} to {high:.0f} | {' | '.join(cpu)} | {most:.0f} MB |"
        )
    return lines + told_faults(
        f"{_called(one.processes, one.strangers)}: {fault}" for one in results for fault in one.faults
    )
