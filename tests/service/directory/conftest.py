"""A whole directory in this process, on the real broker and database."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import aio_pika
import aiohttp
import pytest

from convive_contracts.topology import EXCHANGE
from convive_kit.mongo import close_client, open_client
from convive_kit.process import Process
from directory.app import start
from directory.settings import DirectorySettings
from tests.service.directory.driving import Driver, Firm, environment, eventually

FAMILIES = ("user", "account", "dossier", "cabinet", "invitation")


@pytest.fixture
async def driver(amqp_url: str, mongo_url: str, database: str) -> AsyncGenerator[Driver]:
    settings = DirectorySettings(**environment(amqp_url, mongo_url, database))
    process = Process()
    port = await start(process, settings, ("web", "worker"))
    client = open_client(mongo_url)
    # Cookies are the tests' own matter: each says which it sends.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        driver = Driver(f"http://127.0.0.1:{port}", http, client[database], amqp_url)

        async def ready() -> bool:
            return (await driver.call("GET", "/readyz")).status == 200

        await eventually(ready)
        async with await aio_pika.connect(amqp_url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            for family in FAMILIES:
                await queue.bind(EXCHANGE, f"{family}.#")
            await driver.listen(queue)
            yield driver
    process.stopping.set()
    await process.stop()
    await close_client(client)
    assert not process.crashed


@pytest.fixture
async def firm(driver: Driver) -> Firm:
    return await driver.firm()
