"""Consuming from one queue: what is done is acknowledged, what cannot be handled is parked, nothing is lost.

Messages are taken from aio-pika's underlying channel, as they are, and what is done in the same moment is acknowledged
by one frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.abc import DeliveredMessage

from convive_contracts.envelope import EventError
from convive_kit.errors import Reject, Retry

log = structlog.stdlib.get_logger(__name__)

# A call under which the channel is being closed ends, in aiormq 7.2, as a bare `Exception`: there is no narrower name.
ANY_FAILURE = (Exception,)


class HandlerFailed(Reject):
    """The handler ran into something it did not expect."""

    slug = "handler_failed"


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message as it came, before anybody believed anything of it."""

    queue: str
    routing_key: str
    body: bytes
    content_type: str | None = None
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    message_id: str | None = None
    correlation_id: str | None = None
    redelivered: bool = False
    exchange: str = ""


def incoming_from(queue: str, message: DeliveredMessage) -> Incoming:
    """The message as received from `queue`."""
    properties = message.header.properties
    return Incoming(
        queue=queue,
        routing_key=message.routing_key or "",
        body=message.body,
        content_type=properties.content_type,
        headers=properties.headers or {},
        message_id=properties.message_id,
        correlation_id=properties.correlation_id,
        redelivered=bool(message.redelivered),
        exchange=message.exchange or "",
    )


Handler = Callable[[Incoming], Awaitable[None]]
Park = Callable[[Incoming, Exception], Awaitable[None]]
Taken = Callable[[str, str, str], None]


class Acknowledgements:
    """Of one consumer's channel. What is done in the same moment is acknowledged together: everything up to a delivery
    tag by one frame (`multiple`), and what is done ahead of something older by one of its own."""

    def __init__(self, channel: UnderlayChannel) -> None:
        self._channel = channel
        # A channel counts its deliveries: 1, 2, 3 and so on (AMQP 0-9-1, 1.8.3.13).
        self._oldest = 1
        self._ahead: set[int] = set()
        self._done: list[int] = []
        self._sending: asyncio.Task[None] | None = None

    def done(self, tag: int) -> None:
        self._done.append(tag)
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="acknowledgements")

    async def sent(self) -> None:
        """Return when all that is done has been acknowledged, or cannot be any more."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=2)

    async def _send(self) -> None:
        try:
            while self._done:
                await asyncio.sleep(0)  # whatever else is done in this moment comes along
                done, self._done = sorted(self._done), []
                self._ahead.update(done)
                while self._oldest in self._ahead:
                    self._ahead.remove(self._oldest)
                    self._oldest += 1
                if together := [tag for tag in done if tag < self._oldest]:
                    await self._channel.basic_ack(together[-1], multiple=len(together) > 1, wait=False)
                for tag in done[len(together) :]:
                    await self._channel.basic_ack(tag, wait=False)
        except ANY_FAILURE:
            # The channel is gone: the broker delivers again, and what is done stays done.
            self._done = []
        finally:
            self._sending = None


class Consumer:
    """Runs the handler for each message of one queue, `prefetch` at a time, and acknowledges what has been committed.
    `taken(queue, routing key, outcome)` is told of each: see `Bus.consume` for the rest."""

    def __init__(self, queue: str, handler: Handler, park: Park, prefetch: int, taken: Taken) -> None:
        self.queue = queue
        self.prefetch = prefetch
        self._handler = handler
        self._park = park
        self._taken = taken
        self._open = asyncio.Event()
        self._open.set()
        self._pause = 0.0
        self._attached = 0
        self._places = asyncio.Semaphore(2 * prefetch)
        self.running: set[asyncio.Task[None]] = set()
        self._channel: UnderlayChannel | None = None
        self._acknowledgements: Acknowledgements | None = None

    async def attach(self, channel: UnderlayChannel) -> None:
        """Consume on a channel of its own from now on; all that came by the one before will come again."""
        acknowledgements = self._acknowledgements = Acknowledgements(channel)
        self._channel = channel
        self._attached += 1
        attached = self._attached

        async def receive(message: DeliveredMessage) -> None:
            incoming = incoming_from(self.queue, message)
            if outcome := await self._until_decided(incoming, attached):
                self._taken(self.queue, incoming.routing_key, outcome)
                acknowledgements.done(message.delivery_tag or 0)

        async def take(message: DeliveredMessage) -> None:
            """The client's callback. A task of our own for each message, since the client cancels its tasks when it
            loses the channel: cut off between the commit and the send that follows from it, a mail would go out only
            once the lease ends. `prefetch` bounds them, and twice that where channels were lost meanwhile."""
            await self._places.acquire()
            task = asyncio.create_task(receive(message), name=self.queue)
            self.running.add(task)
            task.add_done_callback(self._over)

        await channel.basic_qos(prefetch_count=self.prefetch, timeout=10)
        await channel.basic_consume(self.queue, take, consumer_tag=self.queue, timeout=10)

    def _over(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        self._places.release()

    async def detach(self) -> None:
        """Take no more; what is in hand stays there."""
        if self._channel is not None:
            with suppress(*ANY_FAILURE):
                await self._channel.basic_cancel(self.queue, timeout=2)

    async def end(self) -> None:
        """Return when what is in hand has come to its end, within reason, and been acknowledged."""
        if self.running:
            await asyncio.wait(self.running, timeout=8)
        if self._acknowledgements is not None:
            await self._acknowledgements.sent()

    async def _until_decided(self, message: Incoming, attached: int) -> str | None:
        """Handle or park. While a dependency is away the message is held, unacknowledged: nothing is requeued, so
        no delivery limit throws healthy messages out, and the prefetch keeps more from coming. None once it has to be
        tried again and has come again meanwhile."""
        error: Exception | None = None
        while True:
            await self._open.wait()
            if attached != self._attached:
                return None
            try:
                if error is None:
                    await self._handler(message)
                    self._pause = 0.0
                    return "handled"
                await self._park(message, error)
                return "parked"
            except Retry as away:
                self._hold(away)
            except (Reject, EventError) as refused:
                if error is not None:  # the parking place refuses it: nothing may be acknowledged
                    log.exception("bus.parking_failed", queue=self.queue)
                    self._hold(refused)
                else:
                    error = refused
            except Exception as unexpected:
                if error is not None:  # parking itself failed: nothing may be acknowledged
                    log.exception("bus.parking_failed", queue=self.queue)
                    self._hold(unexpected)
                else:
                    log.exception("bus.handler_failed", queue=self.queue)
                    error = HandlerFailed(type(unexpected).__name__)

    def _hold(self, cause: Exception) -> None:
        if self._open.is_set():
            self._pause = min(max(self._pause * 2, 0.1), 5.0)
            self._open.clear()
            asyncio.get_running_loop().call_later(self._pause, self._open.set)
            log.warning("bus.consuming_paused", queue=self.queue, cause=getattr(cause, "slug", type(cause).__name__))
