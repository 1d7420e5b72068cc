"""`/v1/stream`: what happens to invitations, told as it happens (server-sent events, WHATWG HTML 9.2).

Whoever is too slow is let go, and goes on by `Last-Event-ID`, as browsers do by themselves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from uuid import UUID

from aiohttp import web
from aiohttp_sse import sse_response
from pydantic import Field

from convive_contracts.events import InvitationState
from convive_kit.bus import BusAway
from convive_kit.errors import NotAllowed
from convive_kit.feed import Feed, Told, Waiting
from convive_kit.http import Problem, Query, invalid, parse_query, rfc3339
from convive_kit.logs import get_logger
from convive_kit.routes import Route
from invitation.lifecycle.states import State
from invitation.ops.callers import Callers

log = get_logger(__name__)

_LOOK_EVERY = 5.0
"""Seconds after which it is looked whether a listener still may listen."""
_HEARTBEAT = 15.0

Still = Callable[[], Awaitable[bool]]


class StreamQuery(Query):
    """Values of one field mean OR, fields mean AND."""

    invitation_id: list[UUID] = Field(default=[], max_length=100)
    cabinet_id: list[UUID] = Field(default=[], max_length=100)
    state: list[State] = Field(default=[], max_length=100, description="That an invitation has come to. Repeat for OR.")

    def takes(self, told: InvitationState) -> bool:
        return (
            (not self.invitation_id or told.invitation_id in map(str, self.invitation_id))
            and (not self.cabinet_id or told.cabinet_id in map(str, self.cabinet_id))
            and (not self.state or told.state in self.state)
        )


def _text(told: Told, fact: InvitationState) -> str:
    return json.dumps({**fact.model_dump(mode="json"), "at": rfc3339(told.event.time)}, ensure_ascii=False)


class Streaming:
    """Tells listeners over HTTP."""

    def __init__(self, feed: Feed, callers: Callers) -> None:
        self._feed = feed
        self._callers = callers

    def routes(self) -> list[Route]:
        """The call."""
        return [
            Route("GET", "/v1/stream", self._stream, "What happens to invitations, as it happens", query=StreamQuery,
                  auth="ops_reader", streams=("text/event-stream",), problems=(503,),
                  headers={"Last-Event-ID": "Go on behind this event; without it, from now on."}),
        ]  # fmt: skip

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        async def still() -> bool:
            try:
                return (await self._callers.of(request)).cabinet_id is None
            except (Problem, NotAllowed):
                return False

        return await self.tell(request, still, named=True)

    async def tell(self, request: web.Request, still: Still, *, named: bool) -> web.StreamResponse:
        """The answer that goes on until the caller leaves, may not listen any more (`still`), is too slow or the
        process ends. Without `named` every event is a plain message, as one handler in a browser wants it."""
        wanted = parse_query(request, StreamQuery)
        after = _last_event_id(request)
        async with self._feed.listening() as waiting:
            async with sse_response(request, ping_interval=_HEARTBEAT, send_timeout=30) as response:
                async for told in self._each(waiting, after, still):
                    fact = told.event.data
                    if isinstance(fact, InvitationState) and wanted.takes(fact):
                        name = told.event.short_type if named else None
                        await response.send(_text(told, fact), id=str(told.offset), event=name)
        return response

    async def _each(self, waiting: Waiting, after: int | None, still: Still) -> AsyncGenerator[Told]:
        """First what was missed, then what comes."""
        if after is not None:
            with suppress(BusAway):  # it ends, and the caller comes back
                async with aclosing(self._feed.between(after)) as missed:
                    async for told in missed:
                        after = told.offset
                        yield told
        look_at = time.monotonic() + _LOOK_EVERY
        while True:
            told: Told | None = None
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    told = await waiting.get()
                    if told is None:
                        return
            if time.monotonic() >= look_at:
                if not await still():
                    return
                look_at = time.monotonic() + _LOOK_EVERY
            if told is not None and (after is None or told.offset > after):
                yield told


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID", "")
    if given and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise invalid("Last-Event-ID", "This is not the id of an event of this stream; start without one.")
    return int(given) if given else None
