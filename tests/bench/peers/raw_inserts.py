"""The floor of taking in: the product's documents, inserted in groups as fast as the messages come, and acknowledged.

Nothing is read, decided or looked up. `python -m tests.bench.peers.raw_inserts`, with the product's variables.
"""

from __future__ import annotations

import asyncio
import os
import signal

import aio_pika
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from convive_contracts import topology
from convive_kit.mongo import close_client, open_client
from invitation.store.mongo import INDEXES, INVITATIONS
from tests.bench.peers.raw_floor import PREFETCH, Group, Prepared


async def main() -> None:
    prepared = Prepared()
    client = open_client(os.environ["CONVIVE_MONGO_URL"])
    invitations = client[os.environ["CONVIVE_INVITATION_DATABASE"]][INVITATIONS]
    await invitations.create_indexes(list(INDEXES))
    connection = await aio_pika.connect(os.environ["CONVIVE_AMQP_URL"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=PREFETCH)
    number = 0

    async def insert(messages: list[AbstractIncomingMessage]) -> None:
        nonlocal number
        operations = [
            prepared.insert((message.message_id or "")[:36], number + place) for place, message in enumerate(messages)
        ]
        number += len(messages)
        await invitations.bulk_write(operations, ordered=False)
        await messages[-1].ack(multiple=True)

    inserts = Group(insert)

    async def receive(message: AbstractIncomingMessage) -> None:
        inserts.put(message)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    inserting = asyncio.create_task(inserts.run())
    queue = await channel.get_queue(topology.INVITATION_EVENTS, ensure=False)
    await queue.consume(receive)
    ended = asyncio.create_task(stop.wait())
    await asyncio.wait([ended, inserting], return_when=asyncio.FIRST_COMPLETED)
    inserting.cancel()
    await close_client(client)
    await connection.close()


if __name__ == "__main__":
    uvloop.run(main())
