"""The service as a process: how fast it is there, what it needs, how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from deploy.local.addresses import free_port
from tests.service.directory.driving import ADMIN, SERVICE, eventually

MEGABYTE = 1024 * 1024


def variables(amqp_url: str, mongo_url: str, database: str, port: int) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CONVIVE_")},
        "CONVIVE_AMQP_URL": amqp_url,
        "CONVIVE_MONGO_URL": mongo_url,
        "CONVIVE_DIRECTORY_DATABASE": database,
        "CONVIVE_DIRECTORY_HOST": "127.0.0.1",
        "CONVIVE_DIRECTORY_PORT": str(port),
        "CONVIVE_ADMIN_TOKEN": ADMIN,
        "CONVIVE_SERVICE_TOKEN": SERVICE,
    }


async def launched(environment: dict[str, str], *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "directory",
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def running(environment: dict[str, str], *arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await launched(environment, *arguments)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def until_ready(port: int) -> None:
    async with aiohttp.ClientSession() as http:

        async def ready() -> bool:
            try:
                async with http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(ready, within=20)


async def test_a_process_is_small_and_ends_in_order(amqp_url: str, mongo_url: str, database: str) -> None:
    port = free_port()
    async with running(variables(amqp_url, mongo_url, database, port)) as process:
        await until_ready(port)
        resident = int(Path(f"/proc/{process.pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        assert resident < 120 * MEGABYTE
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0


@pytest.mark.parametrize(("role", "answers"), [("web", 401), ("worker", 404)])
async def test_each_role_serves_its_part(amqp_url: str, mongo_url: str, database: str, role: str, answers: int) -> None:
    port = free_port()
    async with running(variables(amqp_url, mongo_url, database, port), "--role", role):
        await until_ready(port)
        async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/v1/dossiers") as answer:
            assert answer.status == answers


@pytest.mark.parametrize("missing", ["CONVIVE_ADMIN_TOKEN", "CONVIVE_SERVICE_TOKEN"])
async def test_without_a_secret_it_refuses_to_start_and_says_which(missing: str) -> None:
    environment = variables("amqp://x/", "mongodb://x/", "x", 1)
    del environment[missing]
    process = await launched(environment)
    _, said = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert missing in said.decode()
