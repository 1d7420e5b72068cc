"""Case `pages`: what a link opens, beside an aiohttp handler that makes the same read and no more."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from invitation.lifecycle.links import Link, Links
from invitation.lifecycle.states import State
from invitation.store.mongo import INVITATIONS
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.load import Load, Plan, put_on, request
from tests.bench.population import documents
from tests.bench.running import BARE, CALLING, DIRECTORY, WEB, Running, Taken, running
from tests.bench.stage import Stage

PAGE, QUESTION, OPENED = "link page", "question before declining", "opening"
KINDS = (PAGE, QUESTION, OPENED)
PRODUCT, PEER, CALLS = "Convive", "bare handler", "handler that makes all the calls"
_PROGRAM = {PRODUCT: WEB, PEER: BARE, CALLS: CALLING}
SATURATED, HALF = "saturated", "half"
_LINKS = 6000
_CONNECTIONS = 48
_SECONDS = 4.0
_A_YEAR_OF = 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One contender, once: of its whole load, or at half of what the product can take. Milliseconds."""

    kind: str
    contender: str
    load: str
    asked: int
    rate: float
    p50: float
    p99: float
    asker_busy: float
    cpu_ms: Mapping[str, float]
    faults: list[str] = field(default_factory=list[str])


async def run(stage: Stage, options: Options) -> list[Asked]:
    """The contenders in turn, kind by kind, first with all they can take, then at the same rate."""
    await stage.clear()
    invitations = list(islice(alive(datetime.now(UTC)), _LINKS))
    async with running(stage, [DIRECTORY, WEB]) as up:
        case = _Case(stage, invitations, up)
        await case.restore()
        page = await case.size_of_a_page()
        same = {name: up.environment[name] for name in ("CONVIVE_DIRECTORY_URL", "CONVIVE_SERVICE_TOKEN")}
        engines = {**stage.pids, DIRECTORY: up.processes[DIRECTORY].pid}
        async with (
            running(stage, [BARE], more={"BENCH_PAGE": str(page)}) as bare,
            running(stage, [CALLING], engines=engines, more=same) as calling,
        ):
            case.others = {PEER: bare, CALLS: calling}
            for kind in KINDS:
                for contender in _PROGRAM:
                    await case.ask(kind, contender, SATURATED)  # not counted
            asked: list[Asked] = []
            for number in range(options.repeat):
                for kind in KINDS:
                    order = list(_PROGRAM)[:: 1 if number % 2 == 0 else -1]
                    full = {contender: await case.ask(kind, contender, SATURATED) for contender in order}
                    half = full[PRODUCT].rate / 2
                    asked += [*full.values(), *[await case.ask(kind, contender, HALF, half) for contender in order]]
                print(f"  round {number + 1} of {options.repeat}", flush=True)
    return asked


def alive(now: datetime) -> Any:
    """Invitations by mail as they are stored whose link works for another hour, none of them opened yet."""
    young = range(_A_YEAR_OF - 30_000, _A_YEAR_OF)
    for document in documents(young, _A_YEAR_OF, 1, now):
        over = document.get("expires_at", now) < now + timedelta(hours=1)
        if document["state"] == State.SENT.value and document["channel"] == "email" and not over:
            yield document


def token_of(links: Links, document: Mapping[str, Any]) -> str:
    return links.token(Link(document["_id"], document["link_sequence"]))


class _Case:
    def __init__(self, stage: Stage, invitations: Sequence[Mapping[str, Any]], up: Running) -> None:
        self._stage = stage
        self._invitations = invitations
        self._up = up
        self.others: Mapping[str, Running] = {}
        links = Links([up.environment["CONVIVE_LINK_KEYS"]], base_url="")
        self._tokens = [token_of(links, one) for one in invitations]

    async def restore(self) -> None:
        """As they were: what was opened can be opened again."""
        kept = self._stage.database[INVITATIONS]
        await kept.delete_many({})
        await kept.insert_many([dict(one) for one in self._invitations])

    async def size_of_a_page(self) -> int:
        async with self._up.client(WEB) as client, client.get(f"/i/{self._tokens[0]}") as answer:
            page = await answer.text()
            assert answer.status == 200, page
            assert 'type="password"' in page, page
            return len(page.encode())

    async def ask(self, kind: str, contender: str, load: str, rate: float = 0.0) -> Asked:
        if kind == OPENED:
            await self.restore()
            await asyncio.sleep(0.3)
        up = self.others.get(contender, self._up)
        requests = self._requests(kind, contender)
        plan = Plan(up.ports[_PROGRAM[contender]], requests, _CONNECTIONS, _SECONDS, rate, once=kind == OPENED)
        taken = Taken(up.pids).begin()
        done = await put_on(self._stage, plan)
        return Asked(
            kind=kind,
            contender=contender,
            load=load,
            asked=done.asked,
            rate=done.rate,
            p50=done.p50,
            p99=done.p99,
            asker_busy=done.busy,
            cpu_ms=taken.each(done.asked),
            faults=done.faults(200) + await self._missed(kind, done),
        )

    def _requests(self, kind: str, contender: str) -> list[str]:
        paths = [f"/i/{token}" for token in self._tokens]
        if contender != PRODUCT:
            paths = [f"/bare/{one['_id']}" for one in self._invitations]
        match kind:
            case "opening":
                headers = {"content_type": "application/json", "accept": "application/json"}
                return [request("POST", f"{path}/open", body='{"proof":"input"}', **headers) for path in paths]
            case "question before declining" if contender != PEER:
                return [request("GET", f"{path}/decline", accept="text/html") for path in paths]
            case _:
                return [request("GET", path, accept="text/html") for path in paths]

    async def _missed(self, kind: str, done: Load) -> list[str]:
        if kind != OPENED:
            return []
        opened = await self._stage.count_invitations({"state": State.OPENED.value})
        return [] if opened == done.asked else [f"{opened} were opened of {done.asked}"]


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "What a link opens"
METHOD = f"""\
Real links of {_LINKS:,} stored invitations whose link works and that nobody has opened, asked for by one process that
does nothing else; `asker` is the share of a core that asking took. The page is the one with the password form (the
form has no page of its own: the address of its step leads back to the link). The handler beside it is aiohttp on
uvloop with the product's client: one `find_one` by `_id` with the product's projection, and as many bytes as the
product's page, always the same. The product reads the invitation and the firm's names, asks the directory over HTTP
whether there is an account, and renders. The question before declining does not ask the directory. An opening is one
read and one acknowledged write in the bare handler; in the product it is announced to the broker besides, and the
directory hears of it. (Whoever posts on a link a fourth time within a minute is also counted in the database.)
The {CALLS} is the same handler with the product's reads, its question to the same directory, its
decision, its rendering and its event, each by itself and nothing around them: what any handler costs that shows this
page. It has no bar; it says what the bars ask for.
Requests per second: a closed loop on {_CONNECTIONS} connections for {_SECONDS:.0f} s. The 99th percentile: an open
loop, all contenders at half of what the product took just before; what they and the asker then take of the cores is
`cores busy`. One process of each, on the machine that the database, the broker and the asker share."""


def of(results: Sequence[Asked], kind: str, contender: str, load: str) -> list[Asked]:
    """Round by round."""
    return [one for one in results if (one.kind, one.contender, one.load) == (kind, contender, load)]


def chapter(results: Sequence[Asked]) -> list[str]:
    lines = [
        "| Convive, as a multiple of the bare handler | median | lowest to highest | bar | |",
        "| --- | --- | --- | --- | --- |",
    ]
    for kind in KINDS:
        ours, theirs = (of(results, kind, contender, SATURATED) for contender in (PRODUCT, PEER))
        value, low, high = middle([one.rate / other.rate for one, other in zip(ours, theirs, strict=True)])
        reached = verdict(value >= 0.5)
        lines.append(f"| {kind}, requests per second | {value:.2f} × | {low:.2f} to {high:.2f} | ≥ 0.5 × | {reached} |")
    for kind in KINDS:
        for contender in (PRODUCT, CALLS):
            ours, theirs = (of(results, kind, one, HALF) for one in (contender, PEER))
            value, low, high = middle([one.p99 / other.p99 for one, other in zip(ours, theirs, strict=True)])
            bar = f"≤ 2 × | {verdict(value <= 2)}" if contender == PRODUCT else "|"
            whose = "" if contender == PRODUCT else f", {contender}"
            lines.append(f"| {kind}, p99 at half load{whose} | {value:.2f} × | {low:.2f} to {high:.2f} | {bar} |")
    columns = ("", "per second", "from … to", "asker", "CPU each: own", "directory", "database", "broker", "all")
    columns += ("at half: all", "cores busy", "p50", "p99")
    lines += ["", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]
    for kind in KINDS:
        for contender, own in _PROGRAM.items():
            full, half = (of(results, kind, contender, load) for load in (SATURATED, HALF))
            rate, low, high = middle([one.rate for one in full])
            p50, p99 = (middle([getattr(one, name) for one in half])[0] for name in ("p50", "p99"))
            cpu = (
                f"{middle([one.cpu_ms.get(name, 0.0) for one in full])[0]:.2f} ms"
                for name in (own, DIRECTORY, "database", "broker")
            )
            all_of_it, at_half = (middle([sum(one.cpu_ms.values()) for one in runs])[0] for runs in (full, half))
            cores = middle([sum(one.cpu_ms.values()) * one.rate / 1000 + one.asker_busy for one in half])[0]
            busy = max(one.asker_busy for one in full)
            lines.append(
                f"| {kind}, {contender} | {rate:.0f} | {low:.0f} to {high:.0f} | {busy:.0%} | {' | '.join(cpu)}"
                f" | {all_of_it:.2f} ms | {at_half:.2f} ms | {cores:.2f} | {p50:.1f} ms | {p99:.1f} ms |"
            )
    return lines + told_faults(
        f"{one.kind}, {one.contender}, {one.load}: {fault}" for one in results for fault in one.faults
    )
