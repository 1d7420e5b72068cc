"""A gateway that answers as it is told, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from invitation.delivery.sms import Text

TEXT = Text(
    to="+33612345678",
    sender="LEGER",
    body="Cabinet Léger vous invite\nhttps://x",
    reference="abcdefghijklmnopqrstuv2",
)


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Player:
    """`answers` are given one after the other, the last one again and again: a status and JSON, or `CUT`, or `HANG`."""

    url: str = ""
    answers: list[tuple[int, Any] | str] = field(default_factory=list[tuple[int, Any] | str])
    asked: list[Asked] = field(default_factory=list[Asked])

    def _next(self) -> tuple[int, Any] | str:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(Asked(request.method, str(request.url), dict(request.headers), body))
        answer = self._next()
        if isinstance(answer, str):
            if answer == HANG:
                await asyncio.sleep(3600)
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        status, said = answer
        return web.json_response(said, status=status)


CUT, HANG = "cut", "hang"


@asynccontextmanager
async def playing(*answers: tuple[int, Any] | str) -> AsyncGenerator[Player]:
    """One on a free port of this machine."""
    player = Player(answers=list(answers))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", player.handle)
    server = TestServer(app, shutdown_timeout=0.1)
    await server.start_server()
    player.url = str(server.make_url("")).rstrip("/")
    try:
        yield player
    finally:
        await server.close()
