"""An SMTP server that keeps every mail, or makes the trouble it was asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import aiosmtplib
from aiosmtpd.smtp import SMTP, Envelope, Session

from deploy.local.inbox.behaviour import Mode, Temper
from deploy.local.inbox.mailbox import Mail, Mailbox

_LARGEST = 25 * 1024 * 1024
# Longer than any client waits.
_FOR_EVER = 24 * 3600


class Handler:
    """Decides about each recipient, and keeps what was accepted."""

    def __init__(self, mailbox: Mailbox, temper: Temper, *, host: str, bounce_port: int) -> None:
        self._mailbox = mailbox
        self._temper = temper
        self._bounces_to = (host, bounce_port)
        self._returning: set[asyncio.Task[None]] = set()

    async def handle_RCPT(  # noqa: N802 - the name is aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        mode = self._temper.now.email.towards(address)
        if mode == "refuse_temporarily":
            return "451 4.3.0 Try again later"
        if mode == "refuse_permanently":
            return "550 5.1.1 No such mailbox"
        if mode in ("hang", "close_mid_data", "bounce"):
            _modes(envelope).append(mode)
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if "hang" in _modes(envelope):
            await asyncio.sleep(_FOR_EVER)
        if "bounce" in _modes(envelope):
            task = asyncio.create_task(self._send_back(envelope.mail_from or "", envelope.rcpt_tos[0]))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
            return "250 2.0.0 Taken, to be sent back"
        content = envelope.original_content or b""
        for address in envelope.rcpt_tos:
            self._mailbox.add(Mail(to=address, sender=envelope.mail_from or "", content=content))
        return "250 2.0.0 Kept in the local inbox"

    async def _send_back(self, sender: str, address: str) -> None:
        """Tell the envelope's sender, as a mail server does that took a mail it cannot deliver (RFC 3464)."""
        host, port = self._bounces_to
        said = f"550 5.1.1 <{address}>: Recipient address rejected: User unknown"
        if sender and port:
            mail = NOTIFICATION.format(sender=sender, address=address, said=said).encode()
            async with aiosmtplib.SMTP(hostname=host, port=port, start_tls=False, timeout=10) as client:
                await client.sendmail("", [sender], mail)


NOTIFICATION = """\
From: Mail Delivery System <MAILER-DAEMON@inbox.localhost>
To: {sender}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="=_inbox"

--=_inbox
Content-Type: text/plain; charset=utf-8

<{address}>: {said}

--=_inbox
Content-Type: message/delivery-status

Reporting-MTA: dns; inbox.localhost

Final-Recipient: rfc822; {address}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; {said}

--=_inbox--
"""


class MailServer(SMTP):
    """aiosmtpd's server, which can also hang up in the middle of a mail."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        if self.envelope is not None and "close_mid_data" in _modes(self.envelope):
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            if isinstance(self.transport, asyncio.WriteTransport):
                self.transport.abort()
            return
        await super().smtp_DATA(arg)


def _modes(envelope: Envelope) -> list[Mode]:
    """What was decided about this envelope's recipients."""
    modes: list[Mode] = envelope.__dict__.setdefault("modes", [])
    return modes


async def serve(mailbox: Mailbox, temper: Temper, *, host: str, port: int, bounce_port: int = 0) -> asyncio.Server:
    """Listen; the caller closes the server. What bounces goes to `bounce_port`, to nobody when that is 0."""

    def protocol() -> MailServer:
        settings: dict[str, Any] = {"enable_SMTPUTF8": True, "data_size_limit": _LARGEST, "ident": "Convive inbox"}
        return MailServer(
            Handler(mailbox, temper, host=host, bounce_port=bounce_port), hostname="inbox.localhost", **settings
        )

    return await asyncio.get_running_loop().create_server(protocol, host, port)
