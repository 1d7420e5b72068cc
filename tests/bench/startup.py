"""Case `start`: from the start of a process to the first 200 of its /readyz."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from deploy.local.addresses import LOOPBACK, free_port
from tests.bench.case import Options, middle, verdict
from tests.bench.stage import Stage

_ASK_EVERY = 0.01
SERVICES = ("directory", "invitation")


@dataclass(frozen=True, slots=True)
class Start:
    """One start of one service. The first of each also makes the topology and the indexes."""

    service: str
    first: bool
    seconds: float


async def run(stage: Stage, options: Options) -> list[Start]:
    """Each service in turn; the first start of each is on an empty broker and database."""
    await stage.clear()
    environment = dict(stage.environment(free_port()))
    environment.pop("SSL_CERT_FILE", None)
    starts: list[Start] = []
    for number in range(max(5, options.repeat) + 1):
        for name in SERVICES:
            service = stage.child(f"the {name} service", [name], environment)
            port = int(environment[f"CONVIVE_{name.upper()}_PORT"])
            began = time.monotonic()
            service.start()
            try:
                await until_ready(port)
                starts.append(Start(name, number == 0, time.monotonic() - began))
            finally:
                await service.stop()
    return starts


async def until_ready(port: int) -> None:
    """Return when a service answers that it is ready."""
    async with asyncio.timeout(30):
        while not await is_ready(port):
            await asyncio.sleep(_ASK_EVERY)


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


# --- what it says of them ------------------------------------------------------------------------------------------

TITLE = "From start to ready"
METHOD = """\
Process start to the first 200 of `/readyz`, asked every 10 ms; the two services in turn. The first start of each,
shown apart, also makes queues and indexes. `SSL_CERT_FILE` is not passed on where it is set: with it, each of the two
TLS contexts that aiohttp makes on import reads the whole file (50 ms each); without, OpenSSL looks up what it needs
when it needs it."""


def chapter(results: Sequence[Start]) -> list[str]:
    lines = ["| service | median | lowest to highest | bar | | first start |", "| --- | --- | --- | --- | --- | --- |"]
    for name in SERVICES:
        first = next(one.seconds for one in results if one.service == name and one.first)
        value, low, high = middle([one.seconds for one in results if one.service == name and not one.first])
        lines.append(
            f"| {name} | {value:.2f} s | {low:.2f} to {high:.2f} | ≤ 1 s | {verdict(value <= 1.0)} | {first:.2f} s |"
        )
    return lines
