"""Case `fairness`: somebody is invited by hand, again and again, while an import of very many goes out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from convive_contracts import DIRECTORY_SOURCE, invitation_id
from tests.bench.case import Options, verdict
from tests.bench.sink import mail_sink
from tests.bench.stage import Stage

ALONE, BESIDE = "alone", "beside an import"
_ALONE = 30
_EVERY = 0.5
"""Seconds between two invitations by hand."""


@dataclass(frozen=True, slots=True)
class Wait:
    """From the call that adds a member to the moment at which the provider had the mail."""

    when: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Import:
    """The import itself: from its start to the last mail."""

    rows: int
    preview_seconds: float
    seconds: float
    directory_mb: int


async def run(stage: Stage, options: Options) -> list[Wait | Import]:
    """One import of so many rows, with invitations by hand before and during."""
    rows = options.rows
    await stage.clear()
    async with mail_sink(stage.folder) as sink, _services(stage, stage.environment(sink.port)) as firm:
        alone = [await firm.invite(ALONE) for _ in range(_ALONE)]
        await firm.sent(len(alone))
        uploaded = time.monotonic()
        one = await firm.upload(rows)
        previewed = time.monotonic()
        await firm.call("POST", f"{one}/start", json={"invite_by": "email"})
        beside: list[tuple[str, str, datetime]] = []
        # The sink counts: asking the database would be one more load on it.
        while sink.mails() < rows + len(alone) + len(beside):
            beside.append(await firm.invite(BESIDE))
            await asyncio.sleep(_EVERY)
        ended = time.monotonic()
        await firm.sent(rows + len(alone) + len(beside))
        waits = [await firm.waited(*which) for which in (*alone, *beside)]
        return [*waits, Import(rows, previewed - uploaded, ended - previewed, firm.memory_mb())]


class _Firm:
    def __init__(self, stage: Stage, http: aiohttp.ClientSession, token: str, pid: int) -> None:
        self._stage = stage
        self._http = http
        self._token = token
        self._pid = pid
        self.dossier = ""

    async def call(self, method: str, path: str, **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", **options.pop("headers", {})}
        async with self._http.request(method, path, headers=headers, **options) as response:
            response.raise_for_status()
            return await response.json()

    async def begin(self) -> None:
        made = await self.call("POST", "/v1/cabinets", json={"name": "Cabinet Léger"})
        self._token = made["api_key"]
        self.dossier = (await self.call("POST", "/v1/dossiers", json={"name": "Boulangerie Martin"}))["id"]
        self._big = (await self.call("POST", "/v1/dossiers", json={"name": "Usine Petit"}))["id"]

    async def invite(self, when: str) -> tuple[str, str, datetime]:
        at = datetime.now(UTC)
        person = {"first_name": "Jeanne", "last_name": "Martin", "email": f"by.hand.{at.timestamp()}@example.com"}
        member = await self.call("POST", f"/v1/dossiers/{self.dossier}/members", json=person)
        return when, invitation_id(DIRECTORY_SOURCE, member["id"]), at

    async def upload(self, rows: int) -> str:
        lines = (f"Zoé,Numéro {number},person.{number}@example.com" for number in range(rows))
        table = "\n".join(["First name,Last name,E-mail", *lines]).encode()
        path = f"/v1/imports?dossier_id={self._big}"
        made = await self.call("POST", path, data=table, headers={"Content-Type": "text/csv"})
        return f"/v1/imports/{made['id']}"

    async def sent(self, count: int) -> None:
        while await self._stage.count_invitations({"state": "sent"}) < count:
            await asyncio.sleep(0.2)

    async def waited(self, when: str, id: str, at: datetime) -> Wait:
        sent_at: datetime = (await self._stage.invitation(id))["sent_at"]
        return Wait(when, (sent_at - at).total_seconds())

    def memory_mb(self) -> int:
        lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
        [most] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        return most // 1024


@asynccontextmanager
async def _services(stage: Stage, environment: Mapping[str, str]) -> AsyncGenerator[_Firm]:
    services = [stage.child(f"the {name} service", [name], environment) for name in ("directory", "invitation")]
    url = environment["CONVIVE_DIRECTORY_URL"]
    for service in services:
        service.start()
    try:
        async with aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=120)) as http:
            for base in (url, environment["CONVIVE_INVITATION_URL"]):
                await services[0].until(lambda base=base: _ready(base), within=30)
            firm = _Firm(stage, http, environment["CONVIVE_ADMIN_TOKEN"], services[0].pid)
            await firm.begin()
            yield firm
    finally:
        for service in services:
            await service.stop()


async def _ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as response:
            return response.status == 200
    except (aiohttp.ClientError, OSError):
        return False


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "Invited by hand while an import goes out"
METHOD = """\
A table of {rows:,} rows is uploaded, previewed and started over the directory's HTTP API; one process of each service,
the mails go to a sink. Twice a second somebody is added to another file by one call. The clock runs from that call to
the moment at which the provider had taken the mail, as the invitation records it."""


def chapter(results: Sequence[Wait | Import]) -> list[str]:
    """How long those who were invited by hand waited, and the import beside them."""
    lines = ["| invited by hand | times | p50 | p99 | longest | bar | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for when in (ALONE, BESIDE):
        waits = sorted(one.seconds for one in results if isinstance(one, Wait) and one.when == when)
        p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
        bar = ("≤ 1 s", verdict(p99 <= 1.0)) if when == BESIDE else ("", "")
        figures = (f"{1000 * seconds:.0f} ms" for seconds in (median(waits), p99, waits[-1]))
        lines.append(f"| {when} | {len(waits)} | {' | '.join(figures)} | {bar[0]} | {bar[1]} |")
    [whole] = [one for one in results if isinstance(one, Import)]
    speed = f"the last mail {whole.seconds:.0f} s after its start ({whole.rows / whole.seconds:.0f} per second)"
    preview = f"{whole.rows:,} rows, previewed in {whole.preview_seconds:.1f} s"
    lines += ["", f"The import: {preview}, {speed}; the directory took {whole.directory_mb} MB at most."]
    return lines
