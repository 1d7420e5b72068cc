"""A lane: the whole product on a virtual host and databases of its own, in which one service after another dies."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import aio_pika
import aiohttp
from pymongo import AsyncMongoClient

from convive_contracts import topology
from deploy.local.processes import plain_environment
from deploy.local.programs import REPOSITORY
from tests.running import Stack
from tests.speaking import Answer, Wire, until

Victim = Literal["invitation", "directory"]
HEARD = "everything.heard"
"""A queue that keeps every event until it is read."""

_QUEUES = (
    topology.INVITATION_EVENTS,
    topology.INVITATION_BULK,
    topology.INVITATION_PARKED,
    topology.DIRECTORY_EVENTS,
    topology.DIRECTORY_PARKED,
)
_UNSENT = {"outbox.0": {"$exists": True}}
_RUNNING = {"status": "running"}
_LEFT_OF_INVITATIONS: Mapping[str, Any] = {
    "invitations": {"$or": [_UNSENT, {"lease": {"$exists": True}}, {"send_at": {"$exists": True}}]},
    **dict.fromkeys(("replays", "bulk", "erasures"), _RUNNING),
}
_LEFT_OF_DIRECTORY: Mapping[str, Any] = {
    "dossiers": {"$or": [_UNSENT, {"unfinished_since": {"$ne": None}}]},
    **dict.fromkeys(("cabinets", "members", "accounts"), _UNSENT),
}
_SETTINGS = {
    # One slot: a crash may send one message again, and no more.
    "CONVIVE_DELIVERY_SLOTS": "1",
    "CONVIVE_DELIVERY_LEASE": "PT2S",
    "CONVIVE_FIRST_BACKOFF": "PT0.3S",
    "CONVIVE_LOG_LEVEL": "info",
}


class Nursery:
    """The process that the watched services are forked from."""

    def __init__(self, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "tests.crash"]
        path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "shared", REPOSITORY / "services")))
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=REPOSITORY,
                env=plain_environment(PYTHONPATH=path),
                text=True,
            )

    def bear(self, order: Mapping[str, Any]) -> int:
        """Fork a service; returns its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and so every service forked from it."""
        self._process.kill()
        self._process.wait(timeout=10)


class Child:
    """One watched service: born, killed and born again."""

    def __init__(self, nursery: Nursery, service: Victim, env: Mapping[str, str], folder: Path, url: str) -> None:
        self._nursery = nursery
        self._service = service
        self._env = dict(env)
        self._folder = folder
        self.url = url
        self._orders: socket.socket | None = None
        self.pid = 0
        self.deaths = 0

    async def start(self) -> None:
        """Fork it and return when it is ready."""
        path = self._folder / f"{self._service}.sock"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(str(path))
            door.listen(1)
            log = str(self._folder / f"{self._service}.log")
            order = {"service": self._service, "env": self._env, "log": log, "control": str(path)}
            self.pid = self._nursery.bear(order)
            door.setblocking(False)
            async with asyncio.timeout(10):
                self._orders, _ = await asyncio.get_running_loop().sock_accept(door)
        self._orders.settimeout(10)
        await until(self._ready, within=30, what=f"{self._service} is ready")

    async def _ready(self) -> bool:
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
                async with session.get(f"{self.url}/readyz") as response:
                    return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Give an order and return the answer; raises `ConnectionError` when it is dead."""
        assert self._orders is not None
        answer = b""
        self._orders.sendall(json.dumps({"do": do, **order}).encode() + b"\n")
        while not answer.endswith(b"\n"):
            piece = self._orders.recv(1 << 20)
            if not piece:
                raise ConnectionResetError
            answer += piece
        return json.loads(answer)

    @property
    def dead(self) -> bool:
        """Whether its end of the line of orders is gone."""
        assert self._orders is not None
        try:
            # It says nothing unasked: what can be read then is the end.
            readable, _, _ = select.select([self._orders], [], [], 0)
        except (OSError, ValueError):
            return True
        return bool(readable)

    @property
    def busy(self) -> Sequence[str]:
        """What it is at."""
        try:
            return self.ask("look")["busy"]
        except OSError:
            return ["dead"]

    async def restart(self) -> None:
        """Begin anew after its death."""
        if self._orders is not None:
            self._orders.close()
        # Its end of the line of orders may be closed before the port it listens on.
        await until(self._is_gone, within=10, what=f"{self._service} is gone")
        self.deaths += 1
        await self.start()

    async def begin_anew(self) -> None:
        """Die and be born again, at rest."""
        self.kill()
        await until(self._is_dead, within=5, what=f"{self._service} is dead")
        await self.restart()

    async def _is_dead(self) -> bool:
        return self.dead

    async def _is_gone(self) -> bool:
        return not Path(f"/proc/{self.pid}").exists()

    def kill(self) -> None:
        if self.pid and self._orders is not None and not self.dead:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


class Lane(Stack):
    """See the module. `open` it in the loop of each test."""

    def __init__(self, number: int, nursery: Nursery, folder: Path, *, amqp_url: str, mongo_url: str) -> None:
        super().__init__(folder, amqp_url=amqp_url, mongo_url=mongo_url, settings=_SETTINGS)
        self.number = number
        env = self._environment | {"PYTHONUNBUFFERED": "1"}
        self.children: dict[Victim, Child] = {
            "invitation": Child(nursery, "invitation", env, folder, self.around.invitation_url),
            "directory": Child(nursery, "directory", env, folder, self.around.directory_url),
        }
        self.heard: list[dict[str, Any]] = []
        self.bus: Wire
        self.invitations: Any
        self.directories: Any

    async def start(self) -> Lane:
        try:
            await self.inbox_service.start()
            for child in self.children.values():
                await child.start()
            async with await aio_pika.connect(self.amqp_url, timeout=10) as connection:
                channel = await connection.channel()
                queue = await channel.declare_queue(HEARD, durable=True)
                for family in ("user", "account", "dossier", "cabinet", "invitation"):
                    await queue.bind(topology.EXCHANGE, f"{family}.#")
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        self.inbox_service.process.kill()
        for child in self.children.values():
            child.kill()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Lane]:
        """Connections of ours to its engines, in this loop."""
        async with (
            self.wire() as self.bus,
            AsyncMongoClient[dict[str, Any]](self.mongo_url, tz_aware=True, timeoutMS=20_000) as client,
        ):
            self.invitations = client[self.invitation_database]
            self.directories = client[self.directory_database]
            await (await self.bus.channel.get_queue(HEARD, ensure=False)).consume(self._keep, no_ack=True)
            yield self

    @asynccontextmanager
    async def deaf_to(self, family: str) -> AsyncGenerator[None]:
        """While the bus tells the invitation service nothing of a family of events. (Who begins anew declares its
        bindings anew, so a death ends this too.)"""
        queue = await self.bus.channel.get_queue(topology.INVITATION_EVENTS, ensure=False)
        await queue.unbind(topology.EXCHANGE, f"{family}.*")
        try:
            yield
        finally:
            await queue.bind(topology.EXCHANGE, f"{family}.*")

    async def _keep(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        with suppress(ValueError):  # rubbish is heard too
            self.heard.append(json.loads(message.body))

    async def hear(self) -> list[dict[str, Any]]:
        """Every event so far since `forget_others`."""
        while (await self.bus.channel.declare_queue(HEARD, passive=True)).declaration_result.message_count:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.02)  # what has left the queue is on its way here
        return self.heard

    async def forget_others(self, subject: str) -> None:
        """What was heard of other invitations is of no more interest."""
        self.heard = [event for event in await self.hear() if event["data"].get("invitation_id") in (subject, None)][
            -200:
        ]

    def last_words(self) -> str:
        """What the services last complained of."""
        lines: list[str] = []
        for log in self.logs:
            told = log.read_text(errors="replace").splitlines()
            lines += [f"{log.stem}: {line[:3000]}" for line in told if '"level":"error"' in line or line[:1] != "{"][
                -5:
            ]
        return "\n".join(lines)

    async def recover(self) -> None:
        """Go on after a failure, with whatever is left lying about out of the way."""
        for child in self.children.values():
            child.kill()
        await asyncio.sleep(0.3)  # until the broker has noticed
        for queue in (*_QUEUES, HEARD):
            await (await self.bus.channel.get_queue(queue, ensure=False)).purge()
        for kind in ("invitations", "replays", "bulk", "erasures"):
            await self.invitations[kind].delete_many({})
        for kind in ("dossiers", "members", "accounts"):
            await self.directories[kind].delete_many({})
        for child in self.children.values():
            await child.restart()

    # --- rest -----------------------------------------------------------------------------------------------------

    async def unrest(self) -> str:
        """What is still going on; empty when nothing is."""
        for name, child in self.children.items():
            if busy := child.busy:
                return f"{name} is at {busy}"
        for queue in _QUEUES:
            declared = await self.bus.channel.declare_queue(queue, passive=True)
            if waiting := declared.declaration_result.message_count:
                return f"{waiting} in {queue}"
        for database, kinds in ((self.invitations, _LEFT_OF_INVITATIONS), (self.directories, _LEFT_OF_DIRECTORY)):
            # In one call: this is asked several times for each death.
            (first, which), *others = kinds.items()
            also = [{"$unionWith": {"coll": kind, "pipeline": _one(kind, which)}} for kind, which in others]
            async for left in await database[first].aggregate([*_one(first, which), *also]):
                return f"left in {left.pop('kind')}: {left}"
        return ""

    async def at_rest(self) -> bool:
        """Whether nothing is going on, seen twice: a message may be on its way from the broker."""
        for _ in range(2):
            if await self.unrest():
                return False
            await asyncio.sleep(0.02)
        return True

    async def rest(self, within: float = 30) -> None:
        """Return when nothing is going on any more."""
        try:
            # A look asks processes, broker and database: often would be what keeps the machine busy.
            await until(self.at_rest, within=within, what="at rest", every=0.2)
        except BaseException as error:
            raise AssertionError(f"does not come to rest: {await self.unrest()}") from error


def _one(kind: str, which: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"$match": which}, {"$limit": 1}, {"$project": {"history": 0}}, {"$set": {"kind": kind}}]


async def persist(call: Callable[[], Awaitable[Answer]], within: float = 20) -> Answer:
    """Call again and again, as a person or a program does, until the service is there to answer."""
    async with asyncio.timeout(within):
        while True:
            with suppress(aiohttp.ClientError, OSError):
                answer = await call()
                if answer.status not in (500, 502, 503, 504):
                    return answer
            await asyncio.sleep(0.25)
