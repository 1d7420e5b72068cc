from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from convive_kit.mongo import close_client, open_client
from convive_kit.process import Process
from deploy.local.broker import Broker
from deploy.local.database import Database
from directory.app import start
from directory.settings import DirectorySettings
from tests.service.directory.driving import Driver, environment, eventually, person


@asynccontextmanager
async def running(amqp_url: str, mongo_url: str, database: str) -> AsyncGenerator[Driver]:
    process = Process()
    settings = DirectorySettings(**environment(amqp_url, mongo_url, database))
    port = await start(process, settings, ("web", "worker"))
    client = open_client(mongo_url)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
        driver = Driver(f"http://127.0.0.1:{port}", http, client[database], amqp_url)
        await eventually(lambda: ready(driver))
        yield driver
    process.stopping.set()
    await process.stop()
    await close_client(client)


async def ready(driver: Driver) -> bool:
    return (await driver.call("GET", "/readyz")).status == 200


async def failing(driver: Driver) -> set[str]:
    checks: dict[str, Any] = (await driver.call("GET", "/readyz")).json["checks"]
    return {name for name, check in checks.items() if not check["ok"]}


async def test_without_the_broker_calls_succeed_and_events_wait(
    own_broker: Broker, mongo_url: str, database: str
) -> None:
    async with running(own_broker.url, mongo_url, database) as driver:
        firm = await driver.firm()
        await own_broker.stop()

        async def noticed() -> bool:
            return await failing(driver) == {"bus"}

        await eventually(noticed)
        (member,) = (await firm.dossier(person()))["members"]
        document = await driver.database["members"].find_one({"_id": member["id"]})
        assert document
        assert [entry["key"] for entry in document["outbox"]] == ["user.created"]
        await own_broker.start()
        await eventually(lambda: ready(driver), within=30)
        # What waits there is published by the sweeper, half a minute after its commit (see the store's suite).


async def test_without_the_database_calls_are_to_be_tried_again(
    amqp_url: str, own_database: Database, database: str
) -> None:
    async with running(amqp_url, own_database.url, database) as driver:
        firm = await driver.firm()
        await own_database.stop()
        answer = await firm.call("POST", "/v1/dossiers", {"name": "Martin"})
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        signing_in = await driver.sign_in("jeanne@example.com")
        assert signing_in.status == 503
        assert (await driver.call("GET", "/livez")).status == 200
        assert await failing(driver) == {"database"}
        await own_database.start()
        await eventually(lambda: ready(driver), within=30)
        assert (await firm.call("POST", "/v1/dossiers", {"name": "Martin"})).status == 201
