"""One mail after another on an SMTP connection that stands (RFC 5321), pipelined where the server takes it (RFC 2920).

aiosmtplib connects, secures and signs in; then this takes the connection over. It waits once for the answers to three
commands instead of three times, and leaves the prepared bytes of a mail alone but for dot-stuffing.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass

_LONGEST_REPLY = 64 * 1024
# `bytes.replace` takes three times as long for a mail.
_LEADING_DOT = re.compile(rb"\r\n\.")


class Disconnected(Exception):
    """The server closed the connection, or said something that is no SMTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered to one command."""

    code: int
    text: str

    @property
    def is_positive(self) -> bool:
        return 200 <= self.code < 400


class Refused(Exception):
    """The server said no to a command: `MAIL`, `RCPT`, `DATA`, or the end of the message (`.`)."""

    def __init__(self, command: str, reply: Reply) -> None:
        super().__init__(f"{command}: {reply.code}")
        self.command = command
        self.reply = reply


class Dialogue(asyncio.Protocol):
    """Hands mails in, one at a time. Cancelled in the middle, or after `Disconnected`, it is of no more use."""

    def __init__(self, transport: asyncio.Transport, *, pipelining: bool) -> None:
        self._transport = transport
        self._pipelining = pipelining
        self._unread = b""
        self._lines: list[bytes] = []
        self._replies: list[Reply] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._lost = False
        self.message_began = False
        """Whether the server may have some of the current message."""
        transport.set_protocol(self)

    @property
    def is_usable(self) -> bool:
        """Whether the connection stands and the server has said nothing unasked, such as that it will close it."""
        return not (self._lost or self._transport.is_closing() or self._unread or self._replies)

    async def hand_in(self, mail_from: str, recipient: str, message: bytes, *, options: str = "") -> Reply:
        """Hand one message in; returns the reply to its end. `message` has CRLF line ends, the last included.

        Raises `Refused`, after which the next one may be handed in, or `Disconnected`.
        """
        self.message_began = False
        commands = [
            ("MAIL", f"MAIL FROM:<{mail_from}>{options}"),
            ("RCPT", f"RCPT TO:<{recipient}>"),
            ("DATA", "DATA"),
        ]
        if self._pipelining:
            replies = await self._ask("".join(f"{line}\r\n" for _, line in commands).encode(), len(commands))
            refused = [
                Refused(name, reply)
                for (name, _), reply in zip(commands, replies, strict=True)
                if not reply.is_positive
            ]
            if refused:
                if replies[-1].is_positive:  # it waits for a message nobody will get: an empty one ends that
                    await self._ask(b".\r\n", 1)
                raise await self._reset(refused[0])
        else:
            for name, line in commands:
                (reply,) = await self._ask(f"{line}\r\n".encode(), 1)
                if not reply.is_positive:
                    raise await self._reset(Refused(name, reply))
        self.message_began = True
        (end,) = await self._ask(_LEADING_DOT.sub(b"\r\n..", message) + b".\r\n", 1)
        if not end.is_positive:
            raise Refused(".", end)
        return end

    def close(self) -> None:
        """Say goodbye without waiting for an answer."""
        if not self._transport.is_closing():
            self._transport.write(b"QUIT\r\n")
            self._transport.close()

    async def _reset(self, refused: Refused) -> Refused:
        if refused.reply.code != 421:
            await self._ask(b"RSET\r\n", 1)
        return refused

    async def _ask(self, data: bytes, wanted: int) -> list[Reply]:
        if self._lost or self._transport.is_closing():
            raise Disconnected
        self._wanted = wanted
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        try:
            if len(self._replies) < wanted:
                await self._waiter
        finally:
            self._waiter = None
        replies, self._replies = self._replies[:wanted], self._replies[wanted:]
        return replies

    # --- asyncio.Protocol ------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Read replies; all but the last line of each have a hyphen behind the code (RFC 5321 4.2.1)."""
        *lines, self._unread = (self._unread + data).split(b"\r\n")
        for line in lines:
            self._lines.append(line[4:])
            if line[3:4] == b"-":
                continue
            if not line[:3].isdigit():
                return self._break()
            text = b"\n".join(self._lines).decode("utf-8", "replace")
            self._replies.append(Reply(int(line[:3]), text))
            self._lines = []
        if len(self._unread) + sum(map(len, self._lines)) > _LONGEST_REPLY:
            return self._break()
        if self._waiter is not None and len(self._replies) >= self._wanted and not self._waiter.done():
            self._waiter.set_result(None)
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        self._lost = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(Disconnected())

    def _break(self) -> None:
        self._transport.abort()
