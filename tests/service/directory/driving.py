"""Drives a running directory over HTTP and the bus, as its callers do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import uuid4

import aio_pika
import aiohttp
from pydantic import SecretStr

from convive_contracts import DIRECTORY_SOURCE, INVITATION_SOURCE, Event, invitation_id, new_event, parse_event
from convive_contracts.envelope import STRUCTURED
from convive_contracts.topology import EXCHANGE
from convive_kit.mongo import Database

ADMIN = "the-administration-token"
SERVICE = "the-token-of-the-two-services"
PASSWORD = "correct horse battery staple"

Value = TypeVar("Value")


async def eventually(look: Callable[[], Awaitable[Value | None]], within: float = 10) -> Value:
    """What `look` returns as soon as it is something."""
    async with asyncio.timeout(within):
        while not (found := await look()):
            await asyncio.sleep(0.02)
    return found


@dataclass(frozen=True)
class Answer:
    status: int
    json: Any
    text: str
    headers: Any

    def ok(self, status: int = 200) -> Any:
        assert self.status == status, f"{self.status}: {self.text}"
        return self.json


@dataclass(frozen=True)
class Firm:
    """A cabinet that calls the directory with its key."""

    id: str
    key: str
    driver: Driver

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return await self.driver.call(method, path, body, self.key, **headers)

    async def dossier(self, *members: dict[str, Any], name: str = "Boulangerie Martin") -> dict[str, Any]:
        return (await self.call("POST", "/v1/dossiers", {"name": name, "members": list(members)})).ok(201)


@dataclass
class Driver:
    url: str
    http: aiohttp.ClientSession
    database: Database
    amqp_url: str
    heard: list[Event] = field(default_factory=list[Event])

    async def call(self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str) -> Answer:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with self.http.request(
            method,
            self.url + path,
            json=body,
            headers={k.replace("_", "-"): v for k, v in headers.items()},
            allow_redirects=False,
        ) as response:
            text = await response.text()
            parsed = await response.json() if response.content_type.endswith("json") else None
            return Answer(response.status, parsed, text, response.headers)

    async def firm(self, name: str = "Cabinet Léger") -> Firm:
        made = (await self.call("POST", "/v1/cabinets", {"name": name}, ADMIN)).ok(201)
        return Firm(made["id"], made["api_key"], self)

    async def staff(self, firm: Firm, email: str | None = None, password: str = PASSWORD) -> str:
        """Somebody who works for that firm, signed in; the session's token."""
        email = email or new_email("anne")
        body = {**names(email), "password": password}
        (await self.call("POST", f"/v1/cabinets/{firm.id}/staff", body, ADMIN)).ok(201)
        return (await self.sign_in(email, password)).ok(201)["token"]

    async def redeem(self, member: dict[str, Any], password: str | None = PASSWORD, **fields: Any) -> Answer:
        """What the invitation service calls when somebody uses a link."""
        body = redemption(member, **fields)
        return await self.call(
            "POST", "/internal/v1/redemptions", body | ({"password": password} if password else {}), SERVICE
        )

    async def enter(self, member: dict[str, Any], password: str | None = PASSWORD, **fields: Any) -> str:
        """Redeem and sign in; the session's token."""
        code = (await self.redeem(member, password, **fields)).ok()["handoff_code"]
        return (await self.call("POST", "/v1/sessions", {"code": code})).ok(201)["token"]

    async def sign_in(self, email: str, password: str = PASSWORD) -> Answer:
        return await self.call("POST", "/v1/sessions", {"email": email, "password": password})

    async def publish(self, key: str, body: bytes, content_type: str | None = STRUCTURED) -> None:
        async with await aio_pika.connect(self.amqp_url) as connection:
            exchange = await (await connection.channel()).get_exchange(EXCHANGE)
            await exchange.publish(aio_pika.Message(body, content_type=content_type), routing_key=key)

    async def tell(self, member: dict[str, Any], state: str, version: int, source: str = INVITATION_SOURCE) -> None:
        """Publish what the invitation service would say of that member."""
        event = new_event(
            f"invitation.{state}",
            source=source,
            subject=member["id"],
            data={
                "invitation_id": invitation_id(DIRECTORY_SOURCE, member["id"]),
                "member_id": member["id"],
                "dossier_id": member.get("dossier_id", str(uuid4())),
                "cabinet_id": str(uuid4()),
                "state": state,
                "version": version,
                "channel": "email",
                "link_sequence": 1,
                "send_sequence": 1,
            },
        )
        await self.publish(f"invitation.{state}", event.to_structured())

    async def hears(self, type: str, subject: str | None = None, count: int = 1) -> list[Event]:
        """Events of that short type the directory has published, as soon as there are that many."""

        async def look() -> list[Event] | None:
            found = [e for e in self.heard if e.short_type == type and subject in (None, e.subject)]
            return found if len(found) >= count else None

        return await eventually(look)

    async def listen(self, queue: aio_pika.abc.AbstractQueue) -> None:
        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            event = parse_event(message.body, content_type=message.content_type, headers=message.headers)
            if event.source == DIRECTORY_SOURCE:
                self.heard.append(event)

        await queue.consume(take, no_ack=True)


def new_email(name: str = "jeanne") -> str:
    return f"{name}.{uuid4().hex[:8]}@example.com"


def names(email: str) -> dict[str, str]:
    """A colleague, as they are posted."""
    return {"email": email, "first_name": "Anne", "last_name": "Léger"}


def person(email: str | None = None, **fields: Any) -> dict[str, Any]:
    """A new member, as they are posted."""
    email = email or new_email()
    return {"first_name": "Jeanne", "last_name": "Martin", "email": email, **fields}


def redemption(member: dict[str, Any], **fields: Any) -> dict[str, Any]:
    source = fields.get("source", DIRECTORY_SOURCE)
    return {
        "invitation_id": invitation_id(source, member["id"]),
        "link_sequence": 1,
        "source": source,
        "member": member,
        "dossier": {"id": member.get("dossier_id", str(uuid4())), "name": "Boulangerie Martin"},
        "cabinet": {"id": str(uuid4()), "name": "Cabinet Léger"},
        "channel": "email",
        **fields,
    }


def nonce(code: str) -> str:
    """The cookie that the invitation service sets beside the code."""
    return hmac.new(SERVICE.encode(), f"handoff:{code}".encode(), hashlib.sha256).hexdigest()


def environment(amqp_url: str, mongo_url: str, database: str) -> dict[str, Any]:
    """Settings of a directory on free ports."""
    return {
        "amqp_url": SecretStr(amqp_url),
        "mongo_url": SecretStr(mongo_url),
        "directory_host": "127.0.0.1",
        "directory_port": 0,
        "directory_database": database,
        "admin_token": SecretStr(ADMIN),
        "service_token": SecretStr(SERVICE),
    }
