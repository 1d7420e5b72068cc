"""The bus: one supervised connection, confirmed publishing, consuming that loses nothing.

aio-pika's robust classes restore much by themselves, but not all (a queue deleted under a consumer stays gone), and two
restorers make states nobody tested. So this uses the plain connection and one rule: whatever breaks, the connection is
thrown away, made anew, the topology declared again and every consumer attached again. Where the broker only refuses
what is published, the channel for it is thrown away, and the consumers go on.

Messages go through aio-pika's underlying channel, as they are: a publish does not wait until the one before it has left
(many leave in one write), and what is done in the same moment is acknowledged by one frame.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from convive_contracts.brokers import Brokers
from convive_contracts.envelope import STRUCTURED, EventError
from convive_contracts.publisher import declare_topology, nobody_cancelled
from convive_kit.errors import Reject, Retry
from convive_kit.unreadable import let_unreadable_messages_in

log = structlog.stdlib.get_logger(__name__)

# A call under which the channel is being closed ends, in aiormq 7.2, as a bare `Exception`: there is no narrower name.
_ANY_FAILURE = (Exception,)
_PERSISTENT = 2
_HEARTBEAT = 8
"""Seconds. The client gives a silent connection up after about three of them."""
_REFUSED_PAUSE = 1.0
"""Seconds for which a channel for publishing is kept at least, however often the broker refuses."""


class BusAway(Retry):
    """The message broker does not answer."""

    slug = "bus_away"


class Unroutable(Reject):
    """No queue is bound for this routing key."""

    slug = "unroutable"


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


Handler = Callable[[Incoming], Awaitable[None]]
Park = Callable[[Incoming, Exception], Awaitable[None]]
Taken = Callable[[str, str, str], None]
Published = Callable[[str, float], None]


class _Acknowledgements:
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
        except _ANY_FAILURE:
            # The channel is gone: the broker delivers again, and what is done stays done.
            self._done = []
        finally:
            self._sending = None


class _Consumer:
    """Runs the handler for each message of one queue and acknowledges what has been committed."""

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
        self._acknowledgements: _Acknowledgements | None = None

    async def attach(self, channel: UnderlayChannel) -> None:
        """Consume on a channel of its own from now on; all that came by the one before will come again."""
        acknowledgements = self._acknowledgements = _Acknowledgements(channel)
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
            with suppress(*_ANY_FAILURE):
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


class Bus:
    """One connection to the broker. Register consumers with `consume`, then keep `run` running.

    `publish` is usable whenever `healthy`; in between it raises `BusAway` at once.
    """

    def __init__(
        self,
        url: str,
        *,
        publish_timeout: float = 10.0,
        taken: Taken = lambda _queue, _key, _outcome: None,
        published: Published = lambda _outcome, _seconds: None,
        declare: Callable[[AbstractChannel], Awaitable[AbstractExchange]] = declare_topology,
    ) -> None:
        """`url` may be those of all nodes of a cluster, comma separated: whatever breaks, the next one is tried.
        `taken(queue, routing key, outcome)` is told of each message, handled or parked; `published(outcome,
        seconds)` of each publish, confirmed, away or unroutable. `publish_timeout` in seconds."""
        let_unreadable_messages_in()
        self._brokers = Brokers(url)
        self._publish_timeout = publish_timeout
        self._taken = taken
        self._published = published
        self._declare = declare
        self._consumers: list[_Consumer] = []
        self._publisher: AbstractChannel | None = None
        self._publishing: Any = None  # its UnderlayChannel, whose interface leaves `wait` out
        self._exchange = ""
        self._unconfirmed: set[asyncio.Timeout] = set()
        self._broken = asyncio.Event()
        self._trouble = asyncio.Event()
        self._ready = asyncio.Event()
        self._draining = False

    def consume(self, queue: str, handler: Handler, *, park: Park, prefetch: int) -> None:
        """Have `handler` called for every message of `queue`, `prefetch` at a time.

        It returns when all is committed (then the message is acknowledged), raises `Retry` to have the message held
        and tried again, or anything else to have it handed to `park` with the reason.
        """
        self._consumers.append(_Consumer(queue, handler, park, prefetch, self._taken))

    @property
    def healthy(self) -> bool:
        """Whether the connection stands, the topology is declared and every consumer is attached."""
        return self._ready.is_set() and not self._broken.is_set()

    def in_hand(self) -> Mapping[str, int]:
        """How many messages of each queue are being handled."""
        return {consumer.queue: len(consumer.running) for consumer in self._consumers}

    async def wait_ready(self) -> None:
        """Return when the bus is usable."""
        await self._ready.wait()

    async def run(self, *, after: asyncio.Event | None = None) -> None:
        """Keep a connection, made once `after` is set, until cancelled. Returns when it breaks after `drain`: what was
        still to be published is left to others then."""
        if after is not None:
            await after.wait()
        pause = 0.1
        while not self._draining:
            self._broken.clear()
            self._trouble.clear()
            connection: AbstractConnection | None = None
            try:
                async with asyncio.timeout(15):
                    connection = await aio_pika.connect(self._brokers.url, timeout=10, heartbeat=_HEARTBEAT)
                    await self._attach(connection)
                self._ready.set()
                pause = 0.1
                log.info("bus.connected", broker=self._brokers.name)
                await self._until_broken(connection)
            except _ANY_FAILURE as error:
                log.warning("bus.away", broker=self._brokers.name, cause=type(error).__name__)
            finally:
                self._lose()
                if connection is not None:
                    await self._discard(connection)
                self._brokers.turn()
            if not self._draining:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 3.0)

    async def drain(self) -> None:
        """Take no more messages and let those in hand come to their end. `publish` stays usable."""
        self._draining = True
        await asyncio.gather(*(consumer.detach() for consumer in self._consumers))
        await asyncio.gather(*(consumer.end() for consumer in self._consumers))

    async def publish(
        self,
        *,
        key: str,
        body: bytes,
        message_id: str,
        correlation_id: str | None = None,
        content_type: str = STRUCTURED,
    ) -> None:
        """Publish and return once the broker has confirmed that it keeps the message.

        Raises `BusAway` when that is not known (it may be kept: publish again, receivers know the event id) and
        `Unroutable` when no queue would take it.
        """
        channel = self._publishing
        if channel is None:
            raise BusAway
        properties = Basic.Properties(
            content_type=content_type, delivery_mode=_PERSISTENT, message_id=message_id, correlation_id=correlation_id
        )
        began, outcome = time.perf_counter(), "away"
        try:
            # Around everything: the client's own timeout covers only the frame.
            async with nobody_cancelled(), asyncio.timeout(self._publish_timeout) as limit:
                self._unconfirmed.add(limit)
                try:
                    await channel.basic_publish(
                        body,
                        exchange=self._exchange,
                        routing_key=key,
                        properties=properties,
                        mandatory=True,
                        # It waits for the confirm, not for the write before.
                        wait=False,
                    )
                finally:
                    self._unconfirmed.discard(limit)
            outcome = "confirmed"
        except PublishError as error:
            outcome = "unroutable"
            raise Unroutable(key) from error
        except DeliveryError as refused:
            if channel is self._publishing:
                self._trouble.set()
            raise BusAway from refused
        except _ANY_FAILURE as error:
            raise BusAway from error
        finally:
            self._published(outcome, time.perf_counter() - began)

    async def _attach(self, connection: AbstractConnection) -> None:
        connection.close_callbacks.add(self._break)
        channel = await self._open_channel(connection, on_return_raises=True)
        # Before anything is consumed: what the first messages lead to must not find the bus away.
        self._exchange = (await self._declare(channel)).name
        await self._publish_through(channel)
        for consumer in self._consumers:
            # A channel each: a prefetch of its own, and a slow queue does not hold up another.
            own = await self._open_channel(connection, on_return_raises=False)
            await consumer.attach(await own.get_underlay_channel())

    async def _publish_through(self, channel: AbstractChannel) -> None:
        self._publishing = await channel.get_underlay_channel()
        self._publisher = channel

    async def _until_broken(self, connection: AbstractConnection) -> None:
        """Return when the connection has to be made anew. Until then publish through another channel whenever the
        broker has refused something: a channel that meets a queue or stream in the moment in which its leader is lost
        may go on refusing everything (seen with RabbitMQ 3.10), and the next one knows the leader."""
        while True:
            await self._trouble.wait()
            if self._broken.is_set():
                return
            log.warning("bus.publish_refused", broker=self._brokers.name)
            refusing = self._publisher
            async with asyncio.timeout(15):
                await self._publish_through(await self._open_channel(connection, on_return_raises=True))
            if not self._broken.is_set():
                self._trouble.clear()
            if refusing is not None:
                refusing.close_callbacks.discard(self._break)
                await self._discard(refusing)
            with suppress(TimeoutError):
                async with asyncio.timeout(_REFUSED_PAUSE):
                    await self._broken.wait()

    async def _open_channel(self, connection: AbstractConnection, *, on_return_raises: bool) -> AbstractChannel:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=on_return_raises)
        channel.close_callbacks.add(self._break)
        underlay = await channel.get_underlay_channel()
        # The broker cancels a consumer when its queue is deleted: nothing else would ever tell us.
        cast("Any", underlay).on_consumer_cancel_callbacks.add(self._break)
        return channel

    def _break(self, *_: object) -> None:
        self._lose()
        self._broken.set()
        self._trouble.set()

    def _lose(self) -> None:
        self._ready.clear()
        self._publisher = self._publishing = None
        # Nobody confirms these any more, and the client does not say so to those that wait for their turn to be
        # written (aiormq 7.2).
        now = asyncio.get_running_loop().time()
        for limit in self._unconfirmed:
            if not limit.expired():
                limit.reschedule(now)

    @staticmethod
    async def _discard(used: AbstractConnection | AbstractChannel) -> None:
        with suppress(*_ANY_FAILURE):
            async with asyncio.timeout(3):
                await used.close()


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
