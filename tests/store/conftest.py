"""Stores of invitations, as fixtures."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from convive_kit.mongo import Driver, close_client, open_client
from convive_kit.outbox import OutboxEntry
from invitation.store.memory import MemoryStore
from invitation.store.mongo import create_indexes
from tests.store.stores import Made, crowd, mongo_store


@pytest.fixture(
    params=[
        "memory",
        pytest.param("motor", marks=pytest.mark.database),
        pytest.param("pymongo", marks=pytest.mark.database),
    ]
)
def place(request: pytest.FixtureRequest) -> tuple[Driver, str, str] | None:
    """The driver, address and database to test on; None for memory, which needs no server."""
    if request.param == "memory":
        return None
    return request.param, request.getfixturevalue("mongo_url"), request.getfixturevalue("database")


@pytest.fixture
async def made(place: tuple[Driver, str, str] | None) -> AsyncGenerator[Made]:
    if place is None:
        announced: list[tuple[str, Sequence[OutboxEntry]]] = []
        yield Made(MemoryStore(lambda id, what: announced.append((id, what))), announced)
        return
    driver, url, name = place
    client = open_client(url, driver=driver)
    mongo = mongo_store(client, name)
    assert mongo.database is not None
    await create_indexes(mongo.database)
    yield mongo
    await close_client(client)


@pytest.fixture
async def mongo(mongo_url: str, database: str) -> AsyncGenerator[Made]:
    client = open_client(mongo_url)
    made = mongo_store(client, database)
    await create_indexes(client[database])
    yield made
    await close_client(client)


@pytest.fixture
async def crowded(mongo: Made) -> Made:
    """A thousand invitations."""
    assert mongo.database is not None
    await crowd(mongo.database)
    return mongo
