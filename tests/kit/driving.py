"""A bus under test, with handlers that remember, and ways to look at the broker from outside."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import aio_pika
import pika

from convive_contracts import topology
from convive_contracts.publisher import declare_topology
from convive_kit.bus import Bus
from convive_kit.consuming import Handler, Incoming, Park

KEY = "user.created"
QUEUE = topology.INVITATION_EVENTS


async def until(condition: Callable[[], Any], *, within: float = 15.0) -> None:
    """Wait for a condition, plain or awaited; fails after `within` seconds."""
    async with asyncio.timeout(within):
        while True:
            met = condition()
            if inspect.isawaitable(met):  # a driver answers with futures, too
                met = await met
            if met:
                return
            await asyncio.sleep(0.01)


class Heard:
    """A handler that remembers each body, does what it is told, and can be made to fail."""

    def __init__(self, does: Callable[[Incoming], Awaitable[None]] | None = None) -> None:
        self.messages: list[Incoming] = []
        self._does = does

    async def __call__(self, message: Incoming) -> None:
        self.messages.append(message)
        if self._does is not None:
            await self._does(message)

    @property
    def bodies(self) -> list[bytes]:
        return [message.body for message in self.messages]


class Outcomes:
    """What became of messages, told once all is committed: a bus's `taken`."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def __call__(self, queue: str, key: str, outcome: str) -> None:
        self._told.append(outcome)

    async def first(self) -> str:
        await until(lambda: bool(self._told))
        return self._told[0]


class Parked:
    """A parking place in memory."""

    def __init__(self) -> None:
        self.messages: list[tuple[Incoming, Exception]] = []

    async def __call__(self, message: Incoming, error: Exception) -> None:
        self.messages.append((message, error))

    @property
    def slugs(self) -> list[str]:
        return [getattr(error, "slug", type(error).__name__) for _, error in self.messages]


@asynccontextmanager
async def running(
    url: str, handler: Handler | None = None, *, park: Park | None = None, queue: str = QUEUE, **options: Any
) -> AsyncGenerator[Bus]:
    """A bus that is connected, and consumes if there is a handler; drained at the end."""
    prefetch = options.pop("prefetch", 10)
    bus = Bus(url, **options)
    if handler is not None:
        bus.consume(queue, handler, park=park or Parked(), prefetch=prefetch)
    task = asyncio.create_task(bus.run())
    try:
        async with asyncio.timeout(30):
            await bus.wait_ready()
        yield bus
    finally:
        await bus.drain()
        task.cancel()
        # A bus never fails: it is away, or ends as it is told to.
        [ended] = await asyncio.gather(task, return_exceptions=True)
        assert ended is None or isinstance(ended, asyncio.CancelledError)


@asynccontextmanager
async def outside(url: str) -> AsyncGenerator[aio_pika.abc.AbstractChannel]:
    """A channel of somebody else."""
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        yield await connection.channel(publisher_confirms=True, on_return_raises=True)


async def put(url: str, *bodies: bytes, key: str = KEY, **properties: Any) -> None:
    """Publish as somebody else."""
    async with outside(url) as channel:
        exchange = await declare_topology(channel)
        for body in bodies:
            message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, **properties)
            await exchange.publish(message, routing_key=key)


def put_raw(url: str, body: bytes, properties: dict[str, Any], *, key: str | bytes = KEY) -> None:
    """Publish with a client that sends properties as they are given, such as bytes that are no text (blocking)."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    with connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish(topology.EXCHANGE, cast("str", key), body, pika.BasicProperties(**properties))


async def waiting(url: str, queue: str = QUEUE) -> int:
    """How many messages are ready in a queue (not counting those that somebody holds)."""
    async with outside(url) as channel:
        declared = await channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


async def take(url: str, queue: str) -> aio_pika.abc.AbstractIncomingMessage | None:
    """Get one message of a queue and acknowledge it."""
    async with outside(url) as channel:
        message = await (await channel.get_queue(queue)).get(fail=False)
        if message is not None:
            await message.ack()
        return message
