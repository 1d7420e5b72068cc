"""A confirmed publisher for other teams; needs the extra `publisher` (aio-pika).

async with Publisher("amqp://…", source="/payroll") as publisher:
    await publisher.publish("user.created", subject=member_id, data={"member": …, "dossier": …, "cabinet": …})
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange
from aio_pika.exceptions import AMQPError, DeliveryError, PublishError
from pydantic import BaseModel

from convive_contracts import topology
from convive_contracts.brokers import Brokers
from convive_contracts.envelope import STRUCTURED, Event, new_event


async def declare_topology(channel: AbstractChannel) -> AbstractExchange:
    """Declare all of `convive_contracts.topology`; safe to repeat. Returns the exchange to publish to."""
    exchanges: dict[str, AbstractExchange] = {}
    for exchange in topology.EXCHANGES:
        exchanges[exchange.name] = await channel.declare_exchange(
            exchange.name, exchange.kind, durable=True, arguments=dict(exchange.arguments)
        )
    queues = await asyncio.gather(
        *(channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments)) for queue in topology.QUEUES)
    )
    by_name = {queue.name: queue for queue in queues}
    await asyncio.gather(*(by_name[b.queue].bind(exchanges[b.exchange], routing_key=b.key) for b in topology.BINDINGS))
    return exchanges[topology.EXCHANGE]


@asynccontextmanager
async def nobody_cancelled() -> AsyncGenerator[None]:
    """Around a call of aio-pika: a connection that is closed under a call that waits ends it as if its task had been
    cancelled (aiormq 7.2). Here that is a `ConnectionError`, and a cancellation only where somebody asked for one."""
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise ConnectionResetError("the connection was closed") from None


def message_of(event: Event) -> aio_pika.Message:
    """The persistent structured-mode message of an event."""
    return aio_pika.Message(
        event.to_structured(),
        content_type=STRUCTURED,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=event.id,
        correlation_id=event.correlation_id,
    )


_AWAY = (AMQPError, OSError, RuntimeError, TimeoutError)
_PAUSE = 0.2


class Publisher:
    """Publishes events and returns once the broker has confirmed that it keeps them. After a broker that went away it
    connects anew with the next event, in a cluster to the next node.

    A failure (`TimeoutError`, `ConnectionError`, or another error of aio-pika) means "not known to be kept": publish
    the same event again, with the same `id`. Convive handles it once, whatever the number of copies.
    """

    def __init__(self, url: str, *, source: str, timeout: float = 10.0) -> None:
        """`url` as in `amqp://user:password@host/vhost`, of a cluster all of them, comma separated; `source` names your
        system; `timeout` in seconds."""
        self._brokers = Brokers(url)
        self._source = source
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._connecting = asyncio.Lock()
        self._entered = False

    async def __aenter__(self) -> Self:
        async with asyncio.timeout(self._timeout):
            await self._connect()
        self._entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._entered = False
        async with asyncio.timeout(self._timeout):
            await self._disconnect()

    async def publish(
        self,
        short_type: str,
        *,
        subject: str,
        data: BaseModel | Mapping[str, Any],
        id: str | None = None,
        time: datetime | None = None,
        sequence: int | None = None,
        correlation_id: str | None = None,
        lane: str | None = None,
    ) -> Event:
        """Check, publish, wait for the confirm; returns the event as published.

        Raises `Malformed` (naming the field) or `UnknownType` before anything is sent. `lane="bulk"` sends a
        `user.created` behind those made by hand.
        """
        event = new_event(
            short_type,
            source=self._source,
            subject=subject,
            data=data,
            id=id,
            time=time,
            sequence=sequence,
            correlation_id=correlation_id,
        )
        if not self._entered:
            raise RuntimeError("use the publisher inside `async with`")
        key = f"{short_type}.{lane}" if lane else short_type
        # Around everything: aio-pika's own timeout starts only once there is a connection.
        async with nobody_cancelled(), asyncio.timeout(self._timeout):
            exchange = await self._connected()
            try:
                await exchange.publish(message_of(event), routing_key=key, mandatory=True)
            except PublishError:
                raise
            except DeliveryError:
                # A channel may go on refusing everything once a queue has lost its leader in the wrong moment.
                if exchange is self._exchange:
                    await self._disconnect()
                raise
        return event

    async def _connected(self) -> AbstractExchange:
        """What to publish to; while no broker can be reached, this waits."""
        async with self._connecting:
            while self._exchange is None or self._channel is None or self._channel.is_closed:
                try:
                    await self._connect()
                except _AWAY:
                    await asyncio.sleep(_PAUSE)
            return self._exchange

    async def _connect(self) -> None:
        await self._disconnect()
        failure: Exception = ConnectionError("no broker")
        for url in self._brokers.each():
            try:
                self._connection = await aio_pika.connect(
                    url, timeout=self._timeout / len(self._brokers.urls), heartbeat=20
                )
                self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                self._exchange = await declare_topology(self._channel)
                return
            except _AWAY as error:
                failure = error
                await self._disconnect()
        raise failure

    async def _disconnect(self) -> None:
        connection, self._connection, self._channel, self._exchange = self._connection, None, None, None
        if connection is not None:
            with suppress(*_AWAY):
                await connection.close()
