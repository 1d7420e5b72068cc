"""A TCP proxy that makes trouble: connections through it can be frozen (half-open), delayed to death, or cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit


async def until_frozen(pid: int) -> None:
    """Return when every thread of a process that was sent SIGSTOP has stopped: that takes the kernel a moment."""
    async with asyncio.timeout(5):
        while True:
            threads = [thread.joinpath("stat").read_text() for thread in Path(f"/proc/{pid}/task").iterdir()]
            if all(stat.rpartition(")")[2].split()[0] == "T" for stat in threads):
                return
            await asyncio.sleep(0.005)


class Proxy:
    """Stands between a client and the server of `url`.

    async with Proxy(url) as proxy:
        connect(proxy.url)
        proxy.freeze()
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._flows = asyncio.Event()
        self._flows.set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.connections = 0
        self.delay = 0.0
        """Seconds that everything takes longer."""

    @property
    def url(self) -> str:
        """The server's address, with the proxy's port."""
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        who = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{who}@127.0.0.1:{port}" if who else f"127.0.0.1:{port}"))

    def freeze(self) -> None:
        """Let nothing through any more, and tell nobody: connections look open from both sides."""
        self._flows.clear()

    def thaw(self) -> None:
        """Let everything through again, what was held back first."""
        self._flows.set()

    def cut(self) -> None:
        """Reset every connection there is; new ones are taken."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for pipe in self._pipes:
            pipe.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            to_server = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_server[1]}
        for source, sink in ((reader, to_server[1]), (to_server[0], writer)):
            pipe = asyncio.create_task(self._pipe(source, sink))
            self._pipes.add(pipe)
            pipe.add_done_callback(self._pipes.discard)

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        # uvloop's word for a transport that was cut is RuntimeError.
        with suppress(OSError, RuntimeError):
            while data := await source.read(65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        await self._flows.wait()
        sink.transport.abort()
        self._writers.discard(sink)
