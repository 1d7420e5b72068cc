"""E-mail over SMTP (RFC 5321): a pool of connections that are kept alive, and the replies read for what they mean."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import aiosmtplib
import structlog
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
    SMTPServerDisconnected,
)

from invitation.delivery.channels import Accepted, NotTaken, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.headers import UnusableAddress
from invitation.delivery.mail import Letter, MailRenderer
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.links import Link, Links
from invitation.store.protocol import Store

log = structlog.stdlib.get_logger(__name__)

Tls = Literal["never", "starttls", "starttls_if_offered", "implicit"]
_IDLE_FOR = 30.0
"""Seconds after which an unused connection is closed; servers drop them after a few minutes (RFC 5321 4.5.3.2.7)."""
_MAILS_PER_CONNECTION = 1000
_CONNECT_TIMEOUT = 10.0
_REPLY_SHOWN = 200


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail is handed in."""

    host: str
    port: int
    tls: Tls = "starttls_if_offered"
    username: str | None = None
    password: str | None = None


class SmtpPool:
    """Connections that are used again, the last used first, so that few stay open when little is sent."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._idle: list[tuple[float, int, aiosmtplib.SMTP]] = []

    async def send(self, sender: str, recipient: str, message: bytes) -> str:
        """Hand one message in; returns the server's reply. Raises a `NotTaken`."""
        connection, used = await self._connected()
        options = ["BODY=8BITMIME"] if connection.supports_extension("8bitmime") else []
        if not recipient.isascii():
            if not connection.supports_extension("smtputf8"):
                self._keep(connection, used)
                raise RefusedForGood("the mail server does not take addresses with accents (SMTPUTF8)")
            options.append("SMTPUTF8")
        try:
            _, reply = await connection.sendmail(sender, [recipient], message, mail_options=options)
        except (SMTPSenderRefused, SMTPAuthenticationError) as error:
            connection.close()
            raise ProviderAway(f"the mail server refuses us: {_shown(error.code, error.message, recipient)}") from error
        except SMTPRecipientsRefused as error:
            self._keep(connection, used + 1)
            refused = error.recipients[0]
            raise _refusal(refused.code, refused.message, recipient) from error
        except SMTPResponseException as error:
            connection.close()
            if error.code == 421:  # it closes the channel (RFC 5321 3.8)
                raise ProviderAway(_shown(error.code, error.message, recipient)) from error
            raise _refusal(error.code, error.message, recipient) from error
        except (SMTPServerDisconnected, OSError) as error:
            # Perhaps it has the mail, nobody can know: the next attempt carries the same Message-ID.
            connection.close()
            raise RefusedForNow("the connection was lost while handing the mail in") from error
        except SMTPException as error:
            connection.close()
            raise RefusedForNow(type(error).__name__) from error
        except BaseException:
            connection.close()  # cut in the middle of a dialogue: of no more use to anybody
            raise
        self._keep(connection, used + 1)
        return reply

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(self._quit(connection) for _, _, connection in idle))

    async def _connected(self) -> tuple[aiosmtplib.SMTP, int]:
        oldest_usable = time.monotonic() - _IDLE_FOR
        while self._idle:
            since, used, connection = self._idle.pop()
            if since >= oldest_usable and used < _MAILS_PER_CONNECTION and connection.is_connected:
                return connection, used
            connection.close()
        server = self._server
        connection = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            timeout=_CONNECT_TIMEOUT,
            use_tls=server.tls == "implicit",
            start_tls={"never": False, "implicit": False, "starttls": True, "starttls_if_offered": None}[server.tls],
            username=server.username,
            password=server.password,
            tls_context=None if server.tls == "never" else ssl.create_default_context(),
        )
        try:
            await connection.connect()
        except (SMTPException, OSError) as error:
            connection.close()
            raise ProviderAway(f"no connection to the mail server: {type(error).__name__}") from error
        except BaseException:
            connection.close()
            raise
        return connection, 0

    def _keep(self, connection: aiosmtplib.SMTP, used: int) -> None:
        self._idle.append((time.monotonic(), used, connection))

    @staticmethod
    async def _quit(connection: aiosmtplib.SMTP) -> None:
        with suppress(SMTPException, OSError, TimeoutError):
            await connection.quit(timeout=1)
        connection.close()


class EmailChannel:
    """Sends an invitation's link by e-mail."""

    def __init__(self, pool: SmtpPool, renderer: MailRenderer, links: Links, store: Store, *, mail_from: str) -> None:
        self._pool = pool
        self._renderer = renderer
        self._links = links
        self._store = store
        self._mail_from = mail_from

    async def send(self, invitation: Invitation, now: datetime) -> Accepted:
        """See `Channel.send`."""
        message, recipient = await self._compose(invitation, now)
        reply = await self._pool.send(self._mail_from, recipient, message)
        return Accepted({"reply": _without(reply, recipient)[:_REPLY_SHOWN]})

    async def close(self) -> None:
        """See `Channel.close`."""
        await self._pool.close()

    async def _compose(self, invitation: Invitation, now: datetime) -> tuple[bytes, str]:
        invitee = invitation.invitee
        if invitee is None or invitation.expires_at is None:
            raise RefusedForGood("there is nobody to write to")
        names = await self._store.names(invitee)
        letter = Letter(
            invitation_id=invitation.id,
            send_sequence=invitation.send_sequence,
            locale=invitee.locale,
            first_name=invitee.first_name,
            last_name=invitee.last_name,
            to=invitee.email,
            cabinet_name=names.cabinet,
            cabinet_phone=names.cabinet_phone,
            dossier_name=names.dossier,
            role=invitee.role,
            own_expense_reports=invitee.own_expense_reports,
            link=self._links.url(Link(invitation.id, invitation.link_sequence)),
            expires_at=invitation.expires_at,
            time_zone=invitee.time_zone,
            invited_by=invitee.invited_by,
        )
        try:
            return self._renderer.render(letter, now), invitee.email
        except UnusableAddress as error:
            raise RefusedForGood("the e-mail address is not usable") from error


def _refusal(code: int, message: str, recipient: str) -> NotTaken:
    kind = RefusedForGood if 500 <= code < 600 else RefusedForNow
    return kind(_shown(code, message, recipient))


def _shown(code: int, message: str, recipient: str) -> str:
    return f"{code} {_without(message, recipient)}"[:_REPLY_SHOWN]


def _without(reply: str, recipient: str) -> str:
    """Servers like to repeat the address; a reason is shown to more people than it is."""
    return " ".join(reply.replace(recipient, "…").split())
