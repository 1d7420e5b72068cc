"""What happens, told as it happens: one reader of the event log for each process, and only while somebody listens.

What it reads goes into a short queue for each listener. Whoever is too slow for that is let go.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from convive_contracts.envelope import Event, EventError, parse_event
from convive_kit.bus import BusAway
from convive_kit.event_log import EventLog, Logged, Start
from convive_kit.logs import get_logger

log = get_logger(__name__)

MOST_WAITING = 500
"""Events that a listener may be behind."""
_LINGER = 60.0
_ATTACHED_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Told:
    """An event, and where it stands in the log."""

    offset: int
    event: Event


Waiting = asyncio.Queue[Told | None]
"""What a listener has not taken yet; None when there will be no more."""


class Feed:
    """Reads the log once for all who listen."""

    def __init__(self, log: EventLog, *, families: Sequence[str], now: Callable[[], datetime]) -> None:
        """`families` are what the types that are told begin with, such as `invitation`."""
        self._log = log
        self._families = frozenset(families)
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
                if told := self._told(logged):
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
                    # At once: leaving takes a while, and whoever begins to listen meanwhile would miss what is told.
                    self._attached.clear()
                    return
                if self._listeners and (told := self._told(logged)):
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

    def _told(self, logged: Logged) -> Told | None:
        message = logged.message
        if message.routing_key.partition(".")[0] not in self._families:
            return None
        try:
            event = parse_event(message.body, content_type=message.content_type, headers=message.headers)
        except EventError:
            return None  # the log keeps what anybody publishes
        return Told(logged.offset, event)
