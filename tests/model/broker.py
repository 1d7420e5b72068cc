"""A broker that keeps what it confirms and is as unkind otherwise as a real one may be: it delivers in any order and
twice, loses confirms, cuts connections and cancels consumers. To the real `Bus` it looks like aio-pika."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from aio_pika.exceptions import DeliveryError

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED
from convive_kit.consuming import Incoming
from convive_kit.event_log import Logged
from tests.model.virtual_loop import OWNER, Owner
from tests.model.world import World

HEARTBEATS_MISSED = 24.0


@dataclass(eq=False)
class Stored:
    """A message in a queue."""

    key: str
    body: bytes
    message_id: str | None
    content_type: str | None = STRUCTURED
    redelivered: bool = False


@dataclass(eq=False)
class Consumer:
    queue: str
    connection: Connection
    receive: Callable[[Any], Any]
    prefetch: int
    unacked: list[Stored] = field(default_factory=list[Stored])
    handed_over: list[Stored] = field(default_factory=list[Stored])

    def acknowledge(self, tag: int, *, multiple: bool) -> None:
        for stored in self.handed_over[:tag] if multiple else self.handed_over[tag - 1 : tag]:
            if stored in self.unacked:
                self.unacked.remove(stored)


class Connection:
    """One connection of one process."""

    def __init__(self, broker: Broker, owner: Owner) -> None:
        self.broker = broker
        self.owner = owner
        self.open = True
        self.close_callbacks: set[Callable[..., Any]] = set()
        self.cancelled_callbacks: set[Callable[..., Any]] = set()

    async def channel(self, **_: Any) -> Channel:
        await self.hop()
        return Channel(self)

    async def close(self) -> None:
        await self.hop()
        self.broker.drop(self, told=False)

    async def hop(self) -> None:
        await asyncio.sleep(self.broker.world.delay())
        if not self.open:
            raise ConnectionError("the connection is gone")


class Channel:
    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.prefetch = 1
        self.close_callbacks: set[Callable[..., Any]] = set()
        self.on_consumer_cancel_callbacks = connection.cancelled_callbacks
        self.consumer: Consumer | None = None

    async def get_underlay_channel(self) -> Channel:
        return self

    async def close(self) -> None:
        await self.connection.hop()

    async def basic_qos(self, *, prefetch_count: int, timeout: float) -> None:
        self.prefetch = prefetch_count

    async def basic_consume(
        self, queue: str, callback: Callable[[Any], Any], *, consumer_tag: str, timeout: float
    ) -> None:
        await self.connection.hop()
        self.consumer = self.connection.broker.attach(queue, self.connection, callback, self.prefetch)

    async def basic_cancel(self, tag: str, *, timeout: float) -> None:
        """No more messages; what is unacknowledged may still be acknowledged."""
        await self.connection.hop()
        if self.consumer is not None:
            self.consumer.prefetch = 0

    async def basic_ack(self, delivery_tag: int, multiple: bool = False, *, wait: bool) -> None:
        broker = self.connection.broker
        await broker.world.point("ack:before")
        await self.connection.hop()
        if self.consumer is not None:
            self.consumer.acknowledge(delivery_tag, multiple=multiple)
            broker.deliver()
        await broker.world.point("ack:after")

    async def basic_publish(
        self, body: bytes, *, exchange: str, routing_key: str, properties: Any, mandatory: bool, wait: bool
    ) -> None:
        world = self.connection.broker.world
        await world.point("publish:before")
        await self.connection.hop()
        broker = self.connection.broker

        async def take() -> bool:
            if not self.connection.open or broker.refuses:
                raise DeliveryError(None, cast("Any", None))
            broker.publish(routing_key, body, properties.message_id)
            return not broker.drops_confirms

        if not await world.remote(take):
            await world.forever()
        await world.point("publish:after")


class Delivered:
    """A message as the client hands it over; tags count what came on the channel."""

    def __init__(self, consumer: Consumer, stored: Stored) -> None:
        consumer.handed_over.append(stored)
        self.delivery_tag = len(consumer.handed_over)
        self.routing_key = stored.key
        self.body = stored.body
        properties = {"content_type": stored.content_type, "message_id": stored.message_id, "correlation_id": None}
        self.header = SimpleNamespace(properties=SimpleNamespace(**properties, headers={}))
        self.redelivered = stored.redelivered
        self.exchange = topology.EXCHANGE


class Broker:
    def __init__(self, world: World) -> None:
        self.world = world
        self.up = True
        self.refuses = False
        self.drops_confirms = False
        self.disorderly = False
        self.doubles = 0
        self.queues: dict[str, list[Stored]] = {queue.name: [] for queue in topology.QUEUES}
        self.log: list[Logged] = []
        self.connections: list[Connection] = []
        self.consumers: list[Consumer] = []
        self.published: dict[str, bytes] = {}
        self.on_publish: list[Callable[[str, bytes, str | None], None]] = []
        world.on_death.append(self._owner_died)
        world.on_stop.append(self._owner_stopped)

    async def connect(self, url: str, **_: Any) -> Connection:
        """In place of `aio_pika.connect`."""
        owner = cast("Owner", OWNER.get())
        await asyncio.sleep(self.world.delay())
        if not self.up:
            raise ConnectionRefusedError
        connection = Connection(self, owner)
        self.connections.append(connection)
        return connection

    async def declare(self, channel: Any) -> Any:
        """In place of `declare_topology`."""
        return SimpleNamespace(name=topology.EXCHANGE)

    # --- in ---------------------------------------------------------------------------------------------------------

    def publish(self, key: str, body: bytes, message_id: str | None, content_type: str = STRUCTURED) -> None:
        """Take a message into every queue that is bound for its key."""
        for tell in self.on_publish:
            tell(key, body, message_id)
        self.world.note(f"published {key} {message_id}")
        for binding in topology.BINDINGS:
            if binding.exchange == topology.EXCHANGE and _fits(binding.key, key):
                if binding.queue == topology.LOG:
                    incoming = Incoming(topology.LOG, key, body, content_type, message_id=message_id)
                    self.log.append(Logged(len(self.log), incoming))
                    continue
                copies = 1
                if self.doubles > 0:
                    self.doubles -= 1
                    copies = 2
                for _ in range(copies):
                    self._put(binding.queue, Stored(key, body, message_id, content_type))
        self.deliver()

    def _put(self, queue: str, message: Stored) -> None:
        waiting = self.queues[queue]
        place = self.world.random.randint(0, len(waiting)) if self.disorderly else len(waiting)
        waiting.insert(place, message)

    # --- out --------------------------------------------------------------------------------------------------------

    def attach(self, queue: str, connection: Connection, receive: Callable[[Any], Any], prefetch: int) -> Consumer:
        consumer = Consumer(queue, connection, receive, prefetch)
        self.consumers.append(consumer)
        self.deliver()
        return consumer

    def deliver(self) -> None:
        """Hand out what can be handed out."""
        if not self.up:
            return
        for name, waiting in self.queues.items():
            while waiting:
                free = [
                    c for c in self.consumers if c.queue == name and c.connection.open and len(c.unacked) < c.prefetch
                ]
                if not free:
                    break
                consumer = self.world.random.choice(free)
                place = self.world.random.randrange(min(len(waiting), 3)) if self.disorderly else 0
                stored = waiting.pop(place)
                consumer.unacked.append(stored)
                self.world.spawn(self._hand_over(consumer, stored))

    async def _hand_over(self, consumer: Consumer, stored: Stored) -> None:
        await asyncio.sleep(self.world.delay() * (self.world.random.choice((1, 10, 100)) if self.disorderly else 1))
        owner = consumer.connection.owner
        if consumer.connection.open and not owner.dead:
            self.world.spawn(consumer.receive(Delivered(consumer, stored)), owner)

    # --- trouble ----------------------------------------------------------------------------------------------------

    def go_down(self) -> None:
        self.world.note("broker down")
        self.up = False
        for connection in list(self.connections):
            self.drop(connection)

    def come_up(self) -> None:
        self.world.note("broker up")
        self.up = True
        self.deliver()

    def drop(self, connection: Connection, *, told: bool = True) -> None:
        """A connection is over: what was not acknowledged is delivered again."""
        if not connection.open:
            return
        connection.open = False
        self.connections.remove(connection)
        for consumer in [c for c in self.consumers if c.connection is connection]:
            self.consumers.remove(consumer)
            for stored in reversed(consumer.unacked):
                stored.redelivered = True
                self.queues[consumer.queue].insert(0, stored)
            consumer.unacked.clear()
        if told:
            self._tell(connection, connection.close_callbacks)
        self.deliver()

    def cancel_consumers(self, connection: Connection) -> None:
        """What a deleted queue does to its consumers."""
        for consumer in self.consumers:
            if consumer.connection is connection:
                consumer.prefetch = 0
        self._tell(connection, connection.cancelled_callbacks)

    def _tell(self, connection: Connection, callbacks: set[Callable[..., Any]]) -> None:
        for callback in list(callbacks):
            context = connection.owner.context.copy() if not connection.owner.dead else contextvars.Context()
            if not connection.owner.dead:
                self.world.loop.call_soon(callback, connection, context=context)

    def _owner_died(self, owner: Owner) -> None:
        for connection in [c for c in self.connections if c.owner is owner]:
            self.drop(connection, told=False)

    def _owner_stopped(self, owner: Owner) -> None:
        def silent() -> None:
            if owner.stopped:
                for connection in [c for c in self.connections if c.owner is owner]:
                    self.drop(connection)

        self.world.loop.call_later(HEARTBEATS_MISSED, silent, context=contextvars.Context())

    @property
    def idle(self) -> bool:
        """Whether every message was handled."""
        waiting = [name for name, messages in self.queues.items() if messages]
        return not waiting and not any(consumer.unacked for consumer in self.consumers)


def _fits(pattern: str, key: str) -> bool:
    wanted, given = pattern.split("."), key.split(".")
    if wanted[-1] == "#":
        return given[: len(wanted) - 1] == wanted[:-1]
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))
