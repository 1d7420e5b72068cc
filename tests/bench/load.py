"""Puts load on a server from a process of its own: `python -m tests.bench.load plan.json` prints what came of it.

Nothing of a request is made while it runs, and of an answer only its status and its length are looked at, so that one
core asks several times as much as one process of a server answers. What it took of its core is told all the same.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import uvloop

from deploy.local.addresses import LOOPBACK
from deploy.local.trouble import CannotStart
from tests.bench.stage import Stage

_TICK = 0.001
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """With a `rate` an open loop, so many a second whether answered or not; without one a closed loop, in which each
    connection asks again when it is answered. It ends after so many `seconds`, and, asking each thing `once`, when all
    were asked."""

    port: int
    requests: Sequence[str]
    connections: int
    seconds: float
    rate: float = 0.0
    once: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it: milliseconds from the moment a request was due to the last byte of its answer; `busy` is the
    share of a core that asking took."""

    asked: int
    seconds: float
    rate: float
    p50: float
    p99: float
    longest: float
    busy: float
    statuses: Mapping[str, int]

    def faults(self, *expected: int) -> list[str]:
        """Statuses that should not have been."""
        others = {status: count for status, count in self.statuses.items() if int(status) not in expected}
        return [f"{count} answers of {self.asked} were {status}" for status, count in others.items()]


def request(method: str, path: str, *, body: str = "", **headers: str) -> str:
    """A request as it goes out; `content_type="…"` is the header Content-Type."""
    lines = [f"{method} {path} HTTP/1.1", "Host: bench", *(f"{n.replace('_', '-')}: {v}" for n, v in headers.items())]
    if method != "GET":
        lines.append(f"Content-Length: {len(body.encode())}")
    return "\r\n".join(lines) + "\r\n\r\n" + body


async def put_on(stage: Stage, plan: Plan) -> Load:
    """Carry a plan out in a process of its own."""
    file = stage.folder / "plan.json"
    file.write_text(json.dumps(asdict(plan)))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load", str(file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await child.communicate()
    if child.returncode != 0:
        raise CannotStart(f"The load could not be put on: {complaint.decode()[-2000:]}")
    return Load(**json.loads(said))


# --- the process itself --------------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    def __init__(self, asker: _Asker) -> None:
        self._asker = asker
        self._received = b""
        self._due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of this one.
        self._transport = cast("asyncio.Transport", transport)

    def ask(self, what: bytes, due: float) -> None:
        self._due = due
        self._transport.write(what)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        end = received.find(b"\r\n\r\n")
        if end < 0:
            return
        at = received.find(b"Content-Length: ", 0, end)
        length = int(received[at + 16 : received.find(b"\r", at)]) if at > 0 else 0
        if len(received) >= end + 4 + length:
            self._received = b""
            self._asker.answered(self, received[9:12], self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        self._asker.broken(self)


class _Asker:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        whats = [what.encode() for what in plan.requests]
        self._whats = iter(whats) if plan.once else itertools.cycle(whats)
        self._idle: list[_Connection] = []
        self._waiting: deque[float] = deque()
        self._took: list[float] = []
        self._statuses: Counter[bytes] = Counter()
        self._under_way = 0
        self._more = True
        self._over = asyncio.Event()
        self._last = 0.0

    async def run(self) -> Load:
        loop = asyncio.get_running_loop()
        for _ in range(self._plan.connections):
            _, connection = await loop.create_connection(lambda: _Connection(self), LOOPBACK, self._plan.port)
            self._idle.append(connection)
        gc.collect()
        gc.freeze()
        cpu, began = time.process_time(), time.perf_counter()
        self._until = began + self._plan.seconds
        if self._plan.rate:
            loop.call_soon(self._tick, began, 0)
        else:
            idle, self._idle = self._idle, []
            for connection in idle:
                self._ask(connection, time.perf_counter())
        async with asyncio.timeout(self._plan.seconds + _PATIENCE):
            await self._over.wait()
        seconds = self._last - began
        took = sorted(self._took)
        return Load(
            asked=len(took),
            seconds=seconds,
            rate=len(took) / seconds,
            p50=1000 * took[len(took) // 2],
            p99=1000 * took[int(len(took) * 0.99)],
            longest=1000 * took[-1],
            busy=(time.process_time() - cpu) / seconds,
            statuses={status.decode(): count for status, count in self._statuses.items()},
        )

    def _tick(self, began: float, asked: int) -> None:
        """What became due since the last tick is due now: a request is never older than the moment it could be sent."""
        now = time.perf_counter()
        if now >= self._until:
            self._more = False
            if not self._under_way:
                self._over.set()
            return
        due = int((now - began) * self._plan.rate)
        for _ in range(due - asked):
            if self._idle:
                self._ask(self._idle.pop(), now)
            else:
                self._waiting.append(now)
        asyncio.get_running_loop().call_later(_TICK, self._tick, began, due)

    def _ask(self, connection: _Connection, due: float) -> None:
        what = next(self._whats, None) if self._more else None
        if what is None:
            self._more = False
            if not self._under_way:
                self._over.set()
            return
        self._under_way += 1
        connection.ask(what, due)

    def answered(self, connection: _Connection, status: bytes, due: float) -> None:
        now = self._last = time.perf_counter()
        self._took.append(now - due)
        self._statuses[status] += 1
        self._under_way -= 1
        if not self._plan.rate:
            self._more = self._more and now < self._until
            self._ask(connection, now)
        elif self._waiting:
            self._ask(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)
        if not self._more and not self._under_way:
            self._over.set()

    def broken(self, connection: _Connection) -> None:
        """An answer that never comes counts as one with the status 0."""
        if connection in self._idle:
            self._idle.remove(connection)
        elif not self._over.is_set():
            self._statuses[b"0"] += 1
            self._under_way -= 1
            if not self._under_way:
                self._over.set()


def main() -> None:
    plan = Plan(**cast("dict[str, Any]", json.loads(Path(sys.argv[1]).read_text())))
    print(json.dumps(asdict(uvloop.run(_Asker(plan).run()))))


if __name__ == "__main__":
    main()
