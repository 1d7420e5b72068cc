"""What every case stands on: a broker and a database of the run's own, emptied before each measurement."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.database import AsyncDatabase

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED
from convive_contracts.publisher import declare_topology
from deploy.local.addresses import free_port
from deploy.local.broker import Broker
from deploy.local.credentials import Credentials
from deploy.local.database import Database
from deploy.local.processes import Process
from deploy.local.programs import REPOSITORY
from deploy.local.services import Surroundings
from deploy.local.trouble import CannotStart
from tests.bench.samples import Sample

_CACHE_GB = 2.0
"""Of the database: with less than what a hundred thousand invitations take, all would be measured from its files."""
_IN_MEMORY = Path("/dev/shm")
_ENOUGH = 6 * 1024**3
_OVERLAPPING = 500
_LOOK_EVERY = 0.02


class Stage:
    """Broker and database, and what a measurement asks of them."""

    def __init__(self, *, on_disk: bool = False) -> None:
        """On disk, or in memory where the machine has room: then no other tenant's disk is measured along."""
        roomy = os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH
        place = _IN_MEMORY if roomy and not on_disk else Path(tempfile.gettempdir())
        self.in_memory = place == _IN_MEMORY
        self.folder = Path(tempfile.mkdtemp(prefix="convive-bench-", dir=place))
        self._broker = Broker(self.folder / "broker")
        self._server = Database(self.folder / "database", cache_gb=_CACHE_GB)
        self._database = ""

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(self._broker.start(), self._server.start())
            self._client = AsyncMongoClient[dict[str, Any]](self._server.url, tz_aware=True)
            self._connection: AbstractConnection = await aio_pika.connect(self._broker.url)
            self._channel: AbstractChannel = await self._connection.channel()
            self._counts = await self._channel.get_underlay_channel()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()
        await self._client.close()
        await self._end()

    async def _end(self) -> None:
        await self._broker.close()
        await self._server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- before a measurement --------------------------------------------------------------------------------------

    async def clear(self) -> None:
        """New queues and a new database; what the measurement before left is gone."""
        for queue in topology.QUEUES:
            await self._channel.queue_delete(queue.name)
        if self._database:
            await self._client.drop_database(self._database)
            await self._client.drop_database(f"{self._database}_directory")
        self._database = f"bench_{uuid4().hex[:12]}"
        await declare_topology(self._channel)

    async def lose_database(self) -> None:
        """What a disaster does: the queues and the log stay."""
        await self._client.drop_database(self._database)

    async def fill(self, documents: Iterable[dict[str, Any]], indexes: Sequence[IndexModel]) -> None:
        """Store invitations as the service does, with its indexes."""
        collection = self._client[self._database].invitations
        await collection.create_indexes(list(indexes))
        waiting = iter(documents)
        while group := list(islice(waiting, 1000)):
            await collection.insert_many(group, ordered=False)

    async def publish(self, samples: Iterable[Sample]) -> int:
        """Publish them all, confirmed, from this process, which takes no part in what is measured."""
        exchange = await self._channel.get_exchange(topology.EXCHANGE, ensure=False)
        count = 0
        waiting = iter(samples)
        while group := list(islice(waiting, _OVERLAPPING)):
            await asyncio.gather(*(exchange.publish(_message(sample), sample.key) for sample in group))
            count += len(group)
        return count

    # --- contenders and services -----------------------------------------------------------------------------------

    def environment(self, smtp_port: int, **more: str) -> dict[str, str]:
        """What a contender is told; the product and the peers read the same variables."""
        return self._surroundings(smtp_port).environment() | {
            "CONVIVE_INVITATION_DATABASE": self._database,
            "CONVIVE_DIRECTORY_DATABASE": f"{self._database}_directory",
            **more,
        }

    def child(self, name: str, arguments: list[str], environment: Mapping[str, str]) -> Process:
        """A Python program as a child process, not started yet."""
        log = self.folder / f"{name.replace(' ', '-')}.log"
        log.unlink(missing_ok=True)
        return Process(name, [sys.executable, "-m", *arguments], log=log, env=environment, cwd=REPOSITORY)

    def _surroundings(self, smtp_port: int) -> Surroundings:
        directory = free_port([smtp_port])
        return Surroundings(
            amqp_url=self._broker.url,
            mongo_url=self._server.url,
            directory_port=directory,
            invitation_port=free_port([smtp_port, directory]),
            inbox_port=0,
            smtp_port=smtp_port,
            credentials=Credentials.new(),
        )

    # --- what can be seen from outside -----------------------------------------------------------------------------

    @property
    def pids(self) -> dict[str, int]:
        """The processes of the two engines."""
        return {"broker": self._broker.server.pid, "database": self._server.server.pid}

    @property
    def database(self) -> AsyncDatabase[dict[str, Any]]:
        """The invitation service's current database."""
        return self._client[self._database]

    async def ready(self, queue: str) -> int:
        """How many messages of a queue wait for a consumer. Costs the broker next to nothing."""
        return (await self._counts.queue_declare(queue, passive=True)).message_count or 0

    async def count_invitations(self, query: Mapping[str, Any] | None = None) -> int:
        """How many invitations the current database holds."""
        return await self._client[self._database].invitations.count_documents(query or {})

    async def stored(self) -> int:
        """The same of all, as the database's own figures say: costs it nothing."""
        return await self._client[self._database].invitations.estimated_document_count()

    async def first_taken(self, events: int, process: Process) -> float:
        """When the first of the events that wait was taken; CannotStart when none is."""
        deadline = time.monotonic() + 30
        while await self.ready(topology.INVITATION_EVENTS) == events:
            if time.monotonic() > deadline or not process.alive:
                raise CannotStart(f"{process.name} takes nothing. Its last words:\n{process.last_lines()}")
            await asyncio.sleep(_LOOK_EVERY)
        return time.monotonic()

    async def until_stored(self, events: int, process: Process) -> None:
        """Return when so many invitations are stored; CannotStart when the process ends before."""
        while await self.stored() < events or await self.count_invitations() < events:
            if not process.alive:
                raise CannotStart(f"{process.name} ended: {process.last_lines()}")
            await asyncio.sleep(_LOOK_EVERY)

    async def invitation(self, id: str) -> dict[str, Any]:
        """One invitation as it is stored."""
        found = await self._client[self._database].invitations.find_one({"_id": id})
        assert found is not None
        return found

    async def versions(self) -> dict[str, str]:
        """Of the two engines."""
        properties: Any = self._counts.connection.server_properties
        return {
            "RabbitMQ": _text(properties["version"]),
            "MongoDB": str((await self._client.server_info())["version"]),
        }


def _message(sample: Sample) -> aio_pika.Message:
    return aio_pika.Message(
        sample.body,
        content_type=STRUCTURED,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=sample.id,
    )


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
