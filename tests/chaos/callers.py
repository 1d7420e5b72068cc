"""How people and programs call: whatever is cut off or answered "try again later" is tried again."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import aio_pika
import aiohttp
import aiormq
from aio_pika.abc import AbstractConnection, AbstractExchange

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED
from convive_contracts.publisher import nobody_cancelled
from tests.chaos.ledger import Ledger

_PATIENCE = aiohttp.ClientTimeout(total=12, connect=4)
_LONGEST_PAUSE = 8.0
"""Seconds: people who are told to come again do not press twice a second."""
_CUT_OFF = (aiohttp.ClientError, OSError, TimeoutError)
_BUS_AWAY = (OSError, TimeoutError, RuntimeError, aio_pika.exceptions.AMQPError, aiormq.exceptions.AMQPError)


@dataclass(frozen=True, slots=True)
class Answer:
    """A definite answer. `unclear`: an attempt before it got none, so this may be the answer to a repetition."""

    status: int
    body: Any
    tries: int
    unclear: bool


class Web:
    """Calls over HTTP, to any of a service's replicas."""

    def __init__(self, urls: Mapping[str, Sequence[str]], ledger: Ledger, chance: random.Random) -> None:
        self._urls = urls
        self._ledger = ledger
        self._chance = chance
        # Everybody shares the connections and nobody the cookies.
        self._session = aiohttp.ClientSession(
            timeout=_PATIENCE, connector=aiohttp.TCPConnector(limit=300), cookie_jar=aiohttp.DummyCookieJar()
        )

    async def close(self) -> None:
        await self._session.close()

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call until there is a definite answer."""
        client = str(IPv4Address(0x0A000000 + self._chance.randrange(2**24)))
        sent = {"Accept": "application/json", "X-Forwarded-For": client, **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        tries, unclear, pause = 0, False, 0.2
        while True:
            tries += 1
            self._ledger.calls += 1
            wait = 0.0
            try:
                url = self._chance.choice(self._urls[service]) + path
                async with self._session.request(method, url, json=json, headers=sent, allow_redirects=False) as answer:
                    body = await answer.read()
                    if answer.status not in (429, 500, 503):
                        return Answer(answer.status, _json(body), tries, unclear)
                    if answer.status == 503 and "Retry-After" not in answer.headers:
                        self._ledger.surprises.append(f"503 without Retry-After: {method} {_template(path)}")
                    if answer.status == 500:
                        self._ledger.surprises.append(f"500: {method} {_template(path)} {body[:200]!r}")
                    wait = float(answer.headers.get("Retry-After", 0))
            except _CUT_OFF:
                pass
            # Whoever was cut off, or told to try again, cannot know what was carried out.
            unclear = True
            self._ledger.retried += 1
            await asyncio.sleep(max(wait, pause) * self._chance.uniform(0.7, 1.3))
            pause = min(pause * 2, _LONGEST_PAUSE)


class Publisher:
    """Publishes until the broker has confirmed."""

    def __init__(self, url: str, ledger: Ledger) -> None:
        self._url = url
        self._ledger = ledger
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        await self._drop()

    async def publish(self, key: str, body: bytes | Mapping[str, Any]) -> None:
        """Return once it is confirmed."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        message = aio_pika.Message(raw, content_type=STRUCTURED, delivery_mode=2)
        while True:
            exchange = None
            try:
                exchange = await self._connected()
                async with nobody_cancelled(), asyncio.timeout(10):
                    await exchange.publish(message, routing_key=key, mandatory=True)
            except _BUS_AWAY:
                self._ledger.retried += 1
                if exchange is self._exchange:  # not the one that somebody else has made since
                    await self._drop()
                await asyncio.sleep(0.5)
            else:
                self._ledger.published += 1
                return

    async def _connected(self) -> AbstractExchange:
        async with self._connecting:
            if self._exchange is None:
                async with asyncio.timeout(8):
                    self._connection = await aio_pika.connect(self._url, timeout=6, heartbeat=5)
                    channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                    self._exchange = await channel.get_exchange(topology.EXCHANGE, ensure=False)
            return self._exchange

    async def _drop(self) -> None:
        connection, self._connection, self._exchange = self._connection, None, None
        if connection is not None:
            try:
                async with asyncio.timeout(2):
                    await connection.close()
            except _BUS_AWAY:
                pass


def _json(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def _template(path: str) -> str:
    """A path for the report, without the link's token."""
    return "/i/…/" + path.rpartition("/")[2] if path.startswith("/i/") else path
