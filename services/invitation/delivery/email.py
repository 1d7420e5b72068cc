"""E-mail over SMTP (RFC 5321): a pool of connections that are kept alive, and the replies read for what they mean."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import aiosmtplib
import structlog
from aiosmtplib import SMTPException, SMTPHeloError

from convive_kit import tracing
from convive_kit.smtp import SmtpServer
from invitation.delivery.channels import Accepted, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.dialogue import Dialogue, Disconnected, Refused, Reply
from invitation.delivery.headers import UnusableAddress
from invitation.delivery.mail import Letter, MailRenderer
from invitation.delivery.receipts.reasons import shown, why
from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.lifecycle.links import Link, Links, Send
from invitation.store.protocol import Names, Store

log = structlog.stdlib.get_logger(__name__)

_IDLE_FOR = 30.0
"""Seconds after which an unused connection is closed; servers drop them after a few minutes (RFC 5321 4.5.3.2.7)."""
_MAILS_PER_CONNECTION = 1000


@dataclass(slots=True)
class _Connection:
    # The client made the connection and must live as long as it; the dialogue has taken it over.
    client: aiosmtplib.SMTP
    dialogue: Dialogue
    idle_since: float = 0.0
    mails: int = 0


class SmtpPool:
    """Connections that are used again, the last used first, so that few stay open when little is sent."""

    def __init__(self, server: SmtpServer) -> None:
        self._server = server
        self._trusted = server.trusted()
        self._idle: list[_Connection] = []

    async def send(self, sender: str, recipient: str, message: bytes) -> str:
        """Hand one message in; returns the server's reply. Raises a `NotTaken`."""
        while True:
            connection = self._reusable() or await self._connect()
            try:
                return await self._hand_in(connection, sender, recipient, message)
            except Disconnected as error:
                connection.dialogue.close()
                if connection.mails and not connection.dialogue.message_began:
                    continue  # it was closed while it was idle, and nothing of this message was sent: no attempt yet
                # Perhaps it has the mail, nobody can know: the next attempt carries the same Message-ID.
                raise RefusedForNow("the connection was lost while handing the mail in") from error

    async def trouble(self) -> str | None:
        """Connect as for a mail, TLS and sign-in included, and hang up; returns why that cannot be done."""
        try:
            (await self._connect()).dialogue.close()
        except ProviderAway as away:
            return str(away)
        return None

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.dialogue.close()

    async def _hand_in(self, connection: _Connection, sender: str, recipient: str, message: bytes) -> str:
        options = " BODY=8BITMIME" if connection.client.supports_extension("8bitmime") else ""
        if not recipient.isascii():
            if not connection.client.supports_extension("smtputf8"):
                self._keep(connection)
                raise RefusedForGood("the mail server does not take addresses with accents (SMTPUTF8)")
            options += " SMTPUTF8"
        try:
            reply = await connection.dialogue.hand_in(sender, recipient, message, options=options)
        except Refused as refused:
            code, said = refused.reply.code, _said(refused.reply, recipient)
            if code == 421:  # it closes the channel (RFC 5321 3.8)
                connection.dialogue.close()
                raise ProviderAway(said) from refused
            self._keep(connection)
            if refused.command == "MAIL":
                raise ProviderAway(f"the mail server refuses us: {said}") from refused
            if 500 <= code < 600:
                raise RefusedForGood(why(said), said=said) from refused
            raise RefusedForNow(said) from refused
        except Disconnected:
            raise
        except BaseException:
            connection.dialogue.close()  # cut in the middle of a dialogue: of no more use to anybody
            raise
        self._keep(connection)
        return reply.text

    def _reusable(self) -> _Connection | None:
        oldest = time.monotonic() - _IDLE_FOR
        while self._idle:
            connection = self._idle.pop()
            if (
                connection.idle_since >= oldest
                and connection.mails < _MAILS_PER_CONNECTION
                and connection.dialogue.is_usable
            ):
                return connection
            connection.dialogue.close()
        return None

    async def _connect(self) -> _Connection:
        client = self._server.client(self._trusted)
        try:
            await client.connect()
            if client.is_ehlo_or_helo_needed:  # it has asked already where it had to, to secure the connection
                try:
                    await client.ehlo()
                except SMTPHeloError:
                    await client.helo()
        except (SMTPException, OSError) as error:
            client.close()
            raise ProviderAway(f"no connection to the mail server: {type(error).__name__}") from error
        except BaseException:
            client.close()
            raise
        transport = cast("asyncio.Transport", client.transport)
        return _Connection(client, Dialogue(transport, pipelining=client.supports_extension("pipelining")))

    def _keep(self, connection: _Connection) -> None:
        connection.idle_since = time.monotonic()
        connection.mails += 1
        self._idle.append(connection)


class EmailChannel:
    """Sends an invitation's link by e-mail."""

    def __init__(
        self, pool: SmtpPool, renderer: MailRenderer, links: Links, store: Store, *, returned_to: Callable[[Send], str]
    ) -> None:
        """`returned_to`: the envelope sender of a send, where it comes back to when it cannot be delivered."""
        self._pool = pool
        self._renderer = renderer
        self._links = links
        self._store = store
        self._returned_to = returned_to

    async def send(self, invitation: Invitation, now: datetime) -> Accepted:
        """See `Channel.send`."""
        message, recipient = await self._compose(invitation, now)
        sender = self._returned_to(Send(invitation.id, invitation.send_sequence))
        with tracing.step("smtp", "client"):
            reply = await self._pool.send(sender, recipient, message)
        return Accepted({"reply": shown(reply, recipient)})

    async def close(self) -> None:
        """See `Channel.close`."""
        await self._pool.close()

    async def _compose(self, invitation: Invitation, now: datetime) -> tuple[bytes, str]:
        invitee = invitation.invitee
        if invitee is None or invitation.expires_at is None:
            raise RefusedForGood("there is nobody to write to")
        names = await self._store.names(invitee)
        letter = letter_to(invitee, names, invitation, self._links.url(Link(invitation.id, invitation.link_sequence)))
        try:
            return self._renderer.render(letter, now), invitee.email
        except UnusableAddress as error:
            raise RefusedForGood("the e-mail address is not usable") from error


def letter_to(invitee: Invitee, names: Names, invitation: Invitation, link: str) -> Letter:
    """What is written to the person with the current send. ValueError where there is no link to write of."""
    if invitation.expires_at is None:
        raise ValueError("there is no link")
    return Letter(
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
        link=link,
        expires_at=invitation.expires_at,
        time_zone=invitee.time_zone,
        invited_by=invitee.invited_by,
        reminder=invitation.occasion == "reminder",
        colour=names.colour,
        reply_to=names.reply_to,
    )


def _said(reply: Reply, recipient: str) -> str:
    return shown(f"{reply.code} {reply.text}", recipient)
