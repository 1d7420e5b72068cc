"""Case `password`: choosing a password, beside argon2id alone; and what others wait while many choose theirs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from invitation.lifecycle.links import Link, Links
from invitation.lifecycle.states import State
from invitation.store.mongo import INVITATIONS
from tests.bench.case import Options, middle, told_faults, verdict
from tests.bench.firm import Firm
from tests.bench.load import Load, Plan, put_on, request
from tests.bench.running import BARE, DIRECTORY, WEB, WORKER, Running, Taken, running
from tests.bench.sink import mail_sink
from tests.bench.stage import Stage
from tests.speaking import until

THREADS = (1, 2)
IDLE, BURST = "nobody else", "while passwords are chosen"
PAGE, HANDLER = "link page", "bare handler"
_SECONDS = 5.0
_CONNECTIONS = 12
_LOOKING = 10.0
_LOOKS = 20.0
"""Pages asked for per second beside the passwords."""
_MOST = 90
"""Passwords a second that none of the machines hashes with one thread."""
_READERS = 200


@dataclass(frozen=True, slots=True)
class Chosen:
    """Passwords per second through both services, and argon2id alone, in as many threads."""

    threads: int
    chosen: int
    rate: float
    alone: float
    p50: float
    cpu_ms: Mapping[str, float]
    faults: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Looked:
    """Pages at a slow, fixed rate. Milliseconds."""

    threads: int
    what: str
    when: str
    p50: float
    p99: float
    faults: list[str] = field(default_factory=list[str])


async def run(stage: Stage, options: Options) -> list[Chosen | Looked]:
    """With one hashing thread, then with two; the contenders take turns."""
    return [result for threads in THREADS for result in await _with(stage, options, threads)]


async def _with(stage: Stage, options: Options, threads: int) -> list[Chosen | Looked]:
    await stage.clear()
    people = int((_SECONDS + 2 * _LOOKING) * _MOST * threads * options.repeat) + _READERS
    results: list[Chosen | Looked] = []
    more = {"CONVIVE_PASSWORD_THREADS": str(threads)}
    async with (
        mail_sink(stage.folder) as sink,
        running(stage, [DIRECTORY, WEB, WORKER, BARE], smtp_port=sink.port, more=more) as up,
    ):
        firm = await Firm.begun(up)
        invited = await firm.invite(stage, people)
        await up.processes[WORKER].stop()
        case = _Case(stage, up, threads, invited)
        for what in (PAGE, HANDLER):
            await case.look(what, _LOOKS * 3)  # not counted
        for number in range(options.repeat):
            if number % 2 == 0:
                alone, chosen = await case.alone(), await case.choose(_SECONDS)
            else:
                chosen, alone = await case.choose(_SECONDS), await case.alone()
            results.append(Chosen(threads, chosen.chosen, chosen.rate, alone, chosen.p50, chosen.cpu_ms, chosen.faults))
            for what in (PAGE, HANDLER):
                results.append(await case.looked(what, IDLE))
                before = await case.noted()

                async def begun(before: int = before) -> bool:
                    return await case.noted() > before

                burst = asyncio.create_task(case.choose(_LOOKING + 1))
                await until(begun, what="the first of them is chosen")
                results.append(await case.looked(what, BURST))
                await burst
            print(f"  {threads} threads, round {number + 1} of {options.repeat}", flush=True)
    return results


class _Case:
    def __init__(self, stage: Stage, up: Running, threads: int, invited: Sequence[str]) -> None:
        self._stage = stage
        self._up = up
        self._threads = threads
        links = Links([up.environment["CONVIVE_LINK_KEYS"]], base_url="")
        paths = [f"/i/{links.token(Link(id, 1))}" for id in invited]
        self._ids = dict(zip(paths, invited, strict=True))
        self._readers, self._choosers = paths[:_READERS], paths[_READERS:]

    async def alone(self) -> float:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.peers.bare_hashes", str(self._threads), str(_SECONDS)),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await child.communicate()
        return float(said)

    async def choose(self, seconds: float) -> Chosen:
        """As a browser sends the form; each link once."""
        most = int(seconds * _MOST * self._threads)
        now, self._choosers = self._choosers[:most], self._choosers[most:]
        form = {"content_type": "application/x-www-form-urlencoded", "accept": "text/html"}
        posts = [
            request("POST", f"{path}/password", body=f"password=correct+horse+battery+staple+{number}", **form)
            for number, path in enumerate(now)
        ]
        taken = Taken(self._up.pids).begin()
        done = await put_on(self._stage, Plan(self._up.ports[WEB], posts, _CONNECTIONS, seconds, once=True))
        cpu = taken.each(done.asked)
        ids = [self._ids[path] for path in now[: done.asked]]
        states: dict[str, Any] = {"_id": {"$in": ids}, "state": State.PASSWORD_SET.value}
        noted = await self._stage.database[INVITATIONS].count_documents(states)
        faults = done.faults(303) + ([] if noted == len(ids) else [f"{noted} of {len(ids)} were noted"])
        faults += [f"asked for no more than {most} passwords: too few"] if done.asked == most else []
        return Chosen(self._threads, done.asked, done.rate, 0.0, done.p50, cpu, faults)

    async def noted(self) -> int:
        return await self._stage.count_invitations({"state": State.PASSWORD_SET.value})

    async def look(self, what: str, rate: float) -> Load:
        of_product = what == PAGE
        paths = self._readers if of_product else [f"/bare/{self._ids[path]}" for path in self._readers]
        gets = [request("GET", path, accept="text/html") for path in paths]
        port = self._up.ports[WEB if of_product else BARE]
        return await put_on(self._stage, Plan(port, gets, 16, _LOOKING, rate))

    async def looked(self, what: str, when: str) -> Looked:
        done = await self.look(what, _LOOKS)
        return Looked(self._threads, what, when, done.p50, done.p99, done.faults(200))


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "Choosing a password"
METHOD = f"""\
People are imported into the directory, invited by mail (to a sink), and choose their passwords with their links as a
browser sends them: the invitation service judges the password and asks the directory, which hashes it, makes the
account and answers; both note it. {_CONNECTIONS} connections, closed loop, {_SECONDS:.0f} s. Beside it the product's
own hasher alone, kept busy in as many threads by a process that does nothing else. On two cores two threads leave
no core for all the rest; one thread leaves one. The link pages are asked for at {_LOOKS:.0f} a second for
{_LOOKING:.0f} s, with nobody else there and while passwords are chosen as above; so is, for comparison, a process that
has nothing to do with all that and answers with one read and a fixed body (the bare handler of `pages`): what it waits
is what sharing two cores costs anybody."""


def chapter(results: Sequence[Chosen | Looked]) -> list[str]:
    lines = ["| | median | lowest to highest | bar | |", "| --- | --- | --- | --- | --- |"]
    for threads in THREADS:
        value, low, high = middle([one.rate / one.alone for one in _chosen(results, threads)])
        lines.append(
            f"| passwords, as a multiple of argon2id alone, {threads} threads | {value:.2f} ×"
            f" | {low:.2f} to {high:.2f} | ≥ 0.9 × | {verdict(value >= 0.9)} |"
        )
    for what in (PAGE, HANDLER):
        for threads in THREADS:
            idle, burst = _looked(results, threads, what, IDLE), _looked(results, threads, what, BURST)
            value, low, high = middle([one.p99 / other.p99 for one, other in zip(burst, idle, strict=True)])
            bar = f"≤ 3 × | {verdict(value <= 3)}" if what == PAGE else "|"
            lines.append(
                f"| p99 of a {what} meanwhile, as a multiple of idle, {threads} threads | {value:.2f} ×"
                f" | {low:.2f} to {high:.2f} | {bar} |"
            )
    lines += [
        "",
        "| threads | passwords per second | argon2id alone | p50 | CPU each: invitation | directory | database |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for threads in THREADS:
        mine = _chosen(results, threads)
        cpu = (f"{middle([one.cpu_ms[name] for one in mine])[0]:.1f} ms" for name in (WEB, DIRECTORY, "database"))
        rate, alone, p50 = (middle([getattr(one, name) for one in mine])[0] for name in ("rate", "alone", "p50"))
        lines.append(f"| {threads} | {rate:.1f} | {alone:.1f} | {p50:.0f} ms | {' | '.join(cpu)} |")
    lines += ["", "| | threads | | p50 | p99 |", "| --- | --- | --- | --- | --- |"]
    for what in (PAGE, HANDLER):
        for threads in THREADS:
            for when in (IDLE, BURST):
                mine = _looked(results, threads, what, when)
                p50, p99 = (middle([getattr(one, name) for one in mine])[0] for name in ("p50", "p99"))
                lines.append(f"| {what} | {threads} | {when} | {p50:.1f} ms | {p99:.1f} ms |")
    return lines + told_faults(f"{one.threads} threads: {fault}" for one in results for fault in one.faults)


def _chosen(results: Sequence[Chosen | Looked], threads: int) -> list[Chosen]:
    return [one for one in results if isinstance(one, Chosen) and one.threads == threads]


def _looked(results: Sequence[Chosen | Looked], threads: int, what: str, when: str) -> list[Looked]:
    looked = [one for one in results if isinstance(one, Looked)]
    return [one for one in looked if (one.threads, one.what, one.when) == (threads, what, when)]
