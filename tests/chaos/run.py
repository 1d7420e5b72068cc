"""One run: the stage is set, the crowd comes in while the plan is carried out, and the checker has the last word."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.callers import Publisher, Web
from tests.chaos.crowd import Crowd, Desk
from tests.chaos.evidence import (
    Evidence,
    collect,
    logged_errors,
    queue_lengths,
    try_links,
    try_passwords,
    until_at_rest,
)
from tests.chaos.ledger import Ledger
from tests.chaos.plan import Fault, make_plan
from tests.chaos.stage import Stage
from tests.chaos.trouble import Incident, Trouble, say
from tests.chaos.verdict import Verdict, judge

_PATIENCE = 90.0
"""Seconds without any progress after which what waits is called stuck."""
_TOLD_EVERY = 20.0


@dataclass(slots=True)
class Outcome:
    """What a run found. `seconds`: how long its parts took."""

    seed: int
    minutes: float
    invitations: int
    plan: Sequence[Fault]
    incidents: Sequence[Incident]
    verdict: Verdict
    ledger: Ledger
    states: Mapping[str, int]
    mails: int
    cut_after_data: int
    events: int
    errors: Mapping[str, int]
    seconds: dict[str, float] = field(default_factory=dict[str, float])


async def run(folder: Path, seed: int, minutes: float, invitations: int) -> Outcome:
    """Run it in `folder`, which keeps the logs of the services."""
    plan = make_plan(seed, minutes * 60)
    ledger = Ledger()
    stage = Stage(folder, seed)
    clock = _Laps()
    async with stage.running():
        web = Web(stage.urls, ledger, random.Random(f"callers {seed}"))
        publisher = Publisher(stage.broker.url, ledger)
        credentials = stage.credentials
        desk = Desk(web, publisher, stage.sink, ledger, credentials.ops_token, credentials.admin_token, stage.state)
        crowd = Crowd(desk, seed, invitations, minutes * 60)
        try:
            await crowd.prepare()
            clock.lap("start")
            trouble = await _load(stage, crowd, plan)
            clock.lap("load")
            say("           the faults are over")
            await crowd.over(_PATIENCE)
            await trouble.recovered()
            await crowd.end()
            waiting = await until_at_rest(stage, _PATIENCE)
            clock.lap("until at rest")
            say("           at rest; the checker begins")
            evidence = await collect(stage)
            evidence.waiting = waiting
            await try_links(evidence, ledger, stage.sink, web)
            await try_passwords(evidence, ledger, web)
            if not waiting:
                await until_at_rest(stage, _PATIENCE)  # from the sign-ins just now
            evidence.exits = await stage.stop_services()
            evidence.errors = logged_errors(stage)
            left = await queue_lengths(stage)
            evidence.waiting = {**waiting, **{what: count for what, count in left.items() if count}}
        finally:
            await web.close()
            await publisher.close()
    ledger.surprises += stage.deaths
    verdict = judge(evidence, ledger, stage.sink, trouble.incidents)
    clock.lap("checker")
    return Outcome(
        seed,
        minutes,
        invitations,
        plan,
        trouble.incidents,
        verdict,
        ledger,
        _counted(evidence),
        len(stage.sink.mails),
        len(stage.sink.cut_after_data),
        len(evidence.log),
        evidence.errors,
        clock.seconds,
    )


async def _load(stage: Stage, crowd: Crowd, plan: Sequence[Fault]) -> Trouble:
    began = time.monotonic()
    trouble = Trouble(stage, plan, crowd.probe)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(crowd.run(began))
        tasks.create_task(trouble.run(began))
        progress = tasks.create_task(_progress(stage, crowd, began))
        await asyncio.sleep(max(began + crowd.seconds - time.monotonic(), 0.0))
        progress.cancel()
    return trouble


async def _progress(stage: Stage, crowd: Crowd, began: float) -> None:
    while True:
        await asyncio.sleep(_TOLD_EVERY)
        mails, stories = len(stage.sink.mails), crowd.unfinished
        say(f"{time.monotonic() - began:7.1f} s  {mails} mails, {stories} people on their way")


def _counted(evidence: Evidence) -> Mapping[str, int]:
    states: dict[str, int] = {}
    for invitation in evidence.invitations.values():
        states[invitation["state"]] = states.get(invitation["state"], 0) + 1
    return dict(sorted(states.items()))


class _Laps:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 1)
        self._last = now
