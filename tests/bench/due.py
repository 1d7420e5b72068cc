"""Case `due`: many reminders come due in the same minute, and two workers send them, beside the same calls made raw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from convive_contracts import topology
from convive_contracts.events import DIRECTORY_SOURCE, invitation_id
from deploy.local.addresses import free_port
from deploy.local.trouble import CannotStart
from invitation.lifecycle.invitation import Cause, Change, Invitation, Invitee, Step, Told
from invitation.lifecycle.schedule import Policy
from invitation.store.documents import to_document
from invitation.store.mongo import INDEXES
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.population import an_id
from tests.bench.processes import cpu_seconds
from tests.bench.sink import Sink, mail_sink
from tests.bench.stage import Stage

PRODUCT, FLOOR = "Convive, two workers", "raw, two processes"
_COMMANDS = {PRODUCT: ("invitation", "--role", "worker"), FLOOR: ("tests.bench.peers.raw_due",)}
_AFTER = timedelta(days=3)
_ALWAYS = {"CONVIVE_REMINDER_DAYS": "3", "CONVIVE_QUIET_FROM": "00:00", "CONVIVE_QUIET_UNTIL": "00:00"}
_LOOK_EVERY = 0.02


@dataclass(frozen=True, slots=True)
class Reminded:
    """One contender, once: from the first event published to the last. CPU of both processes, and of the database."""

    contender: str
    due: int
    seconds: float
    cpu_ms: float
    database_cpu_ms: float
    faults: list[str] = field(default_factory=list[str])


async def run(stage: Stage, options: Options) -> list[Reminded]:
    """Rounds of a twentieth, in turn; then all of them by the product, to see that none is claimed twice."""
    results: list[Reminded] = []
    for number in range(options.repeat):
        for contender in (PRODUCT, FLOOR) if number % 2 == 0 else (FLOOR, PRODUCT):
            results.append(await _remind(stage, contender, options.due // 20))
            print(f"  {contender}: {results[-1].due / results[-1].seconds:,.0f}/s {results[-1].faults}", flush=True)
    results.append(await _remind(stage, PRODUCT, options.due))
    return results


async def _remind(stage: Stage, contender: str, due: int) -> Reminded:
    await stage.clear()
    await stage.fill(invitations_to_remind(due, datetime.now(UTC)), INDEXES)
    async with mail_sink(stage.folder) as sink:
        processes = [
            stage.child(
                f"worker {number}",
                list(_COMMANDS[contender]),
                stage.environment(
                    sink.port, BENCH_SHARE=f"{number}/2", CONVIVE_INVITATION_PORT=str(free_port()), **_ALWAYS
                ),
            )
            for number in range(2)
        ]
        for process in processes:
            process.start()
        try:
            parts = [*(process.pid for process in processes), stage.pids["database"]]
            began, cpu = 0.0, [0.0] * 3
            since = time.monotonic()
            published = 0
            while (now := await stage.ready(topology.DIRECTORY_EVENTS)) < due:
                if now and not began:
                    began, cpu = time.monotonic(), [cpu_seconds(pid) for pid in parts]
                if now != published:
                    published, since = now, time.monotonic()
                elif time.monotonic() - since > 60 or not all(process.alive for process in processes):
                    raise CannotStart(f"{contender} stands still: {processes[0].last_lines()}")
                await asyncio.sleep(_LOOK_EVERY)
            seconds = time.monotonic() - began
            used = [1000 * (cpu_seconds(pid) - before) / due for pid, before in zip(parts, cpu, strict=True)]
            faults = await _faults(stage, sink, due) if contender == PRODUCT else []
        finally:
            await asyncio.gather(*(process.stop() for process in processes))
    return Reminded(contender, due, seconds, used[0] + used[1], used[2], faults)


async def _faults(stage: Stage, sink: Sink, due: int) -> list[str]:
    """None claimed twice: one mail each, and one send more."""
    counted = {
        "mails": sink.mails(),
        "reminded once": await stage.count_invitations({"state": "sent", "send_sequence": 2, "reminders": 1}),
    }
    return [f"{what}: {count} instead of {due}" for what, count in counted.items() if count != due]


def invitations_to_remind(count: int, now: datetime) -> Iterator[dict[str, object]]:
    """Sent three days ago, all within one minute, by the product's own lifecycle."""
    policy = Policy(reminders=(_AFTER,))
    for number in range(count):
        at = now - _AFTER - timedelta(seconds=60 * (number % 6000) / 6000)
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        invitee = Invitee(
            member_id=an_id("member", number),
            first_name="Jeanne",
            last_name=f"Martin {number}",
            email=f"person.{number}@example.com",
            email_key=f"person.{number}@example.com",
            dossier_id=an_id("dossier", number // 10),
            dossier_name="Boulangerie Martin",
            cabinet_id=an_id("cabinet", number // 200),
            cabinet_name="Cabinet Léger",
        )
        blank = Invitation.blank(invitation_id(DIRECTORY_SOURCE, invitee.member_id), DIRECTORY_SOURCE, at)
        steps: tuple[Step, ...] = ()
        created = blank.created(
            invitee, "email", Told(at, 1), Cause(at, f"event:{DIRECTORY_SOURCE}", f"e{number}"), policy
        )
        assert created is not None
        claimed = created.after.claimed("bench", at, policy)
        sent = claimed.after.accepted(1, Cause(at, "provider"), policy)
        for change in (created, claimed, sent):
            steps += change.steps
        yield {**to_document(Change(None, replace(sent.after, version=3), steps, ()), []), "writes": []}


# --- what it says of them ---------------------------------------------------------------------------------------------

TITLE = "Reminders, due in the same minute"
METHOD = """\
Invitations that were sent three days ago, within one minute, are stored; then two worker processes start. The clock
runs from the first to the last `invitation.sent` of a reminder. Rounds of a twentieth of {due:,}, in turn, then all.
The floor makes the same calls in groups ([peers/raw_due.py](../tests/bench/peers/raw_due.py)): it claims without
comparing, and each process takes every second one. Both send the mails, to {sink}."""


def chapter(results: Sequence[Reminded]) -> list[str]:
    """The ratio of each round; then the rates, and whether each was reminded once."""
    most = max(one.due for one in results)

    def of(who: str, due: int) -> list[Reminded]:
        return [one for one in results if (one.contender, one.due) == (who, due)]

    [few] = {one.due for one in results if one.contender == FLOOR}
    ratios = [floor.seconds / ours.seconds for ours, floor in zip(of(PRODUCT, few), of(FLOOR, few), strict=True)]
    value, low, high = middle(ratios)
    met = verdict(value >= 0.5)
    lines = [
        "| Convive, as a multiple of | median | lowest to highest | bar | |",
        "| --- | --- | --- | --- | --- |",
        f"| raw batched updates, mails and events | {value:.2f} × | {low:.2f} to {high:.2f} | ≥ 0.5 × | {met} |",
        "",
        "| contender | due | per second | from … to | own CPU each | database |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for who, due in ((PRODUCT, few), (FLOOR, few), (PRODUCT, most)):
        rate, least, best = middle([one.due / one.seconds for one in of(who, due)])
        own = middle([one.cpu_ms for one in of(who, due)])[0]
        database = middle([one.database_cpu_ms for one in of(who, due)])[0]
        lines.append(
            f"| {who} | {due:,} | {rate:,.0f} | {least:,.0f} to {best:,.0f} | {own:.2f} ms | {database:.2f} ms |"
        )
    if not any(one.faults for one in results):
        lines += ["", f"Of all {most:,} each was reminded once: one mail and one more send of each."]
    return lines + told_faults(f"{one.contender}, {one.due:,}: {fault}" for one in results for fault in one.faults)
