"""A mail server in place of the pool of SMTP connections: it takes mail, and loses its answer, refuses, hangs or is
away when told to."""

from __future__ import annotations

import asyncio
import re
from contextvars import ContextVar
from datetime import datetime
from typing import Any, cast

from invitation.delivery.channels import Accepted, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.email import EmailChannel, SmtpPool
from invitation.delivery.mail import MailRenderer
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.links import Links
from invitation.store.protocol import Store
from tests.model.virtual_loop import OWNER, Owner
from tests.model.world import POLICY, SLOTS, Mail, World

MAIL_FROM = "noreply@convive.example"
RENDERER = MailRenderer(MAIL_FROM)
LINKS = Links(["a-key-of-the-model-long-enough"], base_url="https://invitation.example")

_ATTEMPT: ContextVar[Invitation] = ContextVar("attempt")
_MESSAGE_ID = re.compile(rb"Message-ID: <([^>]+)\.(\d+)@")
_LINK = re.compile(rb"/i/([\w.-]+)")


class MailServer:
    """Looks like `SmtpPool` to the real e-mail channel."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def send(self, sender: str, recipient: str, message: bytes) -> str:
        world = self._world
        mode = world.next_mail.pop(0) if world.next_mail else world.mail_mode
        await world.point("smtp:before")
        match mode:
            case "away":
                await asyncio.sleep(world.delay())
                raise ProviderAway("no connection")
            case "later":
                await asyncio.sleep(world.delay())
                raise RefusedForNow("451 try again")
            case "never":
                await asyncio.sleep(world.delay())
                raise RefusedForGood("550 no such user")
            case "hang":
                await world.forever()
            case _:
                pass
        mail = _mail(recipient, message, _ATTEMPT.get(), cast("Owner", OWNER.get()), world.now())

        async def take() -> None:
            mail.taken_at = world.now()
            mail.answer_lost = mail.answer_lost or mode in ("lost", "hang_after")
            world.took(mail)

        try:
            await world.remote(take)
        except asyncio.CancelledError:
            mail.answer_lost = True  # it came after the attempt's deadline
            raise
        if mode == "hang_after":
            await world.forever()
        if mode == "lost":
            raise RefusedForNow("the connection was lost while handing the mail in")
        await world.point("smtp:after")
        return "250 queued"

    async def close(self) -> None: ...


class WatchedChannel:
    """The real e-mail channel, and a look at how many messages are on their way at once."""

    def __init__(self, world: World, store: Store) -> None:
        self._world = world
        self._channel = EmailChannel(
            cast("SmtpPool", MailServer(world)), RENDERER, LINKS, store, returned_to=lambda _: MAIL_FROM
        )
        self._sending = 0

    async def send(self, invitation: Invitation, now: datetime) -> Accepted:
        _ATTEMPT.set(invitation)
        self._sending += 1
        if self._sending > SLOTS:
            self._world.violations.append(f"{self._sending} messages at once in {SLOTS} slots")
        if invitation.lease is None:
            self._world.violations.append(f"{invitation.id} is sent without a lease")
        try:
            return await self._channel.send(invitation, now)
        finally:
            self._sending -= 1

    async def close(self) -> None: ...


def _mail(recipient: str, message: bytes, attempt: Invitation, owner: Owner, now: datetime) -> Mail:
    unfolded = message.replace(b"=\r\n", b"")
    ids = cast("Any", _MESSAGE_ID.search(message))
    tokens = {token.decode() for token in _LINK.findall(unfolded)}
    assert len(tokens) == 1, tokens
    token = tokens.pop()
    link = LINKS.read(token)
    assert link is not None
    assert link.invitation_id == attempt.id
    claimed = attempt.lease.until - POLICY.lease if attempt.lease else now
    return Mail(
        message_id=f"{ids[1].decode()}.{ids[2].decode()}",
        invitation_id=ids[1].decode(),
        send=int(ids[2]),
        link=token,
        link_sequence=link.link_sequence,
        to=recipient,
        taken_at=now,
        claimed_at=claimed,
        sender=owner,
        body=message,
    )
