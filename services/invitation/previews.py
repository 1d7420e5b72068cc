"""What a firm's people would get, made as it is made for sending: for the firm to look at before it saves."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from convive_contracts import DIRECTORY_SOURCE
from convive_contracts.events import CabinetState, Name, Policies
from convive_kit.http import json_body
from convive_kit.routes import Route
from invitation.delivery.email import letter_to
from invitation.delivery.mail import MailRenderer, read_back
from invitation.delivery.segments import segments
from invitation.delivery.text import sms_text
from invitation.i18n import Locale
from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.lifecycle.links import Link, Links
from invitation.lifecycle.schedule import Policy
from invitation.pages import context as pages
from invitation.pages.render import PageRenderer
from invitation.store.protocol import Names

_NOBODY = str(UUID(int=0))
_SIGNS = re.compile(r"[A-Za-z0-9_-]")


class Sample(BaseModel):
    """A firm as it is or would be, and whom it would write to."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    cabinet: CabinetState
    dossier_name: Name
    first_name: Name
    last_name: Name
    locale: Locale
    reminder: bool = False


class MailPreview(BaseModel):
    sender: str
    reply_to: str | None
    subject: str
    text: str
    html: str


class TextPreview(BaseModel):
    sender: str | None
    text: str
    encoding: str
    characters: Annotated[int, Field(description="As networks count them: some take two.")]
    segments: Annotated[int, Field(description="Each is billed.")]


class Preview(BaseModel):
    mail: MailPreview
    page: Annotated[str, Field(description="HTML that loads nothing, without its script.")]
    sms: TextPreview


class Previews:
    def __init__(
        self, renderer: MailRenderer, pages: PageRenderer, links: Links, *, policy: Policy, now: Callable[[], datetime]
    ) -> None:
        self._renderer = renderer
        self._pages = pages
        url = links.url(Link(_NOBODY, 1))
        start, _, token = url.rpartition("/")
        # As long as a real one, which decides how many segments a text has, and leading nowhere.
        self._link = f"{start}/{_SIGNS.sub('x', token)}"
        self._policy = policy
        self._now = now

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/internal/v1/previews", self.preview, "What a firm's people would get", Sample,
                  response=Preview, auth="service"),
            Route("GET", "/internal/v1/policies", self.policies, "What holds where a firm has not chosen",
                  response=Policies, auth="service"),
        ]  # fmt: skip

    async def policies(self, _: web.Request) -> BaseModel:
        policy = self._policy
        return Policies(
            link_days=max(1, policy.link_life.days),
            reminder_days=tuple(after.days for after in policy.reminders),
            quiet_from=f"{policy.quiet.starts:%H:%M}",
            quiet_until=f"{policy.quiet.ends:%H:%M}",
        )

    async def preview(self, request: web.Request) -> BaseModel:
        sample, now = await json_body(request, Sample), self._now()
        invitee = _invitee(sample)
        names = Names.known(invitee, sample.cabinet.model_dump(), None)
        invitation = Invitation(
            id=_NOBODY,
            source=DIRECTORY_SOURCE,
            created_at=now,
            updated_at=now,
            invitee=invitee,
            link_sequence=1,
            send_sequence=1,
            occasion="reminder" if sample.reminder else "link",
            expires_at=now + self._policy.of(names.policies).link_life,
        )
        letter = letter_to(invitee, names, invitation, self._link)
        mail = read_back(self._renderer.render(letter, now))
        text = sms_text(invitee, names, invitation, self._link)
        counted = segments(text)
        return Preview(
            mail=MailPreview.model_validate(mail, from_attributes=True),
            page=self._pages.alone(_page(letter.expires_at, invitee, names), pages.Visit("/i/x", sample.locale)),
            sms=TextPreview(
                sender=names.sms_sender,
                text=text,
                encoding=counted.encoding,
                characters=counted.characters,
                segments=counted.segments,
            ),
        )


def _invitee(sample: Sample) -> Invitee:
    return Invitee(
        member_id=_NOBODY,
        first_name=sample.first_name,
        last_name=sample.last_name,
        email="jeanne.martin@example.com",
        email_key="jeanne.martin@example.com",
        dossier_id=_NOBODY,
        dossier_name=sample.dossier_name,
        cabinet_id=sample.cabinet.id,
        cabinet_name=sample.cabinet.name,
        locale=sample.locale,
    )


def _page(expires_at: datetime, invitee: Invitee, names: Names) -> pages.Page:
    guest = pages.Guest(
        first_name=invitee.first_name,
        last_name=invitee.last_name,
        email=invitee.email,
        role=invitee.role,
        own_expense_reports=False,
        expires_at=expires_at,
        time_zone=invitee.time_zone,
    )
    return pages.Invitation(pages.Firm(names.cabinet, names.dossier, names.cabinet_phone, colour=names.colour), guest)
