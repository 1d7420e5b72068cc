"""Case `operations`: what operators wait for, with few invitations stored and with many.

The service's web part alone, over HTTP, one request after another on one connection: first pages of every filter and
of the combinations a console offers, the overview, and the export with the memory it takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import aiohttp
from yarl import URL

from convive_kit.http import rfc3339
from deploy.local.addresses import LOOPBACK, free_port
from deploy.local.database import Database
from deploy.local.processes import Process
from tests.bench.case import Options, verdict
from tests.bench.population import an_id, populate
from tests.bench.processes import memory
from tests.bench.stage import Stage

_CACHE_GB = 2.0
_ASKED = 60
"""Requests per query and round: the 99th percentile of a round is about its slowest."""

Query = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Population:
    """What was stored, in bytes per invitation where nothing else is said."""

    stored: int
    seconds: float
    document: float
    on_disk: float
    indexes: float


@dataclass(frozen=True, slots=True)
class Looked:
    """One question, asked in several rounds: milliseconds of each round's median and 99th percentile."""

    stored: int
    what: str
    p50: list[float]
    p99: list[float]
    items: int
    goes_on: bool


@dataclass(frozen=True, slots=True)
class Exported:
    """One export; memory of the service in MB before, at its highest while it ran, and after."""

    stored: int
    format: str
    rows: int
    seconds: float
    before: float
    highest: float
    after: float

    @property
    def rate(self) -> float:
        return self.rows / self.seconds


Result = Population | Looked | Exported


async def run(stage: Stage, options: Options) -> list[Result]:
    """Each count of invitations in a database of its own; the rounds take turns between them."""
    counts = options.stored
    await stage.clear()
    results: list[Result] = []
    async with Database(stage.folder / "operations", cache_gb=_CACHE_GB) as server:
        now = datetime.now(UTC)
        for count in counts:
            held = await asyncio.to_thread(populate, server.url, _database(count), count, until=now)
            results.append(
                Population(count, held["seconds"], held["document"], held["stored"], held["indexes"]),
            )
        asked = {count: await _ask(stage, server.url, count, now, options.repeat) for count in counts}
        for count in counts:
            results += asked[count]
    return results


def _database(count: int) -> str:
    return f"operations_{count}"


async def _ask(stage: Stage, mongo_url: str, count: int, now: datetime, rounds: int) -> list[Result]:
    environment = stage.environment(
        free_port(), CONVIVE_MONGO_URL=mongo_url, CONVIVE_INVITATION_DATABASE=_database(count)
    )
    async with _service(stage, environment) as (service, client):
        queries = await _queries(client, count, now)
        took: dict[str, list[list[float]]] = {what: [] for what in queries}
        answers: dict[str, Any] = {}
        for _ in range(rounds):
            for what, (path, query) in queries.items():
                url = URL(path).with_query(query)
                answers[what] = await _get(client, url)  # not counted: the first finds nothing in any cache
                took[what].append([await _timed(client, url) for _ in range(_ASKED)])
        results: list[Result] = [
            Looked(
                count,
                what,
                [median(one) for one in took[what]],
                [sorted(one)[int(len(one) * 0.99)] for one in took[what]],
                len(answers[what].get("items", ())),
                answers[what].get("next_cursor") is not None,
            )
            for what in queries
        ]
        for _ in range(rounds):
            results += [await _export(client, service, count, format) for format in ("csv", "jsonl")]
        return results


@asynccontextmanager
async def _service(
    stage: Stage, environment: Mapping[str, str]
) -> AsyncGenerator[tuple[Process, aiohttp.ClientSession]]:
    service = stage.child("the invitation service", ["invitation", "--role", "web"], environment)
    service.start()
    token = environment["CONVIVE_OPS_TOKEN"]
    url = f"http://{LOOPBACK}:{environment['CONVIVE_INVITATION_PORT']}"
    try:
        async with aiohttp.ClientSession(
            url, headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=600)
        ) as client:

            async def ready() -> bool:
                try:
                    async with client.get("/readyz") as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

            await service.until(ready, within=120)
            yield service, client
    finally:
        await service.stop()


async def _get(client: aiohttp.ClientSession, url: URL) -> Any:
    async with client.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def _timed(client: aiohttp.ClientSession, url: URL) -> float:
    """Milliseconds to the end of the answer; what it says is looked at by nobody, for that takes time too."""
    began = time.perf_counter()
    async with client.get(url) as answer:
        await answer.read()
    return (time.perf_counter() - began) * 1000


async def _queries(client: aiohttp.ClientSession, count: int, now: datetime) -> dict[str, tuple[str, Query]]:
    """By what they ask for. People are those that are there; the largest cabinet holds several in a hundred."""
    someone = (await _get(client, URL("/v1/invitations?limit=1&state=active")))["items"][0]["member"]
    large, small = an_id("cabinet", 0), an_id("cabinet", 15)
    dossier = an_id("dossier", 0, 1)
    error = "550 5.1.1 No such user"
    week, day = rfc3339(now - timedelta(days=7)), rfc3339(now - timedelta(days=1))
    half_a_year, later = rfc3339(now - timedelta(days=180)), rfc3339(now - timedelta(days=173))
    begins, name = ("q", "du"), ("q", f"{someone['first_name']} {someone['last_name'][:2]}")
    sent, failed = ("state", "sent"), ("state", "failed")
    lists: dict[str, Query] = {
        "everything": [],
        "everything, oldest first": [("sort", "created_at")],
        "state": [sent],
        "several states": [sent, failed, ("state", "opened")],
        "channel": [("channel", "sms")],
        "large cabinet": [("cabinet_id", large)],
        "small cabinet": [("cabinet_id", small)],
        "dossier": [("dossier_id", dossier)],
        "member": [("member_id", someone["id"])],
        "email": [("email", someone["email"])],
        "q, two letters": [begins],
        "q, a name": [name],
        "q, an address": [("q", someone["email"])],
        "q, nobody": [("q", "zzyzx nobody")],
        "error": [("error", error)],
        "created after": [("created_after", day)],
        "created before": [("created_before", half_a_year)],
        "created between": [("created_after", half_a_year), ("created_before", later)],
        "stuck for": [("stuck_for", "PT1H")],
        "state + large cabinet": [failed, ("cabinet_id", large)],
        "state + small cabinet": [failed, ("cabinet_id", small)],
        "state + error": [failed, ("error", error)],
        "state + dossier": [("state", "active"), ("dossier_id", dossier)],
        "state + channel": [failed, ("channel", "sms")],
        "state + created between": [failed, ("created_after", half_a_year), ("created_before", later)],
        "state + stuck for": [sent, ("stuck_for", "P3D")],
        "state + q": [failed, begins],
        "large cabinet + q": [("cabinet_id", large), begins],
        "small cabinet + q": [("cabinet_id", small), begins],
        "large cabinet + error": [("cabinet_id", large), ("error", error)],
        "large cabinet + state + q": [("cabinet_id", large), failed, begins],
        "channel + created after": [("channel", "none"), ("created_after", week)],
        "error + stuck for": [("error", error), ("stuck_for", "P3D")],
        "state + channel + cabinet + q": [failed, ("channel", "sms"), ("cabinet_id", large), begins],
    }
    return {**{what: ("/v1/invitations", query) for what, query in lists.items()}, OVERVIEW: ("/v1/stats", [])}


OVERVIEW = "overview"


async def _export(client: aiohttp.ClientSession, service: Process, count: int, format: str) -> Exported:
    before = memory(service.pid)[0]
    began, rows, highest = time.monotonic(), 0, before
    async with client.get(f"/v1/invitations/export?format={format}") as answer:
        async for piece in answer.content.iter_any():
            rows += piece.count(b"\n")
            highest = max(highest, memory(service.pid)[0])
    seconds = time.monotonic() - began
    rows -= format == "csv"
    assert rows == count, f"{rows} rows of {count}"
    return Exported(count, format, rows, seconds, before, highest, memory(service.pid)[0])


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "What operators wait for"
METHOD = """\
The service's web part alone, over HTTP, one request after another on one connection; first pages of 50. Each question
is asked 60 times a round: of several rounds the median, in parentheses the best, by which bars are judged: another
tenant of the machine makes a round slower and never faster. Where the small database has fewer rows to show than the
large one, the ratio compares unequal pages, and no bar is set for it. A page is short where a rare combination would
scan too far: it ends after 20 ms and says where it goes on. The overview is counted in the background and says of when
it is. Memory is resident memory (VmRSS) of the service. Indexes are made after the documents, so they are denser than
those that grew."""


def chapter(results: Sequence[Result]) -> list[str]:
    """What is slower than its bar first in each table; of several rounds the median, and the best in parentheses."""
    held = [one for one in results if isinstance(one, Population)]
    few, many = held[0].stored, held[-1].stored
    looked = {(one.stored, one.what): one for one in results if isinstance(one, Looked)}
    lines = [
        f"| question | rows | p50, {few:,} stored | p50, {many:,} stored | ratio | bar | p99 of the latter | bar | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows: list[tuple[bool, str]] = []
    for what in dict.fromkeys(what for _, what in looked):
        one, other = looked[few, what], looked[many, what]
        ratio, p99 = min(other.p50) / min(one.p50), median(other.p99)
        is_list = what != OVERVIEW
        compared = is_list and one.items == other.items
        met = (ratio <= 1.5 or not compared) and min(other.p99) < 50
        shown = f"{one.items} → {other.items}{', short' if other.goes_on and other.items < 50 else ''}"
        line = (
            f"| {what} | {shown if is_list else ''} | {min(one.p50):.1f} ms"
            f" | {median(other.p50):.1f} ({min(other.p50):.1f}) ms | {ratio:.2f} | {'≤ 1.5' if compared else ''}"
            f" | {p99:.1f} ({min(other.p99):.1f}) ms | < 50 ms | {verdict(met)} |"
        )
        rows.append((met, line))
    lines += [row for _, row in sorted(rows, key=lambda row: row[0])]
    lines += [
        "",
        "| export | rows per second, each round | bar | | memory before | highest | after |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for stored, format in dict.fromkeys((o.stored, o.format) for o in results if isinstance(o, Exported)):
        runs = [o for o in results if isinstance(o, Exported) and (o.stored, o.format) == (stored, format)]
        rates = ", ".join(f"{one.rate:,.0f}" for one in runs)
        bar = f"≥ 20,000 | {verdict(max(one.rate for one in runs) >= 20_000)}" if stored == many else " | "
        lines.append(
            f"| {stored:,} as {format} | {rates} | {bar} | {runs[0].before:.0f} MB"
            f" | {max(one.highest for one in runs):.0f} MB | {runs[-1].after:.0f} MB |"
        )
    lines += ["", "| stored | made in | bytes each: document | on disk | indexes |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.stored:,} | {one.seconds:.0f} s | {one.document:.0f} | {one.on_disk:.0f} | {one.indexes:.0f} |"
        for one in held
    ]
    return lines
