"""The bus: one supervised connection, confirmed publishing, and consumers that lose nothing (`consuming`).

aio-pika's robust classes restore much by themselves, but not all (a queue deleted under a consumer stays gone), and two
restorers make states nobody tested. So this uses the plain connection and one rule: whatever breaks, the connection is
thrown away, made anew, the topology declared again and every consumer attached again. Where the broker only refuses
what is published, the channel for it is thrown away, and the consumers go on.

Messages go through aio-pika's underlying channel, as they are: a publish does not wait until the one before it has
left; many leave in one write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, cast

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError
from pamqp.commands import Basic

from convive_contracts.brokers import Brokers
from convive_contracts.envelope import STRUCTURED
from convive_contracts.publisher import declare_topology, nobody_cancelled
from convive_kit.consuming import ANY_FAILURE, Consumer, Handler, Park, Taken
from convive_kit.errors import Reject, Retry
from convive_kit.unreadable import let_unreadable_messages_in

log = structlog.stdlib.get_logger(__name__)

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


Published = Callable[[str, float], None]


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
        self._consumers: list[Consumer] = []
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
        self._consumers.append(Consumer(queue, handler, park, prefetch, self._taken))

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
            except ANY_FAILURE as error:
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
        except ANY_FAILURE as error:
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
        with suppress(*ANY_FAILURE):
            async with asyncio.timeout(3):
                await used.close()
