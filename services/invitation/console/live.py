"""`/ops/live`: tells an open page of the console that something has changed; the page then asks for itself anew."""

from __future__ import annotations

from aiohttp import web

from convive_kit.routes import Route
from invitation.console.sessions import Sessions
from invitation.ops.stream import Streaming, StreamQuery


class Live:
    """See the module."""

    def __init__(self, streaming: Streaming, sessions: Sessions) -> None:
        self._streaming = streaming
        self._sessions = sessions

    def routes(self) -> list[Route]:
        """The call; its filters are those of `/v1/stream`."""
        return [
            Route("GET", "/ops/live", self._tell, query=StreamQuery, auth="console_reader",
                  streams=("text/event-stream",), documented=False),
        ]  # fmt: skip

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        async def still() -> bool:
            return await self._sessions.caller(request) is not None

        return await self._streaming.tell(request, still, named=False)
