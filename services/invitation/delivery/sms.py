"""Text messages: a channel like e-mail, over whichever gateway the settings name."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from convive_kit import tracing
from convive_kit.addresses import BadSender, can_receive_sms, clean_sms_sender, country_of
from convive_kit.errors import Retry
from convive_kit.rate_limit import Limiter
from invitation.delivery.channels import Accepted, NotYet, RefusedForGood
from invitation.delivery.segments import segments
from invitation.delivery.text import sms_text
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.links import Link, Links, References, Send
from invitation.store.protocol import Names, Store

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Text:
    """One message as it is handed to a gateway. `to` is E.164; every attempt of one send has the same `reference`."""

    to: str = field(repr=False)
    sender: str
    body: str = field(repr=False)
    reference: str


class Gateway(Protocol):
    """A provider of text messages."""

    async def send(self, text: Text) -> str:
        """Hand one message in; returns the provider's id of it. Raises a `NotTaken`, whose reason holds no number."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What keeps others from sending at the firms' expense: ISO 3166 countries, and messages within 24 hours."""

    countries: Collection[str]
    per_number: int
    per_firm: int


class SmsChannel:
    """Sends an invitation's link by SMS."""

    def __init__(
        self,
        gateway: Gateway,
        links: Links,
        references: References,
        store: Store,
        limiter: Limiter,
        bounds: Bounds,
        *,
        sender: str,
    ) -> None:
        """`sender` is shown where the firm has none of its own."""
        self._gateway = gateway
        self._links = links
        self._references = references
        self._store = store
        self._limiter = limiter
        self._bounds = bounds
        self._sender = sender

    async def send(self, invitation: Invitation, now: datetime) -> Accepted:
        """See `Channel.send`. Raises `NotYet` when the firm has sent all it may within a day."""
        invitee = invitation.invitee
        if invitee is None or invitation.expires_at is None:
            raise RefusedForGood("there is nobody to write to")
        number = invitee.phone
        if number is None or not can_receive_sms(number):
            raise RefusedForGood("not_a_mobile")
        if country_of(number) not in self._bounds.countries:
            raise RefusedForGood("country_not_allowed")
        names = await self._store.names(invitee)
        link = self._links.url(Link(invitation.id, invitation.link_sequence))
        text = Text(
            to=number,
            sender=self._sender_of(names),
            body=sms_text(invitee, names, invitation, link),
            reference=self._references.of(Send(invitation.id, invitation.send_sequence)),
        )
        async with self._counted(number, invitee.cabinet_id, now):
            with tracing.step("sms", "client"):
                id = await self._gateway.send(text)
        return Accepted({"provider_id": id, "segments": str(segments(text.body).segments)})

    async def close(self) -> None:
        """See `Channel.close`."""
        await self._gateway.close()

    def _sender_of(self, names: Names) -> str:
        try:
            return clean_sms_sender(names.sms_sender or self._sender)
        except BadSender:  # told by a publisher who knows less of operators than the directory
            return self._sender

    @asynccontextmanager
    async def _counted(self, number: str, cabinet_id: str, now: datetime) -> AsyncGenerator[None]:
        """Counts a message before it goes out, so that none slips through beside another; one that did not go out is
        taken back. A crash in between leaves it counted."""
        to_number = ("sms to a number", number, f"{self._bounds.per_number}/day")
        of_firm = ("sms of a firm", cabinet_id, f"{self._bounds.per_firm}/day")
        counted: list[tuple[str, str, str]] = []
        try:
            for count in (to_number, of_firm):
                wait = await self._limiter.hit(*count)
                counted.append(count)
                if wait and count is to_number:
                    raise RefusedForGood("too_many_to_number")
                if wait:
                    log.warning("sms.firm_at_its_limit", cabinet=cabinet_id)
                    raise NotYet("the firm has sent all it may within a day", until=now + timedelta(seconds=wait))
            yield
        except BaseException:
            for count in counted:
                try:
                    await self._limiter.take_back(*count)
                except Retry as away:
                    log.warning("sms.still_counted", cause=away.slug)
            raise
