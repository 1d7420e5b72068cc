"""The real broker and database of a test run: one of each, started when the first test asks for it.

They run on free ports with their files in memory where the machine allows it, and nothing is left of them after the
run. Every test gets a virtual host and databases of its own. `CONVIVE_AMQP_URL` and `CONVIVE_MONGO_URL`, where set, are
used instead; that virtual host must be one that nothing else uses, since tests clear Convive's queues in it.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import aio_pika
import pytest
from pymongo import MongoClient

from convive_contracts import topology
from deploy.local.broker import Broker
from deploy.local.database import Database

Result = TypeVar("Result")

_IN_MEMORY = Path("/dev/shm")
_ENOUGH = 2 * 1024**3


def finished(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in a loop of its own, leaving the test's loop alone."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


@pytest.fixture(scope="session")
def run_folder() -> Generator[Path]:
    """Where this run's broker and database keep their files: in memory if there is room."""
    in_memory = os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH
    place = _IN_MEMORY if in_memory else Path(tempfile.gettempdir())
    _sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f"convive-tests-{os.getpid()}-", dir=place))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _sweep(place: Path) -> None:
    """Remove what runs left behind that were killed outright."""
    for folder in place.glob("convive-tests-*"):
        owner = re.match(r"convive-tests-(\d+)-", folder.name)
        if owner is not None and not Path(f"/proc/{owner[1]}").exists():
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def broker(run_folder: Path) -> Generator[Broker]:
    """The run's broker, shared by all tests: leave it running (for one to stop and kill, ask for `own_broker`)."""
    broker = Broker(run_folder / "broker", management=True)
    try:
        yield finished(broker.start())
    finally:
        finished(broker.close())


@pytest.fixture(scope="session")
def database_server(run_folder: Path) -> Generator[Database]:
    """The run's database, shared by all tests (for one to stop and kill, ask for `own_database`)."""
    database = Database(run_folder / "database")
    try:
        yield finished(database.start())
    finally:
        finished(database.close())


@pytest.fixture
async def own_broker(run_folder: Path) -> AsyncGenerator[Broker]:
    """A broker for this test alone, to restart, kill and freeze (some 4 s to start)."""
    folder = run_folder / f"broker-{uuid4().hex[:8]}"
    broker = Broker(folder, management=True)
    try:
        yield await broker.start()
    finally:
        await broker.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def own_database(run_folder: Path) -> AsyncGenerator[Database]:
    """A database for this test alone, to restart, kill and freeze (about a second to start)."""
    folder = run_folder / f"database-{uuid4().hex[:8]}"
    database = Database(folder)
    try:
        yield await database.start()
    finally:
        await database.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def amqp_url(request: pytest.FixtureRequest) -> Generator[str]:
    """The AMQP address of an empty virtual host, this test's own."""
    given = os.environ.get("CONVIVE_AMQP_URL")
    if given:
        finished(_clear(given))
        yield given
        return
    broker: Broker = request.getfixturevalue("broker")
    name = f"test-{uuid4().hex[:12]}"
    yield finished(broker.create_vhost(name))
    finished(broker.delete_vhost(name))


async def _clear(url: str) -> None:
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        channel = await connection.channel()
        for queue in topology.QUEUES:
            await channel.queue_delete(queue.name)


@pytest.fixture(scope="session")
def mongo_url(request: pytest.FixtureRequest) -> str:
    """The address of the run's database server."""
    given = os.environ.get("CONVIVE_MONGO_URL")
    if given:
        return given
    server: Database = request.getfixturevalue("database_server")
    return server.url


@pytest.fixture
def new_database(mongo_url: str) -> Generator[Callable[[], str]]:
    """Makes up names of databases that do not exist yet; they are dropped after the test."""
    names: list[str] = []

    def name() -> str:
        names.append(f"convive_test_{uuid4().hex[:12]}")
        return names[-1]

    yield name
    if names:
        with MongoClient[dict[str, Any]](mongo_url, timeoutMS=20_000) as client:
            for used in names:
                client.drop_database(used)


@pytest.fixture
def database(new_database: Callable[[], str]) -> str:
    """The name of a database of this test's own, dropped after it."""
    return new_database()
