"""What the tests of the kit share."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from convive_kit.mongo import Collection, close_client, open_client


@pytest.fixture
async def collection(mongo_url: str, database: str) -> AsyncGenerator[Collection]:
    """A collection of this test's own."""
    client = open_client(mongo_url)
    yield client[database]["documents"]
    await close_client(client)
