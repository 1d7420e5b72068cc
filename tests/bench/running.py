"""The services and their peers as children of a measurement, and what they and the engines took of the processor."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp

from deploy.local.addresses import LOOPBACK, free_port
from deploy.local.processes import Process
from tests.bench.processes import cpu_seconds
from tests.bench.stage import Stage

DIRECTORY, WEB, WORKER, BARE, CALLING = "directory", "invitation", "worker", "bare", "calling"
_PROGRAMS: Mapping[str, Sequence[str]] = {
    DIRECTORY: ("directory",),
    WEB: ("invitation", "--role", "web"),
    WORKER: ("invitation", "--role", "worker"),
    BARE: ("tests.bench.peers.bare_handler",),
    CALLING: ("tests.bench.peers.calling_handler",),
}


@dataclass(frozen=True, slots=True)
class Running:
    """Programs by name: their processes and ports."""

    processes: Mapping[str, Process]
    ports: Mapping[str, int]
    environment: Mapping[str, str]
    engines: Mapping[str, int]

    @property
    def pids(self) -> dict[str, int]:
        """Of the programs that run and of the engines."""
        return {**{name: process.pid for name, process in self.processes.items() if process.alive}, **self.engines}

    def client(self, name: str, token: str = "") -> aiohttp.ClientSession:
        """For the few calls that are not measured."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        url = f"http://{LOOPBACK}:{self.ports[name]}"
        return aiohttp.ClientSession(url, headers=headers, timeout=aiohttp.ClientTimeout(total=120))


@dataclass(slots=True)
class Taken:
    """Milliseconds of the processor each process took since `begin`, for each of so many operations."""

    pids: Mapping[str, int]
    _before: dict[str, float] = field(default_factory=dict[str, float])

    def begin(self) -> Self:
        self._before = {name: cpu_seconds(pid) for name, pid in self.pids.items()}
        return self

    def each(self, operations: int) -> dict[str, float]:
        return {name: 1000 * (cpu_seconds(pid) - self._before[name]) / operations for name, pid in self.pids.items()}


@contextlib.asynccontextmanager
async def running(
    stage: Stage,
    names: Sequence[str],
    *,
    engines: Mapping[str, int] | None = None,
    smtp_port: int = 0,
    more: Mapping[str, str] | None = None,
) -> AsyncGenerator[Running]:
    """Start these programs and end them afterwards. Each reads the stage's environment with `more` in it."""
    ports: dict[str, int] = {}
    worker_port, bare_port = free_port(), free_port()
    environment = stage.environment(
        smtp_port or free_port([worker_port, bare_port]), BENCH_PORT=str(bare_port), **(more or {})
    )
    processes: dict[str, Process] = {}
    for name in names:
        own = {"CONVIVE_INVITATION_PORT": str(worker_port)} if name == WORKER else {}
        processes[name] = stage.child(f"the {name} process", list(_PROGRAMS[name]), {**environment, **own})
        ports[name] = {
            DIRECTORY: int(environment["CONVIVE_DIRECTORY_PORT"]),
            WEB: int(environment["CONVIVE_INVITATION_PORT"]),
            WORKER: worker_port,
            BARE: bare_port,
            CALLING: bare_port,
        }[name]
    up = Running(processes, ports, environment, stage.pids if engines is None else engines)
    try:
        for process in processes.values():
            process.start()
        for name, process in processes.items():
            await process.until(lambda name=name: _ready(up, name), within=120)
        yield up
    finally:
        for process in processes.values():
            await process.stop()


async def _ready(up: Running, name: str) -> bool:
    try:
        async with up.client(name) as client, client.get("/readyz") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, OSError):
        return False


async def call(client: aiohttp.ClientSession, method: str, path: str, **options: Any) -> Any:
    """The JSON of an answer that has to be a good one."""
    async with client.request(method, path, **options) as answer:
        assert answer.status < 400, await answer.text()
        return await answer.json()
