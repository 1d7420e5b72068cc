"""The usual way: a FastStream subscriber that does each message from beginning to end, as its documentation shows.

`python -m tests.bench.peers.faststream_usual`, with the product's environment variables.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Literal
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import aiosmtplib
import mrml
import uvloop
from faststream import AckPolicy, FastStream, StreamMessage
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from itsdangerous import URLSafeSerializer
from jinja2 import Environment, FileSystemLoader, Template
from motor.motor_asyncio import AsyncIOMotorClient
from pydantic import BaseModel, EmailStr, Field
from pymongo.errors import DuplicateKeyError

from invitation.delivery.mail import TEMPLATES
from invitation.i18n import LOCALES, Locale, translations
from invitation.store.mongo import INDEXES, INVITATIONS

# The best of 10 messages over 4 connections, 32/8, 64/16, 128/32 and 256/32, on two cores.
MESSAGES_AT_A_TIME = int(os.environ.get("BENCH_PREFETCH", "128"))
SMTP_CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "32"))
LINK_LIFE = timedelta(days=14)


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


def template(name: str, locale: Locale) -> Template:
    """The product's own words and layout, so that both send the same mail, as an ordinary Jinja template."""
    source = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=False, trim_blocks=True)
    text = source.get_template(name).render(_=translations(locale).gettext, locale=locale)
    if name.endswith(".mjml"):
        text = mrml.to_html(text).content
    return Environment(autoescape=name.endswith(".mjml")).from_string(re.sub(r"\[\[(\w+)\]\]", r"{{ \1 }}", text))


TEXT: dict[str, Template] = {locale: template("invitation.txt", locale) for locale in LOCALES}
HTML: dict[str, Template] = {locale: template("invitation.mjml", locale) for locale in LOCALES}
links = URLSafeSerializer(os.environ["CONVIVE_LINK_KEYS"].partition(",")[0], salt="link")
client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(
    os.environ["CONVIVE_MONGO_URL"], w="majority", tz_aware=True
)
invitations = client[os.environ["CONVIVE_INVITATION_DATABASE"]][INVITATIONS]
connections: asyncio.Queue[aiosmtplib.SMTP] = asyncio.Queue()

broker = RabbitBroker(
    os.environ["CONVIVE_AMQP_URL"],
    default_channel=Channel(prefetch_count=MESSAGES_AT_A_TIME),
    # Failures alone, not a line when a message comes and another when it goes.
    logger=logging.getLogger("peer"),
    log_level=logging.DEBUG,
)
events = RabbitExchange("convive.events", type=ExchangeType.TOPIC, declare=False)


@asynccontextmanager
async def smtp():
    """One of the connections that are kept alive; a client of aiosmtplib sends one mail at a time."""
    connection = await connections.get()
    try:
        if not connection.is_connected:
            await connection.connect()
        yield connection
    finally:
        connections.put_nowait(connection)


def mail(event: UserCreated, invitation_id: str, expires_at: datetime) -> EmailMessage:
    data, member = event.data, event.data.member
    english = member.locale == "en"
    dossier, cabinet = data.dossier.name, data.cabinet.name
    subject = f"{cabinet} invites you to “{dossier}”" if english else f"{cabinet} vous invite dans « {dossier} »"
    context = {
        "subject": subject,
        "greeting": f"Hello {member.first_name}," if english else f"Bonjour {member.first_name},",
        "opening": f"{subject}.",
        "role": "Standard user" if english else "Utilisateur standard",
        "may": (
            "You file your documents and see only those that you filed yourself."
            if english
            else "Vous déposez vos documents et ne voyez que ceux que vous avez déposés vous-même."
        ),
        "contact": f"{cabinet}, {data.cabinet.phone}" if data.cabinet.phone else cabinet,
        "cabinet": cabinet,
        "link": f"{os.environ['CONVIVE_INVITATION_URL']}/i/{links.dumps([invitation_id, 1])}",
        "until": f"{expires_at:%d/%m/%Y %H:%M}",
    }
    message = EmailMessage()
    message["From"] = f"{cabinet} <noreply@convive.example>"
    message["To"] = f"{member.first_name} {member.last_name} <{member.email}>"
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{invitation_id}.1@convive.example>"
    message["Auto-Submitted"] = "auto-generated"
    locale = "en" if english else "fr"
    message.set_content(TEXT[locale].render(context))
    message.add_alternative(HTML[locale].render(context), subtype="html")
    return message


async def from_cloud_event(message: StreamMessage[Any]) -> Any:
    """FastStream decodes `application/json` by itself, but not `application/cloudevents+json`."""
    return json.loads(message.body)


@broker.subscriber(
    RabbitQueue("invitation.events", durable=True, declare=False),
    ack_policy=AckPolicy.NACK_ON_ERROR,
    decoder=from_cloud_event,
)
async def user_created(event: UserCreated) -> None:
    data, now = event.data, datetime.now(UTC)
    id = str(uuid5(uuid5(NAMESPACE_URL, event.source), event.subject))
    expires_at = now + LINK_LIFE
    document = {
        "_id": id,
        "source": event.source,
        "created_at": now,
        "updated_at": now,
        "version": 1,
        "state": "pending",
        "channel": data.invite_by,
        "link_sequence": 1,
        "send_sequence": 1,
        "expires_at": expires_at,
        "due_at": now + timedelta(minutes=1),
        "announced": True,
        "member": data.member.model_dump(mode="json") | {"email_key": data.member.email.lower()},
        "dossier": data.dossier.model_dump(mode="json"),
        "cabinet": data.cabinet.model_dump(mode="json"),
        "history": [{"at": now, "trigger": "created", "to": "pending", "event_id": event.id}],
    }
    try:
        await invitations.insert_one(document)
    except DuplicateKeyError:
        known = await invitations.find_one({"_id": id}, {"state": 1})
        if known is None or known["state"] != "pending":
            return

    async with smtp() as connection:
        await connection.send_message(mail(event, id, expires_at))

    sent_at = datetime.now(UTC)
    await invitations.update_one(
        {"_id": id, "state": "pending"},
        {
            "$set": {"state": "sent", "version": 2, "updated_at": sent_at, "due_at": expires_at},
            "$push": {"history": {"at": sent_at, "trigger": "accepted", "from": "pending", "to": "sent"}},
        },
    )
    state = InvitationState(
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
    )
    await broker.publish(
        InvitationSent(
            id=f"{id}.2",
            subject=str(data.member.id),
            time=sent_at,
            sequence="2",
            correlationid=event.correlationid or str(uuid4()),
            data=state,
        ),
        exchange=events,
        routing_key="invitation.sent",
        persist=True,
        content_type="application/cloudevents+json",
        message_id=f"{id}.2",
    )


app = FastStream(broker)


@app.on_startup
async def prepare() -> None:
    await invitations.create_indexes(list(INDEXES))
    for _ in range(SMTP_CONNECTIONS):
        connections.put_nowait(
            aiosmtplib.SMTP(
                hostname=os.environ["CONVIVE_SMTP_HOST"],
                port=int(os.environ["CONVIVE_SMTP_PORT"]),
                start_tls=False,
                use_tls=False,
            )
        )


if __name__ == "__main__":
    uvloop.run(app.run())
