"""Looks whether the broker has what the topology says: for whoever asks why nothing arrives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelNotFoundEntity, ChannelPreconditionFailed

from convive_contracts import topology
from convive_contracts.brokers import broker_urls
from convive_contracts.publisher import nobody_cancelled


@dataclass
class Examined:
    """What was found. `consumers` and `waiting` (messages not yet taken) are by queue."""

    missing: list[str] = field(default_factory=list[str])
    different: list[str] = field(default_factory=list[str])
    """There, with other arguments than the topology's."""
    consumers: dict[str, int] = field(default_factory=dict[str, int])
    waiting: dict[str, int] = field(default_factory=dict[str, int])


async def examine(url: str) -> Examined:
    """Look at every exchange and queue without making any; raises what connecting raises. No time limit of its own.
    `url` may be those of all nodes of a cluster, comma separated: the first that answers is asked.

    AMQP cannot be asked whether a binding exists. Where both its ends do, it is declared anew, as by each process that
    starts: after this it is there.
    """
    *others, last = broker_urls(url)
    patience = 5 / (len(others) + 1)
    for other in others:
        with suppress(AMQPError, OSError, TimeoutError):
            return await _examine(other, patience)
    return await _examine(last, patience)


async def _examine(url: str, patience: float) -> Examined:
    found = Examined()
    async with nobody_cancelled(), await aio_pika.connect(url, timeout=patience) as connection:
        for exchange in topology.EXCHANGES:

            async def look(channel: AbstractChannel, exchange: topology.Exchange = exchange) -> None:
                await channel.get_exchange(exchange.name, ensure=True)
                arguments = dict(exchange.arguments)
                await channel.declare_exchange(exchange.name, exchange.kind, durable=True, arguments=arguments)

            await _looked_at(connection, found, exchange.name, look)
        for queue in topology.QUEUES:

            async def count(channel: AbstractChannel, queue: topology.Queue = queue) -> None:
                told = (await channel.declare_queue(queue.name, passive=True)).declaration_result
                found.consumers[queue.name] = told.consumer_count or 0
                found.waiting[queue.name] = told.message_count or 0
                await channel.declare_queue(queue.name, durable=True, arguments=dict(queue.arguments))

            await _looked_at(connection, found, queue.name, count)
        channel = await connection.channel()
        for binding in topology.BINDINGS:
            if not {binding.queue, binding.exchange} & {*found.missing, *found.different}:
                queue = await channel.get_queue(binding.queue, ensure=False)
                await queue.bind(binding.exchange, binding.key)
    return found


async def _looked_at(
    connection: AbstractConnection, found: Examined, name: str, look: Callable[[AbstractChannel], Awaitable[None]]
) -> None:
    # A channel each: the broker closes the one on which it says no.
    channel = await connection.channel()
    try:
        await look(channel)
    except ChannelNotFoundEntity:
        found.missing.append(name)
    except ChannelPreconditionFailed:
        found.different.append(name)
    else:
        await channel.close()
