"""Reading the event log: a RabbitMQ stream, read over AMQP 0-9-1 from an offset, as often as one likes.

Streams want a prefetch and manual acknowledgement, keep no position for their readers, and put the offset of each
message into the header `x-stream-offset` (RabbitMQ documentation, "Streams").
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

import aio_pika
import aiormq
from aio_pika.exceptions import AMQPError
from aiormq.abc import DeliveredMessage

from convive_contracts import topology
from convive_contracts.brokers import Brokers
from convive_kit.bus import BusAway
from convive_kit.consuming import Incoming, incoming_from

_OFFSET = "x-stream-offset"
_PREFETCH = 500
_ACKNOWLEDGED_AT_ONCE = 100
_EMPTY_AFTER = 2.0
_SILENCE = 0.1
_LONGEST_LOOK = 3.0
_TIME_LIMIT = 15.0
_AWAY = (TimeoutError, AMQPError, aiormq.exceptions.AMQPError, OSError, RuntimeError)

Start = int | datetime | Literal["first", "last", "next"]
Arriving = asyncio.Queue[DeliveredMessage | None]
"""Messages as they come; None once nothing more will."""


@dataclass(frozen=True, slots=True)
class Logged:
    """One event of the log, and where it stands."""

    offset: int
    message: Incoming


class EventLog:
    """The log of every event of the last thirty days."""

    def __init__(self, url: str, *, stream: str = topology.LOG) -> None:
        """`url` may be those of all nodes of a cluster, comma separated: the first that answers is read from."""
        self._brokers = Brokers(url)
        self._patience = _TIME_LIMIT * 2 / 3 / len(self._brokers.urls)
        self._stream = stream

    async def last_offset(self) -> int | None:
        """The offset of the newest event at present, or None for an empty log. Raises `BusAway`."""
        newest: int | None = None
        async with self._consuming("last") as arriving, _outages():
            # The last chunk comes as a whole; what is published meanwhile may be in it or not.
            with suppress(TimeoutError):
                async with asyncio.timeout(_LONGEST_LOOK):
                    message = await _next(arriving, _EMPTY_AFTER)
                    while True:
                        newest = _offset(message)
                        await _acknowledge(message)
                        if arriving.empty():
                            # A call that changes nothing: its answer comes behind what the broker was about to send on
                            # this channel, however busy it is. The silence after it is for what came before.
                            await message.channel.basic_qos(prefetch_count=_PREFETCH)
                        message = await _next(arriving, _SILENCE)
        return newest

    async def read(self, start: Start, last: int) -> AsyncGenerator[Logged]:
        """Events from `start` (an offset, or a time: then from the chunk that holds it) to the offset `last`, in order.

        Raises `BusAway` when the broker stops answering: go on from the last offset seen.
        """
        async with self._consuming(start) as arriving:
            taken = 0
            while True:
                message = _at_hand(arriving)
                if message is None:
                    async with _outages():
                        message = await _next(arriving, _TIME_LIMIT)
                offset = _offset(message)
                if offset > last:
                    return
                if not isinstance(start, int) or offset >= start:  # a chunk may begin before the offset asked for
                    yield Logged(offset, incoming_from(self._stream, message))
                taken += 1
                if taken % _ACKNOWLEDGED_AT_ONCE == 0:
                    # An acknowledgement only asks for more: a stream forgets nothing.
                    await _acknowledge(message)
                if offset == last:
                    return

    async def follow(self, start: Start, attached: Callable[[], object]) -> AsyncGenerator[Logged]:
        """Events from `start` ("next" for what comes from now on), in order and without an end; `attached` is called
        once none will be missed any more. Raises `BusAway` when the broker goes: follow on from the last offset seen.
        """
        async with self._consuming(start) as arriving:
            attached()
            while True:
                message = await _next(arriving)
                offset = _offset(message)
                if not isinstance(start, int) or offset >= start:
                    yield Logged(offset, incoming_from(self._stream, message))
                await _acknowledge(message)

    @asynccontextmanager
    async def _consuming(self, start: Start) -> AsyncGenerator[Arriving]:
        arriving: Arriving = asyncio.Queue()

        def ended(*_: object) -> None:
            arriving.put_nowait(None)

        async with _outages(), asyncio.timeout(_TIME_LIMIT):
            for url in self._brokers.each():
                with suppress(*_AWAY):
                    connection = await aio_pika.connect(url, timeout=self._patience, heartbeat=8)
                    break
            else:
                raise BusAway
            connection.close_callbacks.add(ended)
            channel = await connection.channel()
            channel.close_callbacks.add(ended)
            # As they come, without the client's object around each: a rebuild reads millions.
            underlay = await channel.get_underlay_channel()
            # The broker cancels a consumer when its stream is deleted.
            cast("Any", underlay).on_consumer_cancel_callbacks.add(ended)
            await underlay.basic_qos(prefetch_count=_PREFETCH)
            await underlay.basic_consume(self._stream, arriving.put, arguments={_OFFSET: start})
        try:
            yield arriving
        finally:
            with suppress(*_AWAY):
                async with asyncio.timeout(3):
                    await connection.close()


def _at_hand(arriving: Arriving) -> DeliveredMessage | None:
    """What is there already, without a word to the loop: a rebuild reads millions."""
    return None if arriving.empty() else _unless_over(arriving.get_nowait())


async def _next(arriving: Arriving, limit: float | None = None) -> DeliveredMessage:
    """The next message; `limit` in seconds."""
    async with asyncio.timeout(limit):
        return _unless_over(await arriving.get())


def _unless_over(message: DeliveredMessage | None) -> DeliveredMessage:
    if message is None:
        raise BusAway
    return message


async def _acknowledge(message: DeliveredMessage) -> None:
    """This one and all before it."""
    async with _outages():
        await message.channel.basic_ack(message.delivery_tag or 0, multiple=True, wait=False)


def _offset(message: DeliveredMessage) -> int:
    offset = (message.header.properties.headers or {}).get(_OFFSET)
    if not isinstance(offset, int):
        raise BusAway("The log's messages carry no offset.")
    return offset


@asynccontextmanager
async def _outages() -> AsyncGenerator[None]:
    try:
        yield
    except _AWAY as error:
        raise BusAway from error
