"""Case `start`: from the start of a process to the first 200 of its /readyz."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from deploy.local.addresses import LOOPBACK, free_port
from tests.bench.stage import Stage

_ASK_EVERY = 0.01
SERVICES = ("directory", "invitation")


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one service. The first of each also makes the topology and the indexes."""

    service: str
    first: bool
    seconds: float


async def run(stage: Stage, repeat: int) -> list[Start]:
    """Each service in turn; the first start of each is on an empty broker and database."""
    await stage.clear()
    environment = stage.environment(free_port())
    starts: list[Start] = []
    for number in range(repeat + 1):
        for name in SERVICES:
            service = stage.child(f"the {name} service", [name], environment)
            port = int(environment[f"CONVIVE_{name.upper()}_PORT"])
            began = time.monotonic()
            service.start()
            try:
                async with asyncio.timeout(30):
                    while not await is_ready(port):
                        await asyncio.sleep(_ASK_EVERY)
                starts.append(Start(name, number == 0, time.monotonic() - began))
            finally:
                await service.stop()
    return starts


async def is_ready(port: int) -> bool:
    """Whether /readyz says 200. A plain socket: asking must cost little, for the one asked has only so many cores."""
    try:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        return b" 200 " in await reader.readline()
    except OSError:
        return False
    finally:
        writer.close()
