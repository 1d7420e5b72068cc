"""A mail server inside the test, for what the inbox cannot do: wait for a word, keep what it never confirms."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any, cast

from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.addresses import LOOPBACK, free_port

Answering = Callable[["Taken", SMTP], Awaitable[str]]


class Taken:
    """One message as it came in, whether or not it was confirmed."""

    def __init__(self, to: str, content: bytes) -> None:
        self.to = to
        self.message = cast("EmailMessage", email.message_from_bytes(content, policy=email.policy.default))

    @property
    def message_id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def text(self) -> str:
        body = self.message.get_body(("plain",))
        assert body is not None
        return str(body.get_content())

    @property
    def link(self) -> str:
        return next(word for word in self.text.split() if "/i/" in word)


async def confirm(_: Taken, __: SMTP) -> str:
    return "250 2.0.0 taken"


async def cut(_: Taken, server: SMTP) -> str:
    """End the connection with the message in hand and no answer given."""
    assert server.transport is not None
    cast("asyncio.Transport", server.transport).abort()
    return "451 4.3.0 nobody hears this"


class MailServer:
    """Listens while open; `answer` decides what follows each message."""

    def __init__(self) -> None:
        self.port = free_port()
        self.answer: Answering = confirm
        self.taken: list[Taken] = []
        self._server: asyncio.Server | None = None
        self._connections: list[SMTP] = []

    def to(self, address: str) -> list[Taken]:
        return [taken for taken in self.taken if taken.to == address]

    async def open(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(self._connection, LOOPBACK, self.port)

    async def close(self) -> None:
        """Be away: refuse connections and end those there are."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            if connection.transport is not None:
                cast("asyncio.Transport", connection.transport).abort()
        self._connections.clear()

    def _connection(self) -> SMTP:
        connection = SMTP(self, enable_SMTPUTF8=True, hostname="mail.test")
        self._connections.append(connection)
        return connection

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content: Any = envelope.content
        taken = Taken(envelope.rcpt_tos[0], content)
        self.taken.append(taken)
        return await self.answer(taken, server)


@asynccontextmanager
async def mail_server() -> AsyncGenerator[MailServer]:
    server = MailServer()
    await server.open()
    try:
        yield server
    finally:
        await server.close()
