"""Case `growth`: what each thing costs with few invitations stored and with very many.

The processor time of the service and of the database is counted apart from how long one waits: what grows shows in the
one before it shows in the other.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from convive_contracts import DIRECTORY_SOURCE, invitation_id, topology
from deploy.local.database import Database
from deploy.local.trouble import CannotStart
from invitation.lifecycle.invitation import Cause, Invitation, Told
from invitation.lifecycle.links import Links
from invitation.lifecycle.states import State
from invitation.store.documents import to_document
from invitation.store.mongo import INVITATIONS
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.load import Plan, put_on, request
from tests.bench.operations import Population
from tests.bench.pages import token_of
from tests.bench.population import POLICY, a_person, populate
from tests.bench.running import DIRECTORY, WEB, WORKER, Running, Taken, running
from tests.bench.samples import Sample, people_added
from tests.bench.sink import Sink, mail_sink
from tests.bench.stage import Stage

INTAKE, DUE, LIST, PAGE = "taking in an event", "sending what is due", "first page of the list", "link page"
KINDS = (INTAKE, DUE, LIST, PAGE)
_CACHE_GB = 8.0
_BYTES_EACH = 2600
"""On disk at the most: document, indexes and what a checkpoint needs besides."""
_MANY = 2000
_SECONDS = 3.0
_LINKS = 50
"""As many as the fewest stored have, for all alike: with more, names would be read again less often for some."""
_LOOKS_AGAIN = 1.2
"""Seconds after which an idle worker looks for what is due: once they are over, it does so when it goes on. They are
slept through, for it is stopped and its own clock is nothing that could be waited for from outside."""
_LOOK_EVERY = 0.05
_PATIENCE = 1200.0

Documents = AsyncCollection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation, in one round: milliseconds waited and milliseconds of processors, by process."""

    stored: int
    what: str
    operations: int
    wall_ms: float
    cpu_ms: Mapping[str, float]
    faults: list[str] = field(default_factory=list[str])

    @property
    def whole_cpu_ms(self) -> float:
        return sum(value for name, value in self.cpu_ms.items() if name != "broker")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the database kept its files."""

    in_memory: bool


Result = Population | Cost | Place


async def run(stage: Stage, options: Options) -> list[Result]:
    """Each count in a database of its own on one server; the rounds take turns between them."""
    counts = sorted(options.grown)
    results: list[Result] = []
    async with _server(stage, sum(counts)) as (server, place), mail_sink(stage.folder) as sink:
        results.append(place)
        now = datetime.now(UTC)
        for count in counts:
            held = await asyncio.to_thread(populate, server.url, _database(count), count, until=now)
            results.append(Population(count, held["seconds"], held["document"], held["stored"], held["indexes"]))
        async with AsyncMongoClient[dict[str, Any]](server.url, tz_aware=True) as client:
            for count in counts:
                # There is no gateway here, so what is due by SMS would stay due for ever.
                by_sms = {"channel": "sms", "due_at": {"$exists": True}}
                await client[_database(count)][INVITATIONS].update_many(by_sms, {"$unset": {"due_at": ""}})
            for number in range(options.repeat + 1):
                for count in counts:
                    one = _Case(stage, server, sink, count, client[_database(count)][INVITATIONS])
                    costs = [*await one.worker(), *await one.web()]
                    # The first round is not counted: it finishes what the generated lives left undone.
                    results += costs if number else []
                print(f"  round {number} of {options.repeat}", flush=True)
    return results


def _database(count: int) -> str:
    return f"growth_{count}"


@asynccontextmanager
async def _server(stage: Stage, stored: int) -> AsyncGenerator[tuple[Database, Place]]:
    """In memory where that has room for all of it beside what runs, else on disk."""
    needed = stored * _BYTES_EACH + 1024**3
    in_memory = stage.in_memory and shutil.disk_usage(stage.folder).free > 2 * needed
    folder = Path(tempfile.mkdtemp(prefix="convive-growth-", dir=stage.folder if in_memory else tempfile.gettempdir()))
    try:
        async with Database(folder, cache_gb=_CACHE_GB) as server:
            yield server, Place(in_memory)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Case:
    """One count, once."""

    def __init__(self, stage: Stage, server: Database, sink: Sink, count: int, stored: Documents) -> None:
        self._stage = stage
        self._server = server
        self._sink = sink
        self._count = count
        self._stored = stored

    @asynccontextmanager
    async def _running(self, *names: str) -> AsyncGenerator[Running]:
        engines = {**self._stage.pids, "database": self._server.server.pid}
        more = {"CONVIVE_MONGO_URL": self._server.url, "CONVIVE_INVITATION_DATABASE": _database(self._count)}
        async with running(self._stage, names, engines=engines, smtp_port=self._sink.port, more=more) as up:
            yield up

    # --- the worker ------------------------------------------------------------------------------------------------

    async def worker(self) -> list[Cost]:
        """What it takes in, and what it sends: it stands still while that is prepared, and gets all of it at once."""
        await self._stage.clear()
        async with self._running(WORKER) as up:
            await self._until(self._nothing_due)
            return [await self._taking_in(up), await self._sending(up)]

    async def _taking_in(self, up: Running) -> Cost:
        samples = [_without_mail(one) for one in people_added(_MANY)]
        ids = [invitation_id(DIRECTORY_SOURCE, one.id.rpartition(".")[0]) for one in samples]

        async def taken_in() -> bool:
            return await self._stored.find_one({"_id": ids[-1]}, {"_id": 1}) is not None

        up.processes[WORKER].pause()
        await self._stage.publish(samples)
        taken, began = Taken(up.pids).begin(), time.perf_counter()
        up.processes[WORKER].resume()
        await self._until(taken_in)
        there = 0
        while (there := await self._stored.count_documents({"_id": {"$in": ids}})) < _MANY:
            await asyncio.sleep(_LOOK_EVERY)
        cost = Cost(self._count, INTAKE, _MANY, 1000 * (time.perf_counter() - began) / _MANY, taken.each(_MANY))
        await self._stored.delete_many({"_id": {"$in": ids}})
        return cost if there == _MANY else replace(cost, faults=[f"{there} of {_MANY} are there"])

    async def _sending(self, up: Running) -> Cost:
        documents = _due(self._count)
        ids = [document["_id"] for document in documents]
        before = await self._stage.ready(topology.DIRECTORY_EVENTS)

        async def sent() -> bool:
            return await self._stage.ready(topology.DIRECTORY_EVENTS) >= before + _MANY

        up.processes[WORKER].pause()
        looks_again = asyncio.create_task(asyncio.sleep(_LOOKS_AGAIN))
        await self._stored.insert_many(documents)
        await looks_again
        taken, began = Taken(up.pids).begin(), time.perf_counter()
        up.processes[WORKER].resume()
        await self._until(sent)
        cost = Cost(self._count, DUE, _MANY, 1000 * (time.perf_counter() - began) / _MANY, taken.each(_MANY))
        noted = await self._stored.count_documents({"_id": {"$in": ids}, "state": State.SENT.value})
        await self._stored.delete_many({"_id": {"$in": ids}})
        return cost if noted == _MANY else replace(cost, faults=[f"{noted} of {_MANY} are noted as sent"])

    async def _nothing_due(self) -> bool:
        """And nothing is being sent: a lease ends within a minute."""
        soon = datetime.now(UTC) + timedelta(seconds=61)
        leased = {"channel": {"$in": ["email", "none"]}, "due_at": {"$lte": soon}, "lease": {"$exists": True}}
        due = {"channel": {"$in": ["email", "none"]}, "due_at": {"$lte": datetime.now(UTC)}}
        return not [one for one in (due, leased) if await self._stored.find_one(one, {"_id": 1}, hint="due")]

    async def _until(self, done: Any) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not await done():
            if time.monotonic() > deadline:
                raise CannotStart(f"With {self._count:,} stored the worker does not come to an end.")
            await asyncio.sleep(_LOOK_EVERY)

    # --- the web ---------------------------------------------------------------------------------------------------

    async def web(self) -> list[Cost]:
        """One request after another on one connection."""
        async with self._running(DIRECTORY, WEB) as up:
            links = Links([up.environment["CONVIVE_LINK_KEYS"]], base_url="")
            lists = [
                request("GET", "/v1/invitations", authorization=f"Bearer {up.environment['CONVIVE_OPS_TOKEN']}"),
            ]
            pages = [request("GET", f"/i/{token_of(links, one)}", accept="text/html") for one in await self._alive()]
            return [await self._asking(up, LIST, lists), await self._asking(up, PAGE, pages)]

    async def _asking(self, up: Running, what: str, requests: Sequence[str]) -> Cost:
        plan = Plan(up.ports[WEB], requests, 1, _SECONDS)
        await put_on(self._stage, replace(plan, seconds=1.0))  # not counted
        taken = Taken(up.pids).begin()
        done = await put_on(self._stage, plan)
        cpu = taken.each(done.asked)
        if what == LIST:
            del cpu[DIRECTORY]
        return Cost(self._count, what, done.asked, done.p50, cpu, done.faults(200))

    async def _alive(self) -> list[dict[str, Any]]:
        """Some whose link works, wherever they are among those of the last days."""
        later = datetime.now(UTC) + timedelta(hours=1)
        which = {"state": State.SENT.value, "channel": "email", "expires_at": {"$gt": later}}
        some = await self._stored.aggregate(
            [{"$match": which}, {"$sample": {"size": _LINKS}}, {"$project": {"link_sequence": 1}}]
        )
        return [one async for one in some]


def _without_mail(sample: Sample) -> Sample:
    """The same person, to be invited later: taking in is all there is to do."""
    body = sample.body.replace(b'"invite_by":"email"', b'"invite_by":"none"')
    assert body != sample.body
    return replace(sample, body=body)


def _due(count: int) -> list[dict[str, Any]]:
    """Invitations that nobody has begun to send, all due now."""
    chance, now = random.Random(f"due {count}"), datetime.now(UTC)
    documents: list[dict[str, Any]] = []
    for number in range(_MANY):
        # Every sink takes an address in ASCII.
        email = f"due.{number}@example.com"
        person = replace(a_person(chance, number, max(count, _MANY)), email=email, email_key=email)
        cause = Cause(now, f"event:{DIRECTORY_SOURCE}", event_id=f"{person.member_id}.1")
        blank = Invitation.blank(invitation_id(DIRECTORY_SOURCE, person.member_id), DIRECTORY_SOURCE, now)
        change = blank.created(person, "email", Told(now, 1), cause, POLICY)
        assert change is not None
        documents.append({**to_document(change, []), "writes": [ObjectId()]})
    return documents


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "What things cost as more is stored"
METHOD = f"""\
Generated invitations of a year, as many as said, in a database of their own on one server with a cache of
{_CACHE_GB:.0f} GB; the rounds take turns between them. Processor time of the service and of the database (and, for
link pages, of the directory, which is asked whether there is an account) for each operation, and how long it took.
{_MANY:,} `user.created` to be invited later wait for a worker that stands still, then goes on; the clock runs to the
last of them in the database. {_MANY:,} invitations are due to be sent in the same way, mails to {{sink}}; the clock
runs to the last `invitation.sent` in the queue. What they added is deleted again. The first page of `/v1/invitations`,
and link pages of {_LINKS:,} invitations whose link works (others each round), one after another for {_SECONDS:.0f} s:
the median. A ratio is that of one round to the same round with the fewest; a bar is kept when the medians of both
ratios keep it."""


def of(results: Sequence[Result], what: str, stored: int) -> list[Cost]:
    """Round by round."""
    return [one for one in results if isinstance(one, Cost) and (one.what, one.stored) == (what, stored)]


def chapter(results: Sequence[Result]) -> list[str]:
    held = [one for one in results if isinstance(one, Population)]
    fewest = held[0].stored
    lines = [
        f"| as a multiple of that with {fewest:,} stored | stored | processor time | waited | bar | |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what in KINDS:
        for stored in [one.stored for one in held[1:]]:
            pairs = list(zip(of(results, what, stored), of(results, what, fewest), strict=True))
            cpu = middle([one.whole_cpu_ms / other.whole_cpu_ms for one, other in pairs])
            wall = middle([one.wall_ms / other.wall_ms for one, other in pairs])
            bar = 1.15 if stored <= 1_000_000 else 1.3
            told = (f"{value:.2f} × ({low:.2f} to {high:.2f})" for value, low, high in (cpu, wall))
            reached = verdict(max(cpu[0], wall[0]) <= bar)
            lines.append(f"| {what} | {stored:,} | {' | '.join(told)} | ≤ {bar:g} × | {reached} |")
    lines += [
        "",
        "| | stored | waited | CPU: service | directory | database |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for what in KINDS:
        for stored in [one.stored for one in held]:
            mine = of(results, what, stored)
            own = WORKER if what in (INTAKE, DUE) else WEB
            cpu = (
                f"{middle([one.cpu_ms.get(n, 0.0) for one in mine])[0]:.2f} ms" for n in (own, DIRECTORY, "database")
            )
            wall = middle([one.wall_ms for one in mine])[0]
            lines.append(f"| {what} | {stored:,} | {wall:.2f} ms | {' | '.join(cpu)} |")
    lines += ["", "| stored | made in | bytes each: document | on disk | indexes |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.stored:,} | {one.seconds:.0f} s | {one.document:.0f} | {one.on_disk:.0f} | {one.indexes:.0f} |"
        for one in held
    ]
    [place] = [one for one in results if isinstance(one, Place)]
    lines += ["", f"This database kept its files {'in memory' if place.in_memory else 'on disk'}."]
    return lines + told_faults(
        f"{one.what}, {one.stored:,} stored: {fault}"
        for one in results
        if isinstance(one, Cost)
        for fault in one.faults
    )
