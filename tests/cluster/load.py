"""A steady publisher of `user.created`: it goes from broker to broker, and publishes again what is not confirmed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED
from convive_contracts.events import invitation_id
from convive_contracts.publisher import nobody_cancelled
from tests.speaking import cloud_event, new_address, until, user_data

SOURCE = "/tests/payroll"
_CABINETS = 10
_AWAY = (Exception,)  # under a connection that is being closed aiormq raises whatever it comes upon


class Load:
    """Publishes `count` events, `rate` of them a second, whatever becomes of the brokers meanwhile.

    `confirmed`: when each was, by the id of its invitation; `again`: how often one was published once more.
    """

    def __init__(self, urls: Sequence[str], rate: float, count: int) -> None:
        self.rate, self.count = rate, count
        self.confirmed: dict[str, datetime] = {}
        self.wanted: dict[str, str] = {}
        """The address of each, by the id of its invitation."""
        self.again = 0
        self._urls = urls
        self._turn = 0
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._connecting = asyncio.Lock()
        self._cabinets = [{"id": str(uuid4()), "name": f"Cabinet {number}"} for number in range(_CABINETS)]
        self._dossiers = [{"id": str(uuid4()), "name": f"Boulangerie {number}"} for number in range(_CABINETS)]

    async def run(self) -> None:
        """Publish all; returns when the last is confirmed."""
        began = time.monotonic()
        try:
            async with asyncio.TaskGroup() as publishing:
                for number in range(self.count):
                    wait = began + number / self.rate - time.monotonic()
                    if wait > 0:
                        await asyncio.sleep(wait)  # the pace of the load; nothing is waited for
                    publishing.create_task(self._publish(number))
        finally:
            await self._drop(self._exchange)

    async def reached(self, number: int) -> None:
        """Return when so many are confirmed."""

        async def enough() -> bool:
            return len(self.confirmed) >= number

        await until(enough, within=60 + number / self.rate, what=f"{number} events confirmed")

    async def _publish(self, number: int) -> None:
        at, member, email = number % _CABINETS, str(uuid4()), new_address(f"guest{number}")
        id = invitation_id(SOURCE, member)
        self.wanted[id] = email
        data = user_data(member, email, cabinet=self._cabinets[at], dossier=self._dossiers[at])
        event: dict[str, Any] = cloud_event("user.created", member, data, source=SOURCE)
        body = json.dumps(event).encode()
        while True:
            exchange = None
            try:
                exchange = await self._connected()
                message = aio_pika.Message(body, content_type=STRUCTURED, delivery_mode=2, message_id=event["id"])
                async with nobody_cancelled(), asyncio.timeout(10):
                    await exchange.publish(message, routing_key="user.created", mandatory=True)
            except _AWAY:
                self.again += 1
                await self._drop(exchange)
                await asyncio.sleep(0.1)
            else:
                self.confirmed[id] = datetime.now(UTC)
                return

    async def _connected(self) -> AbstractExchange:
        async with self._connecting:
            if self._exchange is None:
                url = self._urls[self._turn % len(self._urls)]
                self._turn += 1
                async with asyncio.timeout(8):
                    self._connection = await aio_pika.connect(url, timeout=6, heartbeat=5)
                    channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                    self._exchange = await channel.get_exchange(topology.EXCHANGE, ensure=False)
            return self._exchange

    async def _drop(self, exchange: AbstractExchange | None) -> None:
        if exchange is None or exchange is not self._exchange:  # somebody else has made a new one since
            return
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            with suppress(*_AWAY):
                async with asyncio.timeout(2):
                    await connection.close()
