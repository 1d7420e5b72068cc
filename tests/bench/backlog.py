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
    """Rounds of the whole backlog, in turn; what follows when the provider is back, by the product in its last one."""
    results: list[Absorbed | Drained] = []
    for number in range(options.repeat):
        for contender in (PRODUCT, FLOOR) if number % 2 == 0 else (FLOOR, PRODUCT):
            drain = contender == PRODUCT and number == options.repeat - 1
            results += await _absorb(stage, contender, options.waiting, drain=drain)
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
        return Drained(events, seconds, sink.mails(), sent, before, warm or before, memory(process.pid)[1])


# --- what it says of them ---------------------------------------------------------------------------------------------

TITLE = "A backlog, taken in while the mail provider is down"
METHOD = """\
The events wait when a contender starts; nothing listens at the mail server's address. The clock runs from the first
event taken to the last invitation stored. Rounds of {waiting:,}, in turn. After the last by Convive the mail server is
back at the same address, and the clock runs until the last `invitation.sent` is published. The floor inserts the
product's documents in groups as the messages come and acknowledges them
([peers/raw_inserts.py](../tests/bench/peers/raw_inserts.py)). Memory is resident memory of the process; it is called
warm with a tenth of the backlog stored, or sent: by then it holds all it needs for the rest, connections to the mail
server too."""


def chapter(results: Sequence[Absorbed | Drained]) -> list[str]:
    """The ratio of each round, then the rates."""
    runs = [one for one in results if isinstance(one, Absorbed)]
    ours, theirs = ([one for one in runs if one.contender == who] for who in (PRODUCT, FLOOR))
    value, low, high = middle([floor.seconds / own.seconds for own, floor in zip(ours, theirs, strict=True)])
    lines = [
        "| Convive, as a multiple of raw inserts | median | lowest to highest | bar | |",
        "| --- | --- | --- | --- | --- |",
        f"| taken in | {value:.2f} × | {low:.2f} to {high:.2f} | ≥ 0.6 × | {verdict(value >= 0.6)} |",
        "",
        "| contender | events | per second | from … to | own CPU each | memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for mine in (ours, theirs):
        rate, low, high = middle([one.events / one.seconds for one in mine])
        cpu, mb = middle([one.cpu_ms for one in mine])[0], max(one.highest_mb for one in mine)
        lines.append(
            f"| {mine[0].contender} | {mine[0].events:,} | {rate:,.0f} | {low:,.0f} to {high:,.0f} | {cpu:.2f} ms"
            f" | {mb:.0f} MB |"
        )
    [drained] = [one for one in results if isinstance(one, Drained)]
    whole = drained.mails == drained.sent == drained.events
    absorbed = max(ours, key=lambda one: one.highest_mb / one.warm_mb)
    lines += [
        "",
        "| drained | per second | mails taken | recorded as sent | |",
        "| --- | --- | --- | --- | --- |",
        (
            f"| {drained.events:,} | {drained.events / drained.seconds:,.0f} | {drained.mails:,} | {drained.sent:,}"
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
