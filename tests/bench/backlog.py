"""Case `backlog`: events are taken in while the mail provider is down, beside raw inserts; then it is back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from convive_contracts import topology
from deploy.local.addresses import free_port
from deploy.local.processes import Process
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.processes import cpu_seconds, memory
from tests.bench.samples import people_added
from tests.bench.sink import mail_sink
from tests.bench.stage import Stage

PRODUCT, FLOOR = "Convive, one process", "raw inserts"
_COMMANDS = {PRODUCT: ("invitation", "--role", "worker"), FLOOR: ("tests.bench.peers.raw_inserts",)}


@dataclass(frozen=True, slots=True)
class Absorbed:
    """One contender, once: from the first event taken to the last one stored. Memory in MB, with a tenth stored and at
    its highest."""

    contender: str
    events: int
    seconds: float
    cpu_ms: float
    warm_mb: float
    highest_mb: float
    faults: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Drained:
    """The whole backlog, from the provider's return to the last mail; memory in MB, `warm_mb` with a tenth sent."""

    events: int
    seconds: float
    mails: int
    sent: int
    before_mb: float
    warm_mb: float
    highest_mb: float


async def run(stage: Stage, options: Options) -> list[Absorbed | Drained]:
    """Rounds of a fifth of the backlog, in turn; then all of it, by the product, with what follows."""
    results: list[Absorbed | Drained] = []
    for number in range(options.repeat):
        for contender in (PRODUCT, FLOOR) if number % 2 == 0 else (FLOOR, PRODUCT):
            results.append((await _absorb(stage, contender, options.waiting // 5, drain=False))[0])
    results += await _absorb(stage, PRODUCT, options.waiting, drain=True)
    results.append((await _absorb(stage, FLOOR, options.waiting, drain=False))[0])
    return results


async def _absorb(stage: Stage, contender: str, events: int, *, drain: bool) -> list[Absorbed | Drained]:
    await stage.clear()
    await stage.publish(people_added(events))
    port = free_port()
    process = stage.child("contender", list(_COMMANDS[contender]), stage.environment(port))
    process.start()
    try:
        began = await stage.first_taken(events, process)
        cpu = cpu_seconds(process.pid)
        await stage.until_stored(events // 10, process)
        warm = memory(process.pid)[0]
        await stage.until_stored(events, process)
        seconds = time.monotonic() - began
        stored = await stage.count_invitations({"state": "pending"})
        faults = [] if stored == events else [f"pending: {stored} instead of {events}"]
        used = 1000 * (cpu_seconds(process.pid) - cpu) / events
        absorbed = Absorbed(contender, events, seconds, used, warm, memory(process.pid)[1], faults)
        return [absorbed, await _drain(stage, process, port, events)] if drain else [absorbed]
    finally:
        await process.stop()


async def _drain(stage: Stage, process: Process, port: int, events: int) -> Drained:
    before, warm = memory(process.pid)[0], 0.0
    async with mail_sink(stage.folder, port=port) as sink:
        began = time.monotonic()
        mails, since = 0, time.monotonic()
        while (told := await stage.ready(topology.DIRECTORY_EVENTS)) < events and time.monotonic() - since < 60:
            if told >= events // 10 and not warm:
                warm = memory(process.pid)[0]
            await asyncio.sleep(0.25)
            if (now := sink.mails()) != mails:
                mails, since = now, time.monotonic()
        seconds = time.monotonic() - began
        sent = await stage.count_invitations({"state": "sent"})
        return Drained(events, seconds, sink.mails(), sent, before, warm, memory(process.pid)[1])


# --- what it says of them ---------------------------------------------------------------------------------------------

TITLE = "A backlog, taken in while the mail provider is down"
METHOD = """\
The events wait when a contender starts; nothing listens at the mail server's address. The clock runs from the first
event taken to the last invitation stored. Rounds of a fifth of {waiting:,}, in turn, then all of them: after that
the mail server is back at the same address, and the clock runs until the last `invitation.sent` is published. The floor
inserts the product's documents in groups as the messages come and acknowledges them
([peers/raw_inserts.py](../tests/bench/peers/raw_inserts.py)). Memory is resident memory of the process; it is called
warm with a tenth of the backlog stored, or sent: by then it holds all it needs for the rest, connections to the mail
server too."""


def chapter(results: Sequence[Absorbed | Drained]) -> list[str]:
    """The ratio of each round, then the rates."""
    runs = [one for one in results if isinstance(one, Absorbed)]
    most = max(one.events for one in runs)
    lines = [
        "| Convive, as a multiple of raw inserts | median | lowest to highest | bar | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for events in dict.fromkeys(one.events for one in runs):
        ours, theirs = (
            [one for one in runs if (one.contender, one.events) == (who, events)] for who in (PRODUCT, FLOOR)
        )
        value, low, high = middle([floor.seconds / own.seconds for own, floor in zip(ours, theirs, strict=True)])
        lines.append(
            f"| {events:,} events | {value:.2f} × | {low:.2f} to {high:.2f} | ≥ 0.6 × | {verdict(value >= 0.6)} |"
        )
    lines += [
        "",
        "| contender | events | per second | from … to | own CPU each | memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for events in dict.fromkeys(one.events for one in runs):
        for who in (PRODUCT, FLOOR):
            mine = [one for one in runs if (one.contender, one.events) == (who, events)]
            rate, low, high = middle([one.events / one.seconds for one in mine])
            cpu, mb = middle([one.cpu_ms for one in mine])[0], max(one.highest_mb for one in mine)
            lines.append(
                f"| {who} | {events:,} | {rate:,.0f} | {low:,.0f} to {high:,.0f} | {cpu:.2f} ms | {mb:.0f} MB |"
            )
    [drained] = [one for one in results if isinstance(one, Drained)]
    whole = drained.mails == drained.sent == drained.events
    [absorbed] = [one for one in runs if (one.contender, one.events) == (PRODUCT, most)]
    lines += [
        "",
        "| drained | per second | mails taken | recorded as sent | |",
        "| --- | --- | --- | --- | --- |",
        (
            f"| {most:,} | {drained.events / drained.seconds:,.0f} | {drained.mails:,} | {drained.sent:,}"
            f" | {'none lost, none doubled' if whole else '**not one mail each**'} |"
        ),
        "",
        "| memory while … | before | warm | highest | grown since warm | bar | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        _memory("taken in", None, absorbed.warm_mb, absorbed.highest_mb),
        _memory("drained", drained.before_mb, drained.warm_mb, drained.highest_mb),
    ]
    return lines + told_faults(f"{one.contender}: {fault}" for one in runs for fault in one.faults)


def _memory(while_: str, before: float | None, warm: float, highest: float) -> str:
    grown = highest / warm - 1
    cells = (while_, "" if before is None else f"{before:.0f} MB", f"{warm:.0f} MB", f"{highest:.0f} MB")
    return f"| {' | '.join(cells)} | {100 * grown:.1f} % | ≤ 5 % | {verdict(grown <= 0.05)} |"
