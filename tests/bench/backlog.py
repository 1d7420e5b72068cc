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
    """One contender, once: from the first event taken to the last one stored."""

    contender: str
    events: int
    seconds: float
    cpu_ms: float
    highest_mb: float
    faults: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Drained:
    """The whole backlog, from the provider's return to the last mail; memory in MB."""

    events: int
    seconds: float
    mails: int
    sent: int
    before_mb: float
    highest_mb: float
    after_mb: float


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
        await stage.until_stored(events, process)
        seconds = time.monotonic() - began
        stored = await stage.count_invitations({"state": "pending"})
        faults = [] if stored == events else [f"pending: {stored} instead of {events}"]
        used = 1000 * (cpu_seconds(process.pid) - cpu) / events
        absorbed = Absorbed(contender, events, seconds, used, memory(process.pid)[1], faults)
        return [absorbed, await _drain(stage, process, port, events)] if drain else [absorbed]
    finally:
        await process.stop()


async def _drain(stage: Stage, process: Process, port: int, events: int) -> Drained:
    before = memory(process.pid)[0]
    async with mail_sink(stage.folder, port=port) as sink:
        began = time.monotonic()
        mails, since = 0, time.monotonic()
        while await stage.ready(topology.DIRECTORY_EVENTS) < events and time.monotonic() - since < 60:
            await asyncio.sleep(0.25)
            if (now := sink.mails()) != mails:
                mails, since = now, time.monotonic()
        seconds = time.monotonic() - began
        sent = await stage.count_invitations({"state": "sent"})
        after, highest = memory(process.pid)
        return Drained(events, seconds, sink.mails(), sent, before, highest, after)


# --- what it says of them ---------------------------------------------------------------------------------------------

TITLE = "A backlog, taken in while the mail provider is down"
METHOD = """\
The events wait when a contender starts; nothing listens at the mail server's address. The clock runs from the first
event taken to the last invitation stored. Rounds of a fifth of {waiting:,}, in turn, then all of them: after that
the mail server is back at the same address, and the clock runs until the last `invitation.sent` is published. The floor
inserts the product's documents in groups as the messages come and acknowledges them
([peers/raw_inserts.py](../tests/bench/peers/raw_inserts.py)). Memory is resident memory of the process."""


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
    flat = drained.highest_mb <= 1.05 * drained.before_mb
    lines += [
        "",
        "| drained | per second | mails taken | recorded as sent | | memory before | highest | bar | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        (
            f"| {most:,} | {drained.events / drained.seconds:,.0f} | {drained.mails:,} | {drained.sent:,}"
            f" | {'none lost, none doubled' if whole else '**not one mail each**'} | {drained.before_mb:.0f} MB"
            f" | {drained.highest_mb:.0f} MB | + 5 % | {verdict(flat)} |"
        ),
    ]
    return lines + told_faults(f"{one.contender}: {fault}" for one in runs for fault in one.faults)
