"""Case `members`: adding a member over HTTP, beside a handler that makes one insert and one publish."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.firm import Firm, persons
from tests.bench.load import Plan, put_on, request
from tests.bench.running import BARE, DIRECTORY, Taken, running
from tests.bench.stage import Stage

PRODUCT, PEER = "Convive", "insert and publish"
CLIENTS = (1, 16, 64)
_SECONDS = 4.0
_MOST = 2500
"""Members a second that nobody adds here."""


@dataclass(frozen=True, slots=True)
class Added:
    """One contender, once, with so many clients. Milliseconds."""

    contender: str
    clients: int
    added: int
    rate: float
    p50: float
    p99: float
    asker_busy: float
    cpu_ms: Mapping[str, float]
    faults: list[str] = field(default_factory=list[str])


async def run(stage: Stage, options: Options) -> list[Added]:
    """The contenders take turns at each number of clients."""
    await stage.clear()
    results: list[Added] = []
    async with running(stage, [DIRECTORY, BARE]) as up:
        firm = await Firm.begun(up)

        async def measure(contender: str, clients: int) -> Added:
            product = contender == PRODUCT
            path = f"/v1/dossiers/{firm.dossier}/members" if product else f"/bare/{firm.dossier}/members"
            headers = {"content_type": "application/json", "authorization": f"Bearer {firm.key}"}
            people = persons(int(_SECONDS * _MOST), called=f"p{uuid4().hex[:8]}")
            asked = [request("POST", path, body=json.dumps(one), **headers) for one in people]
            taken = Taken(up.pids).begin()
            plan = Plan(up.ports[DIRECTORY if product else BARE], asked, clients, _SECONDS, once=True)
            done = await put_on(stage, plan)
            cpu = taken.each(done.asked)
            own = {
                "own": cpu.pop(DIRECTORY if product else BARE),
                **{name: cpu[name] for name in ("database", "broker")},
            }
            faults = done.faults(201) + ([f"asked for no more than {done.asked}"] if done.asked == len(asked) else [])
            return Added(contender, clients, done.asked, done.rate, done.p50, done.p99, done.busy, own, faults)

        for contender in (PRODUCT, PEER):
            await measure(contender, CLIENTS[-1])  # not counted
        for number in range(options.repeat):
            order = (PRODUCT, PEER) if number % 2 == 0 else (PEER, PRODUCT)
            results += [await measure(contender, clients) for clients in CLIENTS for contender in order]
            print(f"  round {number + 1} of {options.repeat}", flush=True)
    return results


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "Adding a member"
METHOD = f"""\
`POST /v1/dossiers/{{{{id}}}}/members` with a firm's key, no two people with one address, closed loop for
{_SECONDS:.0f} s, asked for by one process that does nothing else. The handler beside it is aiohttp on uvloop, too,
with the product's clients: one insert acknowledged by a majority into the same collection with the same indexes, then
one confirmed publish of an event of the product's size, then the answer; it checks nothing and nobody. The product
answers when the member and the event are stored, and publishes after that. Nobody reads the events."""


def of(results: Sequence[Added], contender: str, clients: int) -> list[Added]:
    """Round by round."""
    return [one for one in results if (one.contender, one.clients) == (contender, clients)]


def chapter(results: Sequence[Added]) -> list[str]:
    lines = [
        "| Convive, as a multiple of insert and publish | median | lowest to highest | bar | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for clients in CLIENTS:
        pairs = list(zip(of(results, PRODUCT, clients), of(results, PEER, clients), strict=True))
        for what, name in (("latency (p50)", "p50"), ("latency (p99)", "p99"), ("members per second", "rate")):
            value, low, high = middle([getattr(one, name) / getattr(other, name) for one, other in pairs])
            bar, reached = "", ""
            if (clients, name) == (1, "p50"):
                bar, reached = "≤ 2.5 ×", verdict(value <= 2.5)
            if (clients, name) == (64, "rate"):
                bar, reached = "≥ 0.6 ×", verdict(value >= 0.6)
            lines.append(f"| {what}, {clients} clients | {value:.2f} × | {low:.2f} to {high:.2f} | {bar} | {reached} |")
    lines += [
        "",
        "| | clients | per second | p50 | p99 | asker | CPU each: own | database | broker |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for contender in (PRODUCT, PEER):
        for clients in CLIENTS:
            mine = of(results, contender, clients)
            rate, p50, p99 = (middle([getattr(one, name) for one in mine])[0] for name in ("rate", "p50", "p99"))
            cpu = (f"{middle([one.cpu_ms[name] for one in mine])[0]:.2f} ms" for name in ("own", "database", "broker"))
            busy = max(one.asker_busy for one in mine)
            lines.append(
                f"| {contender} | {clients} | {rate:.0f} | {p50:.1f} ms | {p99:.1f} ms | {busy:.0%}"
                f" | {' | '.join(cpu)} |"
            )
    return lines + told_faults(f"{one.contender}, {one.clients}: {fault}" for one in results for fault in one.faults)
