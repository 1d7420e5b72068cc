"""Case `capacity`: what an invitation costs each part at several rates, and whether the model tells the cost at others.

Writes services/invitation/capacity.json, which `convive capacity` reads.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from deploy.local.programs import REPOSITORY
from invitation.capacity import PARTS, Costs
from tests.bench.case import Options, told_faults, verdict
from tests.bench.firm import Firm, persons
from tests.bench.load import Plan, put_on, request
from tests.bench.running import DIRECTORY, WEB, WORKER, Running, Taken, running
from tests.bench.sink import mail_sink
from tests.bench.stage import Stage

FILE = REPOSITORY / "services" / "invitation" / "capacity.json"
KNOWN, CHECKED = (10.0, 40.0, 120.0, 240.0), (20.0, 80.0, 180.0)
"""Invitations per second: those at which costs are measured, and those at which the model is asked for them."""
_SECONDS, _IDLE = 15.0, 10.0
_OF_PROGRAMS = {DIRECTORY: "directory", WEB: "web", WORKER: "worker", "database": "database", "broker": "broker"}
_BAR = 0.2


@dataclass(frozen=True, slots=True)
class AtRate:
    """Cores that each part was busy with, and what the model says; a rate of 0 is idle."""

    rate: float
    asked: int
    cores: Mapping[str, float]
    told: Mapping[str, float] = field(default_factory=dict[str, float])
    faults: Sequence[str] = ()

    @property
    def error(self) -> float:
        """Of all parts together, as a share of what was measured."""
        return sum(self.told.values()) / sum(self.cores.values()) - 1


async def run(stage: Stage, options: Options) -> list[AtRate]:
    """Idle, then the known rates, `repeat` times of which the median counts; then those that are checked."""
    await stage.clear()
    async with mail_sink(stage.folder) as sink, running(stage, [DIRECTORY, WEB, WORKER], smtp_port=sink.port) as up:
        firm = await Firm.begun(up)
        await _at(stage, up, firm, KNOWN[-1])  # not counted
        idle = await _idle(up)
        known = [_middle([await _at(stage, up, firm, rate) for _ in range(options.repeat)]) for rate in KNOWN]
        costs = _costs(stage, idle, known)
        checked = [_middle([await _at(stage, up, firm, rate) for _ in range(options.repeat)]) for rate in CHECKED]
    model = Costs.kept(costs)
    FILE.write_text(json.dumps(costs, indent=1) + "\n")
    return [
        idle,
        *known,
        *(
            AtRate(
                one.rate,
                one.asked,
                one.cores,
                {part: model.invitations(part, one.rate) for part in PARTS},
                one.faults,
            )
            for one in checked
        ),
    ]


async def _idle(up: Running) -> AtRate:
    taken = Taken(up.pids).begin()
    await asyncio.sleep(_IDLE)
    return AtRate(0, 0, _cores(taken.each(1), _IDLE))


async def _at(stage: Stage, up: Running, firm: Firm, rate: float) -> AtRate:
    sent = await stage.count_invitations({"state": "sent"})
    headers = {"content_type": "application/json", "authorization": f"Bearer {firm.key}"}
    people = persons(int(_SECONDS * rate * 1.1), called=f"p{uuid4().hex[:8]}")
    path = f"/v1/dossiers/{firm.dossier}/members"
    asked = [request("POST", path, body=json.dumps(one), **headers) for one in people]
    taken, began = Taken(up.pids).begin(), asyncio.get_running_loop().time()
    done = await put_on(stage, Plan(up.ports[DIRECTORY], asked, 64, _SECONDS, rate=rate, once=True))
    async with asyncio.timeout(120):
        while await stage.count_invitations({"state": "sent"}) < sent + done.asked:
            await asyncio.sleep(0.1)
    seconds = asyncio.get_running_loop().time() - began
    cores = _cores(taken.each(1), seconds)
    print(f"  {rate:.0f}/s: { ({part: round(busy, 3) for part, busy in cores.items()}) }", flush=True)
    return AtRate(done.asked / seconds, done.asked, cores, faults=done.faults(201))


def _cores(milliseconds: Mapping[str, float], seconds: float) -> dict[str, float]:
    return {_OF_PROGRAMS[name]: used / 1000 / seconds for name, used in milliseconds.items()}


def _middle(runs: Sequence[AtRate]) -> AtRate:
    ordered = sorted(runs, key=lambda one: sum(one.cores.values()) / one.rate)
    return ordered[len(ordered) // 2]


def _costs(stage: Stage, idle: AtRate, known: Sequence[AtRate]) -> dict[str, Any]:
    """As they are kept. What pages and passwords cost is taken from the cases that measure them, as they were kept
    last."""
    kept: dict[str, Any] = json.loads((REPOSITORY / "docs" / "benchmarks.json").read_text())
    invitation = [
        {
            "rate": round(one.rate, 2),
            "ms": {part: round(1000 * max(one.cores[part] - idle.cores[part], 0) / one.rate, 4) for part in PARTS},
        }
        for one in known
    ]
    machine = str(kept["sent"]["machine"]).partition(";")[0]
    stored = [one for one in kept["operations"]["results"] if "document" in one][-1]
    return {
        "measured": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine,
        "idle": {part: round(cores, 4) for part, cores in idle.cores.items()},
        "invitation": invitation,
        "page": _of_pages(kept, "link page"),
        "opening": _of_pages(kept, "opening"),
        "password": _of_passwords(kept),
        "document_bytes": round(stored["on_disk"]),
        "index_bytes": round(stored["indexes"]),
        "event_bytes": 1000,
    }


def _of_pages(kept: Mapping[str, Any], kind: str) -> dict[str, float]:
    found = [one["cpu_ms"] for one in kept["pages"]["results"] if one["kind"] == kind and "onvive" in one["contender"]]
    return _of_programs(found)


def _of_passwords(kept: Mapping[str, Any]) -> dict[str, float]:
    return _of_programs([one["cpu_ms"] for one in kept["password"]["results"] if "cpu_ms" in one])


def _of_programs(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    costs = dict.fromkeys(PARTS, 0.0)
    for one in found:
        for name, used in one.items():
            if part := {**_OF_PROGRAMS, "own": "web", "invitation": "web"}.get(name):
                costs[part] += used / len(found)
    return {part: round(used, 4) for part, used in costs.items()}


# --- what it says of them ---------------------------------------------------------------------------------------------

TITLE = "What the capacity model says, and what is"
METHOD = """\
A member is added so many times a second through the directory's HTTP API, for fifteen seconds; both services do all
that follows, to the mail and the directory's record of it. Cores are processor time over the whole span. The model
(`convive capacity`, [scaling.md](scaling.md)) knows the costs at four rates and is asked for those at three others. Of
several rounds the median."""


def chapter(results: Sequence[AtRate]) -> list[str]:
    """Measured and told, side by side."""
    lines = [
        "| invitations per second | cores: measured | the model says | error | bar | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in (one for one in results if one.told):
        lines.append(
            f"| {one.rate:.1f} | {sum(one.cores.values()):.3f} | {sum(one.told.values()):.3f} | {one.error:+.1%}"
            f" | ≤ 20 % | {verdict(abs(one.error) <= _BAR)} |"
        )
    lines += ["", f"| invitations per second | {' | '.join(PARTS)} |", "| --- |" + " --- |" * len(PARTS)]
    for one in results:
        busy = " | ".join(f"{one.cores[part]:.3f}" for part in PARTS)
        lines.append(f"| {one.rate:.1f} | {busy} |")
    return lines + told_faults(f"{one.rate:.0f}/s: {fault}" for one in results for fault in one.faults)
