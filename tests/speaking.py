"""What tests say to the services and to the bus, and what they hear: calls, people, events."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any, TypeVar
from uuid import uuid4

import aio_pika
import aiohttp
import pytest
from yarl import URL

from convive_contracts.envelope import STRUCTURED, rfc3339
from convive_contracts.events import DIRECTORY_SOURCE, invitation_id

Value = TypeVar("Value")

FOREIGN_SOURCE = "/tests/payroll"
"""A publisher that is not the directory."""
PASSWORD = "trois chevaux dansent la nuit"
"""One that the policy takes."""
FIRST_NAME, LAST_NAME = "Jeannette", "Quatremaille"
"""Names that no log line contains by accident."""


async def until(
    condition: Callable[[], Awaitable[Value]], *, within: float = 15.0, what: str = "", every: float = 0.05
) -> Value:
    """Wait for a condition and return its first value that is true; fails with the last one after `within` seconds.
    `every`: seconds between looks."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while True:
        value = await condition()
        if value:
            return value
        if loop.time() > deadline:
            pytest.fail(f"not within {within:.0f} s: {what or condition}; last seen: {value!r}")
        await asyncio.sleep(every)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: Mapping[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def ok(self, status: int = 200) -> Any:
        """The JSON of an answer that must have this status."""
        assert self.status == status, f"{self.status}: {self.text[:1000]}"
        return self.json() if self.body else None


class Api:
    """Calls to one service. Each call is a client of its own: nothing is remembered from one to the next."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def call(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        data: bytes | None = None,
        token: str | None = None,
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        follow: bool = False,
        timeout: float = 30.0,
    ) -> Answer:
        """`path` may be a whole address, as in a mail. `form` is posted as a browser does; `data` goes as it is."""
        sent = {"Accept": accept, "X-Forwarded-For": new_client(), **(headers or {})}
        if token is not None:
            sent["Authorization"] = f"Bearer {token}"
        url = URL(path if path.startswith("http") else self.url + path, encoded=True)
        body: Any = data
        if form is not None:
            body = aiohttp.FormData(form, charset="utf-8")() if form else b""
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout), cookies=cookies, auto_decompress=True
        ) as session:
            async with session.request(
                method, url, json=json, data=body, headers=sent, allow_redirects=follow
            ) as response:
                found = {name: morsel.value for name, morsel in response.cookies.items()}
                return Answer(response.status, response.headers, await response.read(), found)

    async def page(self, path: str, **options: Any) -> Answer:
        """GET as a browser does."""
        return await self.call("GET", path, accept="text/html,application/xhtml+xml", **options)

    async def post_form(self, path: str, form: Mapping[str, str], **options: Any) -> Answer:
        """POST a form as a browser does."""
        return await self.call("POST", path, form=form, accept="text/html,application/xhtml+xml", **options)


@dataclass(frozen=True, slots=True)
class Cabinet:
    id: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Dossier:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member of the directory's, or of a foreign publisher's."""

    id: str
    email: str
    source: str = DIRECTORY_SOURCE

    @property
    def invitation_id(self) -> str:
        return invitation_id(self.source, self.id)


@dataclass(frozen=True, slots=True)
class Sms:
    """A text message that the inbox took."""

    to: str
    sender: str
    text: str
    link: str
    segments: int


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that the inbox took."""

    id: str
    to: str
    subject: str
    text: str
    html: str
    link: str
    source: str

    @property
    def token(self) -> str:
        return self.link.rpartition("/")[2]


def new_address(name: str = "jeannette") -> str:
    """An e-mail address that nobody else uses."""
    return f"{name}.{uuid4().hex[:12]}@example.com"


def new_phone() -> str:
    """A mobile number that nobody else uses, in E.164."""
    return f"+3361{secrets.randbelow(10**7):07}"


def new_client() -> str:
    """The network address of a caller that nobody else is."""
    return str(IPv4Address(int(IPv4Address("10.0.0.0")) + secrets.randbelow(2**24)))


def user_data(
    member_id: str,
    email: str,
    *,
    first_name: str = FIRST_NAME,
    last_name: str = LAST_NAME,
    cabinet: Mapping[str, Any] | None = None,
    dossier: Mapping[str, Any] | None = None,
    invite_by: str = "email",
    **member: Any,
) -> dict[str, Any]:
    """The data of a `user.created` or `user.updated`."""
    return {
        "member": {"id": member_id, "first_name": first_name, "last_name": last_name, "email": email, **member},
        "dossier": dict(dossier or {"id": str(uuid4()), "name": "Boulangerie Quenouille"}),
        "cabinet": dict(cabinet or {"id": str(uuid4()), "name": "Cabinet Vaugelas"}),
        "invite_by": invite_by,
    }


def removal_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data of the `user.removed` that belongs to a `user.created`."""
    return {name: {"id": data[name]["id"]} for name in ("member", "dossier", "cabinet")}


def cloud_event(
    short: str,
    subject: str,
    data: Any,
    *,
    source: str = FOREIGN_SOURCE,
    id: str | None = None,
    sequence: int | None = None,
    time: datetime | None = None,
    correlation_id: str | None = None,
) -> dict[str, Any]:
    """An event in structured mode, as a dict to be made wrong at will."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": id or str(uuid4()),
        "source": source,
        "type": f"convive.{short}.v1",
        "subject": subject,
        "datacontenttype": "application/json",
        "data": data,
    }
    if time is not None:
        event["time"] = rfc3339(time)
    if sequence is not None:
        event["sequence"] = str(sequence)
    if correlation_id is not None:
        event["correlationid"] = correlation_id
    return event


@dataclass
class Wire:
    """An open, confirmed channel to the bus."""

    channel: aio_pika.abc.AbstractChannel
    exchange: aio_pika.abc.AbstractExchange

    async def send(
        self,
        body: bytes | Mapping[str, Any],
        key: str,
        *,
        content_type: str | None = STRUCTURED,
        headers: Mapping[str, Any] | None = None,
    ) -> None:
        """Publish a body as it is, or an event made by `cloud_event`."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        message = aio_pika.Message(raw, content_type=content_type, headers=dict(headers or {}), delivery_mode=2)
        async with asyncio.timeout(20):
            await self.exchange.publish(message, routing_key=key, mandatory=True)


@dataclass
class Heard:
    """The events that went over the bus while it listened."""

    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def of(self, short: str, subject: str | None = None) -> list[dict[str, Any]]:
        full = f"convive.{short}.v1"
        return [e for e in self.events if e["type"] == full and subject in (None, e["subject"])]

    async def until(self, short: str, subject: str | None = None, *, count: int = 1, within: float = 15.0) -> Any:
        """The first of at least `count` such events."""

        async def enough() -> list[dict[str, Any]]:
            found = self.of(short, subject)
            return found if len(found) >= count else []

        return (await until(enough, within=within, what=f"{count} × {short} of {subject}"))[0]


def code_of(handoff: str) -> str:
    """The one-time code in the directory's handoff address."""
    return URL(handoff).query["code"]
