"""The usual way: a FastStream subscriber that does each message from beginning to end, as its documentation shows.

`python -m tests.bench.peers.faststream_usual`, with the product's environment variables.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import aiosmtplib
import uvloop
from faststream import AckPolicy, FastStream, StreamMessage
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import DuplicateKeyError

from invitation.store.mongo import INDEXES, INVITATIONS
from tests.bench.peers import usual
from tests.bench.peers.usual import UserCreated

# The best of 10 messages over 4 connections, 32/8, 64/16, 128/32 and 256/32, on two cores.
MESSAGES_AT_A_TIME = int(os.environ.get("BENCH_PREFETCH", "128"))
SMTP_CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "32"))

Send = Callable[[aiosmtplib.SMTP, UserCreated, str, datetime], Awaitable[object]]


async def send_message(smtp: aiosmtplib.SMTP, event: UserCreated, id: str, expires_at: datetime) -> None:
    """The mail made anew each time."""
    await smtp.send_message(usual.message(event, id, expires_at))


async def from_cloud_event(message: StreamMessage[Any]) -> Any:
    """FastStream decodes `application/json` by itself, but not `application/cloudevents+json`."""
    return json.loads(message.body)


def application(send: Send) -> FastStream:
    """The whole program; how a mail is made and handed over is the caller's."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
        os.environ["CONVIVE_MONGO_URL"], w="majority", tz_aware=True
    )
    invitations = client[os.environ["CONVIVE_INVITATION_DATABASE"]][INVITATIONS]
    connections: asyncio.Queue[aiosmtplib.SMTP] = asyncio.Queue()
    broker = RabbitBroker(
        os.environ["CONVIVE_AMQP_URL"],
        default_channel=Channel(prefetch_count=MESSAGES_AT_A_TIME),
        # Failures alone, not a line when a message comes and another when it goes.
        logger=logging.getLogger("peer"),
        log_level=logging.DEBUG,
    )
    exchange = RabbitExchange(usual.EXCHANGE, type=ExchangeType.TOPIC, declare=False)
    app = FastStream(broker)

    @asynccontextmanager
    async def smtp():
        """One of the connections that are kept alive; a client of aiosmtplib sends one mail at a time."""
        connection = await connections.get()
        try:
            if not connection.is_connected:
                await connection.connect()
            yield connection
        finally:
            connections.put_nowait(connection)

    @broker.subscriber(
        RabbitQueue(usual.EVENTS, durable=True, declare=False),
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=from_cloud_event,
    )
    async def user_created(event: UserCreated) -> None:
        id, now = usual.invitation_id(event), datetime.now(UTC)
        expires_at = now + usual.LINK_LIFE
        try:
            await invitations.insert_one(usual.document(event, id, now))
        except DuplicateKeyError:
            known = await invitations.find_one({"_id": id}, {"state": 1})
            if known is None or known["state"] != "pending":
                return

        async with smtp() as connection:
            await send(connection, event, id, expires_at)

        sent_at = datetime.now(UTC)
        await invitations.update_one({"_id": id, "state": "pending"}, usual.update(sent_at, expires_at))
        sent = usual.invitation_sent(event, id, sent_at, expires_at)
        await broker.publish(
            sent,
            exchange=exchange,
            routing_key=usual.ROUTING_KEY,
            persist=True,
            content_type=usual.CONTENT_TYPE,
            message_id=sent.id,
        )

    @app.on_startup
    async def prepare() -> None:
        await invitations.create_indexes(list(INDEXES))
        for _ in range(SMTP_CONNECTIONS):
            connections.put_nowait(
                aiosmtplib.SMTP(
                    hostname=os.environ["CONVIVE_SMTP_HOST"],
                    port=int(os.environ["CONVIVE_SMTP_PORT"]),
                    start_tls=False,
                    use_tls=False,
                )
            )

    return app


if __name__ == "__main__":
    uvloop.run(application(send_message).run())
