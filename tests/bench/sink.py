"""Where the mails go: Postfix's `smtp-sink`, which is written in C, or a sink of our own where it is missing."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import cast

import uvloop

from deploy.local import programs
from deploy.local.addresses import LOOPBACK, free_port, is_free
from deploy.local.processes import Process, plain_environment
from deploy.local.programs import REPOSITORY

_PRINT_EVERY = 0.2
_MOST_CONNECTIONS = 1000
"""Of its own it greets no more than 256 at a time, and four workers may have more open."""


@cache
def postfix_sink() -> tuple[Path, dict[str, str]] | None:
    """See `programs.smtp_sink`."""
    return programs.smtp_sink()


def name() -> str:
    """Which sink measurements are made with."""
    return "smtp-sink of Postfix" if postfix_sink() else "a sink of our own (Python), since smtp-sink cannot be had"


class Sink:
    """A running mail sink."""

    def __init__(self, process: Process, port: int) -> None:
        self.port = port
        self.process = process

    def mails(self) -> int:
        """How many mails it has taken."""
        found = re.findall(r"mesg=(\d+)", self.process.log.read_text(errors="replace")[-4096:])
        return int(found[-1]) if found else 0


@asynccontextmanager
async def mail_sink(folder: Path, *, port: int | None = None) -> AsyncGenerator[Sink]:
    """A sink for one measurement, at a free port or at that one."""
    found = postfix_sink()
    port = port or free_port()
    if found is not None:
        # Started by root it asks for a user to become; staying the same one, it still ends with this process.
        user = ["-u", "root"] if os.geteuid() == 0 else []
        many = ["-m", str(_MOST_CONNECTIONS)]
        command, env = [str(found[0]), *user, *many, "-c", f"{LOOPBACK}:{port}", "1024"], found[1]
    else:
        command, env = [sys.executable, "-m", "tests.bench.sink", str(port)], {}
    log = folder / "sink.log"
    log.unlink(missing_ok=True)
    process = Process("the mail sink", command, log=log, env=plain_environment(**env), cwd=REPOSITORY)
    process.start()

    async def listening() -> bool:
        return not is_free(port)

    try:
        await process.until(listening, within=10)
        yield Sink(process, port)
    finally:
        await process.stop()


class _Session(asyncio.Protocol):
    """SMTP as far as a sink needs it: everything is welcome."""

    taken = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of this one.
        self._transport = cast("asyncio.Transport", transport)
        self._received = b""
        self._in_data = False
        self._transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            end = b"\r\n.\r\n" if self._in_data else b"\r\n"
            line, found, rest = self._received.partition(end)
            if not found:
                return
            self._received = rest
            self._transport.write(self._answer(line))

    def _answer(self, line: bytes) -> bytes:
        if self._in_data:
            self._in_data = False
            _Session.taken += 1
            return b"250 2.0.0 Ok\r\n"
        match line[:4].upper():
            case b"EHLO":
                return b"250-sink\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
            case b"DATA":
                self._in_data = True
                return b"354 End data with <CR><LF>.<CR><LF>\r\n"
            case b"QUIT":
                self._transport.close()
                return b"221 Bye\r\n"
            case _:
                return b"250 2.0.0 Ok\r\n"


async def _serve(port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.get_running_loop().create_server(_Session, LOOPBACK, port, backlog=1024)
    told = 0
    while not stop.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(_PRINT_EVERY):
                await stop.wait()
        if told != _Session.taken:
            told = _Session.taken
            print(f"mesg={told}", flush=True)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvloop.run(_serve(parser.parse_args().port))
