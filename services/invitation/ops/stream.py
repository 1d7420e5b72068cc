"""`/v1/stream`: what happens to invitations, told as it happens (server-sent events, WHATWG HTML 9.2).

One reader of the event log for each process, only while somebody listens; what it reads goes into a short queue for
each listener. Whoever is too slow for that is let go, and goes on by `Last-Event-ID`, as browsers do by themselves."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from aiohttp import web
from aiohttp_sse import sse_response
from pydantic import Field

from convive_contracts.envelope import EventError, parse_event
from convive_contracts.events import InvitationState
from convive_kit.bus import BusAway
from convive_kit.errors import NotAllowed
from convive_kit.event_log import EventLog, Logged, Start
from convive_kit.http import Problem, Query, invalid, parse_query, rfc3339
from convive_kit.logs import get_logger
from convive_kit.routes import Route
from invitation.lifecycle.states import State
from invitation.ops.callers import Callers

log = get_logger(__name__)

MOST_WAITING = 500
"""Events that a listener may be behind."""
_LINGER = 60.0
_LOOK_EVERY = 5.0
"""Seconds after which it is looked whether a listener still may listen."""
_HEARTBEAT = 15.0
_ATTACHED_WITHIN = 10.0

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


@dataclass(frozen=True, slots=True)
class Told:
    """A fact about an invitation, and where it stands in the log."""

    offset: int
    name: str
    data: InvitationState
    at: datetime

    def text(self) -> str:
        return json.dumps({**self.data.model_dump(mode="json"), "at": rfc3339(self.at)}, ensure_ascii=False)


Waiting = asyncio.Queue[Told | None]
"""What a listener has not taken yet; None when there will be no more."""


class Feed:
    """Reads the log once for all who listen."""

    def __init__(self, log: EventLog, *, now: Callable[[], datetime]) -> None:
        self._log = log
        self._now = now
        self._listeners: set[Waiting] = set()
        self._wanted = asyncio.Event()
        self._attached = asyncio.Event()
        self._left_at = 0.0
        self._ending = False
        # Where to go on after an outage: behind the last event, or, before there was one, from when it was attached.
        self._position: Start = "next"

    async def run(self, stopping: asyncio.Event) -> None:
        """Read while somebody listens, whatever becomes of the broker; ends all listeners once `stopping` is set."""
        reading = asyncio.create_task(self._read(), name="event stream")
        try:
            asked = asyncio.create_task(stopping.wait())
            await asyncio.wait({reading, asked}, return_when=asyncio.FIRST_COMPLETED)
            asked.cancel()
            if reading.done():
                reading.result()
        finally:
            self._ending = True
            reading.cancel()
            for waiting in [*self._listeners]:
                self._let_go(waiting)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Waiting]:
        """What is told from here on. Raises `BusAway` where the broker cannot be had."""
        if self._ending:
            raise BusAway
        waiting: Waiting = asyncio.Queue()
        self._listeners.add(waiting)
        self._wanted.set()
        try:
            try:
                async with asyncio.timeout(_ATTACHED_WITHIN):
                    await self._attached.wait()
            except TimeoutError:
                raise BusAway from None
            yield waiting
        finally:
            self._listeners.discard(waiting)
            self._left_at = time.monotonic()

    async def between(self, after: int) -> AsyncGenerator[Told]:
        """What was told behind that offset until now. Raises `BusAway`."""
        last = await self._log.last_offset()
        if last is None or last <= after:
            return
        async with aclosing(self._log.read(after + 1, last)) as events:
            async for logged in events:
                if told := _told(logged):
                    yield told

    async def _read(self) -> None:
        while True:
            await self._wanted.wait()
            try:
                await self._follow()
            except BusAway:
                log.warning("stream.away")
                await asyncio.sleep(1)
            finally:
                self._attached.clear()

    async def _follow(self) -> None:
        async with aclosing(self._log.follow(self._position, self._reading)) as events:
            async for logged in events:
                self._position = logged.offset + 1
                if not self._listeners and time.monotonic() - self._left_at > _LINGER:
                    self._position = "next"
                    self._wanted.clear()
                    return
                if self._listeners and (told := _told(logged)):
                    for waiting in [*self._listeners]:
                        waiting.put_nowait(told)
                        if waiting.qsize() > MOST_WAITING:
                            self._let_go(waiting)

    def _reading(self) -> None:
        if self._position == "next":
            self._position = self._now()
        self._attached.set()

    def _let_go(self, waiting: Waiting) -> None:
        self._listeners.discard(waiting)
        while not waiting.empty():
            waiting.get_nowait()
        waiting.put_nowait(None)


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
                    if wanted.takes(told.data):
                        await response.send(told.text(), id=str(told.offset), event=told.name if named else None)
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


def _told(logged: Logged) -> Told | None:
    message = logged.message
    if not message.routing_key.startswith("invitation."):
        return None
    try:
        event = parse_event(message.body, content_type=message.content_type, headers=message.headers)
    except EventError:
        return None  # the log keeps what anybody publishes
    if not isinstance(event.data, InvitationState):
        return None
    return Told(logged.offset, event.short_type, event.data, event.time)


def _last_event_id(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID", "")
    if given and not (given.isascii() and given.isdigit() and len(given) < 19):
        raise invalid("Last-Event-ID", "This is not the id of an event of this stream; start without one.")
    return int(given) if given else None
