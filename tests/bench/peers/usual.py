"""What the peers have in common: what they read, store, say and publish. How they do it is each one's own.

The words and the layout of the mail are the product's, so that all send the same; so are collection and indexes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cache
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import mrml
from itsdangerous import URLSafeSerializer
from jinja2 import Environment, FileSystemLoader, Template
from pydantic import BaseModel, EmailStr, Field

from invitation.colours import CONVIVE
from invitation.delivery.mail import GREETING, OPENING, SENDER, SENT_BY, SUBJECT, TEMPLATES
from invitation.i18n import LOCALES, Locale, translations
from invitation.wording import CONTACT, CONTACT_BY_PHONE, OWN_EXPENSES, ROLES

FROM = "noreply@convive.example"
EXCHANGE, ROUTING_KEY = "convive.events", "invitation.sent"
EVENTS = "invitation.events"
CONTENT_TYPE = "application/cloudevents+json"
LINK_LIFE = timedelta(days=14)
SLOT = re.compile(r"\[\[(\w+)\]\]")


class Member(BaseModel):
    id: UUID
    first_name: str = Field(min_length=1, max_length=100)
    last_name: str = Field(min_length=1, max_length=100)
    employee_code: str | None = None
    email: EmailStr
    phone: str | None = None
    locale: str = "fr"
    time_zone: str = "Europe/Paris"
    role: Literal["expense_approver", "standard_user", "administrator"] = "standard_user"
    own_expense_reports: bool = False


class Dossier(BaseModel):
    id: UUID
    name: str = Field(min_length=1, max_length=100)
    external_ref: str | None = None


class Cabinet(BaseModel):
    id: UUID
    name: str = Field(min_length=1, max_length=100)
    phone: str | None = None


class UserCreatedData(BaseModel):
    member: Member
    dossier: Dossier
    cabinet: Cabinet
    invite_by: Literal["email", "sms", "none"] = "email"
    invited_by: str | None = None


class UserCreated(BaseModel):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    sequence: int | None = None
    correlationid: str | None = None
    data: UserCreatedData


class InvitationState(BaseModel):
    invitation_id: str
    member_id: str
    dossier_id: str
    cabinet_id: str
    state: str
    version: int
    channel: str
    link_sequence: int
    send_sequence: int
    expires_at: datetime
    reason: str | None = None


class InvitationSent(BaseModel):
    specversion: str = "1.0"
    id: str
    source: str = "/convive/invitation"
    type: str = "convive.invitation.sent.v1"
    subject: str
    time: datetime
    datacontenttype: str = "application/json"
    sequence: str
    correlationid: str | None = None
    data: InvitationState


# --- what is stored and published ---------------------------------------------------------------------------------


def invitation_id(event: UserCreated) -> str:
    return str(uuid5(uuid5(NAMESPACE_URL, event.source), event.subject))


def document(event: UserCreated, id: str, now: datetime) -> dict[str, Any]:
    """The invitation as it is inserted."""
    data = event.data
    return {
        "_id": id,
        "source": event.source,
        "created_at": now,
        "updated_at": now,
        "version": 1,
        "state": "pending",
        "channel": data.invite_by,
        "link_sequence": 1,
        "send_sequence": 1,
        "expires_at": now + LINK_LIFE,
        "due_at": now + timedelta(minutes=1),
        "announced": True,
        "member": data.member.model_dump(mode="json") | {"email_key": data.member.email.lower()},
        "dossier": data.dossier.model_dump(mode="json"),
        "cabinet": data.cabinet.model_dump(mode="json"),
        "history": [{"at": now, "trigger": "created", "to": "pending", "event_id": event.id}],
    }


def update(sent_at: datetime, expires_at: datetime) -> dict[str, Any]:
    """What makes a pending invitation a sent one."""
    return {
        "$set": {"state": "sent", "version": 2, "updated_at": sent_at, "due_at": expires_at},
        "$push": {"history": {"at": sent_at, "trigger": "accepted", "from": "pending", "to": "sent"}},
    }


def invitation_sent(event: UserCreated, id: str, sent_at: datetime, expires_at: datetime) -> InvitationSent:
    """The event that is published; its `id` is its message's too."""
    data = event.data
    return InvitationSent(
        id=f"{id}.2",
        subject=str(data.member.id),
        time=sent_at,
        sequence="2",
        correlationid=event.correlationid or str(uuid4()),
        data=InvitationState(
            invitation_id=id,
            member_id=str(data.member.id),
            dossier_id=str(data.dossier.id),
            cabinet_id=str(data.cabinet.id),
            state="sent",
            version=2,
            channel=data.invite_by,
            link_sequence=1,
            send_sequence=1,
            expires_at=expires_at,
        ),
    )


# --- the mail -----------------------------------------------------------------------------------------------------


def sentences(locale: Locale) -> dict[str, str]:
    """What stands in the slots of the mail, with `%(gaps)s` for the names."""
    say = translations(locale).gettext
    roles = {f"role_{role}": say(words.label) for role, words in ROLES.items()}
    may = {f"may_{role}": say(words.may) for role, words in ROLES.items()}
    return {
        "sender": say(SENDER),
        "subject": say(SUBJECT[False]),
        "greeting": say(GREETING),
        "opening": say(OPENING[False, False]),
        "opening_by": say(OPENING[False, True]),
        "own_expenses": say(OWN_EXPENSES),
        "contact": say(CONTACT),
        "contact_by_phone": say(CONTACT_BY_PHONE),
        "sent_by": say(SENT_BY[False]),
        **roles,
        **may,
    }


def layout(name: str, locale: Locale) -> str:
    """A part of the mail with `[[slots]]` for what differs from mail to mail."""
    source = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=False, trim_blocks=True)
    text = source.get_template(name).render(_=translations(locale).gettext, locale=locale)
    if name.endswith(".mjml"):
        options = mrml.RenderOptions(disable_comments=True, fonts={})
        text = mrml.to_html(text, render_options=options).content
    light, dark = CONVIVE.light, CONVIVE.dark
    shades = {
        "accent": light.fill,
        "on_accent": light.on_fill,
        "ink": light.text,
        "bright": dark.fill,
        "on_bright": dark.on_fill,
    }
    return SLOT.sub(lambda slot: shades.get(slot[1], slot[0]), text)


TEXT: Mapping[str, str] = {locale: layout("invitation.txt", locale) for locale in LOCALES}
HTML: Mapping[str, str] = {locale: layout("invitation.mjml", locale) for locale in LOCALES}
SENTENCES: Mapping[str, Mapping[str, str]] = {locale: sentences(locale) for locale in LOCALES}


def locale_of(event: UserCreated) -> str:
    return "en" if event.data.member.locale == "en" else "fr"


def words(event: UserCreated, id: str, expires_at: datetime) -> dict[str, str]:
    """What stands in the slots of one mail, and its sender and subject."""
    data, member, say = event.data, event.data.member, SENTENCES[locale_of(event)]
    names = {
        "first_name": member.first_name,
        "dossier": data.dossier.name,
        "cabinet": data.cabinet.name,
        "phone": data.cabinet.phone,
        "person": data.invited_by,
    }
    may = say[f"may_{member.role}"]
    return {
        "sender": say["sender"] % names,
        "subject": say["subject"] % names,
        "greeting": say["greeting"] % names,
        "opening": say["opening_by" if data.invited_by else "opening"] % names,
        "role": say[f"role_{member.role}"],
        "may": f"{may} {say['own_expenses']}" if member.own_expense_reports else may,
        "contact": say["contact_by_phone" if data.cabinet.phone else "contact"] % names,
        "sent_by": say["sent_by"] % names,
        "cabinet": data.cabinet.name,
        "link": f"{os.environ['CONVIVE_INVITATION_URL']}/i/{_links().dumps([id, 1])}",
        "until": f"{expires_at:%d/%m/%Y %H:%M}",
    }


@cache
def _links() -> URLSafeSerializer:
    return URLSafeSerializer(os.environ["CONVIVE_LINK_KEYS"].partition(",")[0], salt="link")


@cache
def _template(part: str, locale: str) -> Template:
    text = {"text": TEXT, "html": HTML}[part][locale]
    return Environment(autoescape=part == "html").from_string(SLOT.sub(r"{{ \1 }}", text))


def message(event: UserCreated, id: str, expires_at: datetime) -> EmailMessage:
    """The mail as it is usually made: two Jinja templates in an `EmailMessage`."""
    member, locale, said = event.data.member, locale_of(event), words(event, id, expires_at)
    mail = EmailMessage()
    mail["From"] = Address(said["sender"], addr_spec=FROM)
    mail["To"] = Address(f"{member.first_name} {member.last_name}", addr_spec=member.email)
    mail["Subject"] = said["subject"]
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{id}.1@convive.example>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(_template("text", locale).render(said))
    mail.add_alternative(_template("html", locale).render(said), subtype="html")
    # Making alternatives hands fields of this kind down to the first part.
    mail["Content-Language"] = locale
    return mail
