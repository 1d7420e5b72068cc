"""The mail server of a run: takes every mail, remembers it, and makes trouble on command."""

from __future__ import annotations

import asyncio
import base64
import random
import re
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from deploy.local.addresses import LOOPBACK
from tests.chaos.plan import Kind

UNWANTED = "nobody."
"""Addresses that begin with this are refused for good (550), at any time."""
_MESSAGE_ID = re.compile(rb"\r\nMessage-ID: <([0-9a-f-]{36})\.(\d+)@")
_TOKEN = re.compile(rb"/i/([\w.-]+)")
_CUT_RATE = 0.5


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that was taken, each copy for itself. `at` by the monotonic clock."""

    to: str
    invitation_id: str
    send_sequence: int
    link_sequence: int
    token: str
    at: float

    @property
    def message_id(self) -> tuple[str, int]:
        return self.invitation_id, self.send_sequence


class MailSink:
    """An SMTP server as far as a run needs one. `trouble` is what it does at present, None for taking everything."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(f"mail {seed}")
        self.mails: list[Mail] = []
        self.cut_after_data: list[tuple[str, int]] = []
        self.unreadable: list[bytes] = []
        self.trouble: Kind | None = None
        self.sessions: set[_Session] = set()
        self._to: dict[str, list[Mail]] = defaultdict(list)
        self._waiting: dict[str, list[asyncio.Future[None]]] = defaultdict(list)
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return self._server.sockets[0].getsockname()[1]

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Session(self), LOOPBACK, 0, backlog=256)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.make_trouble(Kind.NO_CONNECTIONS)

    def make_trouble(self, kind: Kind | None) -> None:
        """Behave so from now on. After a hang, some connections are cut and some go on where they were."""
        before, self.trouble = self.trouble, kind
        for session in list(self.sessions):
            if kind is Kind.NO_CONNECTIONS or (before is Kind.HANG and self.chance.random() < _CUT_RATE):
                session.abort()
            elif before is Kind.HANG:
                session.go_on()

    def to(self, address: str) -> Sequence[Mail]:
        """Every copy that came for an address so far."""
        return self._to.get(address, ())

    async def mail(self, address: str, wanted: Callable[[Mail], bool]) -> Mail:
        """The wanted mail with the newest link, once there is one."""
        while True:
            found = [mail for mail in self.to(address) if wanted(mail)]
            if found:
                return max(found, key=lambda mail: (mail.link_sequence, mail.send_sequence))
            arrival = asyncio.get_running_loop().create_future()
            self._waiting[address].append(arrival)
            await arrival

    def take(self, recipient: str, data: bytes) -> tuple[str, int]:
        """Keep a mail."""
        text = data.replace(b"\r\n..", b"\r\n.")
        id, token = _MESSAGE_ID.search(text), _TOKEN.search(text.replace(b"=\r\n", b""))
        if id is None or token is None:
            self.unreadable.append(data)
            return "", 0
        payload = token[1].partition(b".")[0]
        packed = base64.urlsafe_b64decode(payload + b"=" * (-len(payload) % 4))
        sequence = int.from_bytes(packed[16:])
        mail = Mail(recipient, id[1].decode(), int(id[2]), sequence, token[1].decode(), time.monotonic())
        self.mails.append(mail)
        self._to[recipient].append(mail)
        for arrival in self._waiting.pop(recipient, ()):
            if not arrival.done():
                arrival.set_result(None)
        return mail.message_id


class _Session(asyncio.Protocol):
    def __init__(self, sink: MailSink) -> None:
        self._sink = sink
        self._received = b""
        self._in_data = False
        self._late = False
        self._recipient = ""
        self._refused = b""
        # Servers differ in this, so every second connection is told of it.
        self._extensions = b"250-PIPELINING\r\n" if sink.chance.random() < 0.5 else b""

    def go_on(self) -> None:
        """Answer what has come while nothing was answered."""
        self._late = True
        self.data_received(b"")
        self._late = False

    def abort(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sink.sessions.add(self)
        if self._sink.trouble is Kind.NO_CONNECTIONS:
            self._transport.abort()
        else:
            self._transport.write(b"220 sink.example.com ESMTP\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        self._sink.sessions.discard(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._sink.trouble is Kind.HANG:
            return
        if self._in_data and self._sink.trouble is Kind.CLOSE_MID_DATA:
            self._transport.abort()
            return
        while not self._transport.is_closing():
            end = b"\r\n.\r\n" if self._in_data else b"\r\n"
            head, found, rest = self._received.partition(end)
            if not found:
                return
            self._received = rest
            if self._in_data:
                self._in_data = False
                self._end_of_data(head + b"\r\n")
            else:
                self._transport.write(self._answer(head))

    def _end_of_data(self, data: bytes) -> None:
        sink = self._sink
        message_id = sink.take(self._recipient, data)
        if self._late:
            # Whoever handed it in may have given up waiting for this answer, which is as if the connection were cut.
            sink.cut_after_data.append(message_id)
        if sink.trouble is Kind.CLOSE_AFTER_DATA and sink.chance.random() < _CUT_RATE:
            sink.cut_after_data.append(message_id)
            self._transport.abort()
        else:
            self._transport.write(b"250 2.0.0 Ok\r\n")

    def _answer(self, line: bytes) -> bytes:
        match line[:4].upper():
            case b"EHLO":
                return b"250-sink.example.com\r\n" + self._extensions + b"250 8BITMIME\r\n"
            case b"RCPT":
                self._refused = b""
                self._recipient = line.partition(b"<")[2].partition(b">")[0].decode()
                if self._recipient.startswith(UNWANTED):
                    self._refused = b"550 5.1.1 No such person\r\n"
                elif self._sink.trouble is Kind.REFUSE_FOR_NOW:
                    self._refused = b"451 4.3.0 Try again later\r\n"
                return self._refused or b"250 2.1.5 Ok\r\n"
            case b"DATA" if self._refused:
                return b"554 5.5.1 No valid recipients\r\n"
            case b"DATA":
                self._in_data = True
                return b"354 End data with <CR><LF>.<CR><LF>\r\n"
            case b"QUIT":
                self._transport.close()
                return b"221 2.0.0 Bye\r\n"
            case _:
                return b"250 2.0.0 Ok\r\n"
