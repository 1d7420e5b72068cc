"""Everything that runs: broker, database, two invitation processes, one directory, proxies between, the mail sink."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from convive_contracts import topology
from deploy.local.addresses import LOOPBACK, free_port
from deploy.local.broker import Broker
from deploy.local.credentials import Credentials
from deploy.local.database import Database
from deploy.local.services import Service, Surroundings
from tests.chaos.plan import (
    BROKER,
    DATABASE,
    DIRECTORY,
    INVITATION_1,
    INVITATION_2,
    LEASE,
    SERVICES,
    SLOTS,
    line,
)
from tests.chaos.sink import MailSink
from tests.faults import Proxy

_WATCHED_EVERY = 0.5


class Stage:
    """`services` and `lines` by the names of the plan. A service that ends by itself is started again, and told of."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.broker = Broker(folder / "broker")
        self.database = Database(folder / "database")
        self.sink = MailSink(seed)
        self.credentials = Credentials.new()
        self.services: dict[str, Service] = {}
        self.lines: dict[str, Proxy] = {}
        self.down: set[str] = set()
        """Services that a fault has ended and will start again."""
        self.deaths: list[str] = []
        """Services that ended without anybody's doing."""
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._resources = AsyncExitStack()

    @property
    def invitations(self) -> AsyncDatabase[dict[str, Any]]:
        """The invitation service's database, by a line that no fault disturbs."""
        return self._database("convive_invitation")

    @property
    def directory(self) -> AsyncDatabase[dict[str, Any]]:
        """The directory's database, by a line that no fault disturbs."""
        return self._database("convive_directory")

    def _database(self, name: str) -> AsyncDatabase[dict[str, Any]]:
        assert self._client is not None
        return self._client[name]

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Stage]:
        """All of it, ready; nothing is left of it afterwards but the logs."""
        try:
            await asyncio.gather(self.broker.start(), self.database.start(), self.sink.start())
            self._client = AsyncMongoClient(self.database.url, tz_aware=True, timeoutMS=10_000)
            await self._make_services()
            await asyncio.gather(*(service.start() for service in self.services.values()))
            # A broker killed in its first second would forget the queues themselves.
            await asyncio.gather(
                *(self.broker.until_on_disk(q.name) for q in topology.QUEUES if q.name != topology.LOG)
            )
            watch = asyncio.create_task(self._watch())
            self._resources.callback(watch.cancel)
            yield self
        finally:
            for service in self.services.values():
                service.process.kill()
            await self._resources.aclose()
            await self.sink.stop()
            if self._client is not None:
                await self._client.close()
            await self.broker.close()
            await self.database.close()
            for engine in ("broker", "database"):
                shutil.rmtree(self.folder / engine, ignore_errors=True)

    async def state(self, id: str) -> str | None:
        """Where an invitation stands; None while there is none, or while the database is away."""
        try:
            found = await self.invitations["invitations"].find_one({"_id": id}, {"state": 1})
        except PyMongoError:
            return None
        return found["state"] if found else None

    async def stop_services(self) -> Mapping[str, int | None]:
        """Ask all services to end; their exit codes."""
        self.down |= set(self.services)
        await asyncio.gather(*(service.stop(grace=20) for service in self.services.values()))
        return {name: service.process.exit_code for name, service in self.services.items()}

    async def _make_services(self) -> None:
        ports: list[int] = []
        for _ in SERVICES:
            ports.append(free_port([*ports, self.sink.port]))
        first, second, directory = ports
        for name, port in zip(SERVICES, ports, strict=True):
            await self._line(line(BROKER, name), self.broker.url)
            await self._line(line(DATABASE, name), self.database.url)
            if name != DIRECTORY:
                await self._line(line(DIRECTORY, name), f"http://{LOOPBACK}:{directory}")
            around = Surroundings(
                amqp_url=self.lines[line(BROKER, name)].url,
                # Named as a member of its set, the driver would go round the proxy.
                mongo_url=self.lines[line(DATABASE, name)].url.replace("replicaSet=convive", "directConnection=true"),
                directory_port=directory,
                invitation_port=second if name == INVITATION_2 else first,
                inbox_port=0,
                smtp_port=self.sink.port,
                credentials=self.credentials,
            )
            env = around.environment() | {
                "CONVIVE_DIRECTORY_DATABASE": "convive_directory",
                "CONVIVE_INVITATION_DATABASE": "convive_invitation",
                "CONVIVE_TRUSTED_PROXIES": "127.0.0.0/8",
                "CONVIVE_DELIVERY_LEASE": f"PT{LEASE:.0f}S",
                "CONVIVE_DELIVERY_SLOTS": str(SLOTS),
                "CONVIVE_FIRST_BACKOFF": "PT0.5S",
                # Who is cut off signs in again and again.
                "CONVIVE_SIGN_IN_LIMIT_ACCOUNT": "1000/15minute",
            }
            if name != DIRECTORY:
                env["CONVIVE_DIRECTORY_INTERNAL_URL"] = self.lines[line(DIRECTORY, name)].url
            url, module = f"http://{LOOPBACK}:{port}", name.partition("-")[0]
            log = self.folder / f"{name}.log"
            self.services[name] = Service(f"The {name} service", [module], url=url, env=env, log=log)

    async def _line(self, name: str, url: str) -> None:
        self.lines[name] = await self._resources.enter_async_context(Proxy(url))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_WATCHED_EVERY)
            for name, service in self.services.items():
                if name not in self.down and not service.process.alive:
                    self.deaths.append(f"{name} ended by itself with code {service.process.exit_code}")
                    service.process.start()

    @property
    def urls(self) -> Mapping[str, tuple[str, ...]]:
        """Where programs and people call: the replicas of each service."""
        both = tuple(self.services[name].url for name in (INVITATION_1, INVITATION_2))
        return {"invitation": both, "directory": (self.services[DIRECTORY].url,)}
