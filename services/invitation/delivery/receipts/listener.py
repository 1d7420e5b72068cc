"""Where bounces come in: an SMTP (RFC 5321) or LMTP (RFC 2033) server that takes mail for our return addresses alone.

A return address names its send and carries a MAC (VERP, signed), so whoever was not written to cannot make a bounce up,
and a wrong address is refused without a call to the database. A mail is answered with 250 once what it says is
committed; in an outage with 451, so that the mail server before this one keeps it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, cast

import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

from convive_kit.errors import Retry
from invitation.delivery.receipts.notices import read
from invitation.delivery.receipts.recording import Receipts
from invitation.lifecycle.links import References, Send
from invitation.lifecycle.records import Receipt

log = structlog.stdlib.get_logger(__name__)

LARGEST = 1024 * 1024
"""Octets of a mail. A notification returns at most the mail it is about."""
_MOST_CONNECTIONS = 32
_MOST_OF_A_COMMAND = 200
_SILENCE = 60.0
_COMMIT_WITHIN = 20.0
_LONGEST_LINE = 64 * 1024
_PREFIX = "bounce-"


def return_address(references: References, send: Send, domain: str) -> str:
    """The envelope sender of a send: what cannot be delivered comes back to it. Its local part has 54 of the 64
    characters that one may have (RFC 5321 4.5.3.1.1)."""
    return f"{_PREFIX}{references.of(send)}@{domain}"


class BounceListener:
    """Listens between `open` and `close`."""

    def __init__(self, receipts: Receipts, place: tuple[str, str, int], *, domain: str) -> None:
        """`place`: `lmtp` or `smtp`, host, port."""
        self._receipts = receipts
        self._protocol, self._host, self._port = place
        self._domain = domain.lower()
        self._server: asyncio.Server | None = None
        self._conversations: set[_Conversation] = set()

    async def open(self) -> int:
        """Start to listen; returns the port."""
        # The library writes down what others say to it, addresses included.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        # Several processes on one machine share the port.
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._answer, self._host, self._port, reuse_port=True)
        port = int(self._server.sockets[0].getsockname()[1])
        log.info("bounces.listening", protocol=self._protocol, port=port)
        return port

    async def close(self) -> None:
        """Hang up on everybody: what was not answered with 250 comes again."""
        if self._server is not None:
            self._server.close()
        for conversation in [*self._conversations]:
            if conversation.transport is not None:
                cast("asyncio.Transport", conversation.transport).abort()

    def _answer(self) -> asyncio.BaseProtocol:
        if len(self._conversations) >= _MOST_CONNECTIONS:
            return _Busy()
        kind = _Lmtp if self._protocol == "lmtp" else _Conversation
        return kind(
            self,
            self._conversations,
            data_size_limit=LARGEST,
            enable_SMTPUTF8=True,
            hostname=self._domain,
            ident="Convive takes bounces",
            timeout=_SILENCE,
            command_call_limit=_MOST_OF_A_COMMAND,
            loop=asyncio.get_running_loop(),
        )

    def _send_of(self, address: str) -> Send | None:
        local, _, domain = address.lower().rpartition("@")
        if domain != self._domain or not local.startswith(_PREFIX):
            return None
        return self._receipts.send_of(local.removeprefix(_PREFIX))

    # --- what aiosmtpd asks -----------------------------------------------------------------------------------------

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._send_of(address) is None:
            return "550 5.1.1 No such return address"
        if envelope.rcpt_tos:  # LMTP answers for each recipient; one is all that a bounce has
            return "452 4.5.3 One recipient at a time"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        send = self._send_of(envelope.rcpt_tos[0])
        content = envelope.original_content or b""
        notice = read(content, no_sender=not envelope.mail_from)
        if send is None or notice is None:
            log.info("bounces.nothing_said", octets=len(content))
            return "250 2.0.0 Taken, and nothing to be done"
        said = {"status": notice.status or "", "reply": notice.said}
        detail = {name: text for name, text in said.items() if text}
        receipt = Receipt(notice.outcome, send.send_sequence, notice.reason, detail)
        try:
            async with asyncio.timeout(_COMMIT_WITHIN):
                # One send has one such outcome, however many mails tell of it.
                await self._receipts.record(send, receipt, by="email", id=str(send.send_sequence))
        except (Retry, TimeoutError) as away:
            log.warning("bounces.come_again", cause=away.slug if isinstance(away, Retry) else "timeout")
            return "451 4.3.0 Not at the moment, try again later"
        return "250 2.0.0 Taken"

    async def handle_exception(self, error: Exception) -> str:
        log.error("bounces.failed", exc_info=error)
        return "451 4.3.0 Something went wrong here, try again later"


class _Conversation(SMTP):
    # A long line is no reason to lose a bounce.
    line_length_limit = _LONGEST_LINE

    def __init__(self, handler: BounceListener, others: set[_Conversation], **settings: Any) -> None:
        super().__init__(handler, **settings)
        self._others = others
        others.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._others.discard(self)
        super().connection_lost(error)


class _Lmtp(_Conversation, LMTP):
    pass


class _Busy(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = cast("asyncio.Transport", transport)
        wire.write(b"421 4.3.2 Too many connections, try again later\r\n")
        wire.close()
