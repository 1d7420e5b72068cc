"""The floor: the product's calls to broker, database and mail server, raw and in groups, with nothing decided between.

It reads no event, decides nothing and looks nothing up: documents, updates, events and mails are made once, by the
product's own code, and only their ids differ. What remains is what any program must do that makes the same calls with
the same clients. `python -m tests.bench.peers.raw_floor`, with the product's environment variables. What is read,
decided and rendered can be put in place of what is prepared: see `raw_deciding`.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar, cast

import aio_pika
import aiosmtplib
import uvloop
from aio_pika.abc import AbstractIncomingMessage
from pymongo import InsertOne, UpdateOne

from convive_contracts import topology
from convive_contracts.envelope import STRUCTURED, parse_event
from convive_contracts.events import UserCreated, invitation_id
from convive_kit.mongo import close_client, open_client
from invitation.delivery.mail import Letter, MailRenderer
from invitation.lifecycle.invitation import Cause, Change, Invitation, Invitee, Told
from invitation.lifecycle.schedule import Policy
from invitation.store.documents import entries, to_document, to_update
from invitation.store.mongo import INDEXES, INVITATIONS
from tests.bench.samples import people_added

CONNECTIONS = int(os.environ.get("BENCH_CONNECTIONS", "32"))
PREFETCH = int(os.environ.get("BENCH_PREFETCH", "500"))
DRIVER = cast("Any", os.environ.get("BENCH_DRIVER", "motor"))
LARGEST_GROUP = 500

Item = TypeVar("Item")


class Group(Generic[Item]):
    """Takes one by one, hands over all that came since the group before."""

    def __init__(self, work: Callable[[list[Item]], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: list[Item] = []
        self._some = asyncio.Event()

    def put(self, item: Item) -> None:
        self._waiting.append(item)
        self._some.set()

    async def run(self) -> None:
        while True:
            await self._some.wait()
            group, self._waiting = self._waiting[:LARGEST_GROUP], self._waiting[LARGEST_GROUP:]
            if not self._waiting:
                self._some.clear()
            await self._work(group)


class Maker(Protocol):
    """What is written, mailed and published for one message."""

    def begin(self, message: AbstractIncomingMessage) -> tuple[str, InsertOne[dict[str, Any]]]:
        """The invitation's id, and its document."""
        ...

    def mail(self, id: str) -> tuple[str, bytes]:
        """To whom, and what."""
        ...

    def accepted(self, id: str) -> tuple[UpdateOne, bytes]:
        """What is recorded once the mail server has it, and the event that follows."""
        ...


class Prepared:
    """What is written, published and mailed, made once by the product's code from a sample event."""

    def __init__(self) -> None:
        created, sent, outbox = _two_saves()
        self.document = to_document(created, [])
        self.update = to_update(sent, cast("Any", outbox))
        self.event = outbox[0]["body"]
        invitee = created.after.invitee
        assert invitee is not None
        assert created.after.expires_at is not None
        letter = Letter(
            invitation_id=created.after.id,
            send_sequence=1,
            locale=invitee.locale,
            first_name=invitee.first_name,
            last_name=invitee.last_name,
            to=invitee.email,
            cabinet_name=invitee.cabinet_name,
            cabinet_phone=invitee.cabinet_phone,
            dossier_name=invitee.dossier_name,
            role=invitee.role,
            own_expense_reports=invitee.own_expense_reports,
            link=f"https://convive.example/i/{'x' * 70}",
            expires_at=created.after.expires_at,
            time_zone=invitee.time_zone,
            invited_by=None,
        )
        self.message = MailRenderer("noreply@convive.example").render(letter, datetime.now(UTC))
        self._numbers = itertools.count()

    def begin(self, message: AbstractIncomingMessage) -> tuple[str, InsertOne[dict[str, Any]]]:
        """See `Maker.begin`."""
        id = (message.message_id or "")[:36]
        return id, self.insert(id, next(self._numbers))

    def mail(self, id: str) -> tuple[str, bytes]:
        """See `Maker.mail`."""
        return "person@example.com", self.message

    def accepted(self, id: str) -> tuple[UpdateOne, bytes]:
        """See `Maker.accepted`."""
        return self.sent(id), self.event

    def insert(self, id: str, number: int) -> InsertOne[dict[str, Any]]:
        member = self.document["member"] | {"id": id, "email_key": f"person.{number}@example.com"}
        return InsertOne({**self.document, "_id": id, "member": member})

    def sent(self, id: str) -> UpdateOne:
        push = self.update["$push"]
        entry = {**push["outbox"]["$each"][0], "id": id}
        return UpdateOne(
            {"_id": id, "version": 1}, {**self.update, "$push": {**push, "outbox": {"$each": [entry]}}}, upsert=True
        )


def _two_saves() -> tuple[Change, Change, list[Any]]:
    sample = next(people_added(1))
    event = parse_event(sample.body, content_type=STRUCTURED)
    data = cast("UserCreated", event.data)
    invitee = Invitee(
        member_id=data.member.id,
        first_name=data.member.first_name,
        last_name=data.member.last_name,
        email=data.member.email,
        email_key=data.member.email,
        dossier_id=data.dossier.id,
        dossier_name=data.dossier.name,
        cabinet_id=data.cabinet.id,
        cabinet_name=data.cabinet.name,
        cabinet_phone=data.cabinet.phone,
        locale=data.member.locale,
        own_expense_reports=data.member.own_expense_reports,
    )
    now = datetime.now(UTC)
    blank = Invitation.blank(invitation_id(event.source, event.subject), event.source, now)
    created = blank.created(
        invitee, "email", Told(event.time, event.sequence), Cause(now, f"event:{event.source}", event.id), Policy()
    )
    assert created is not None
    created.after.correlation_id = event.correlation_id
    sent = created.after.accepted(1, Cause(now, "provider", detail={"send": 1, "reply": "2.0.0 Ok"}), Policy())
    return created, sent, list(entries(sent, event.correlation_id))


async def main(maker: Maker) -> None:
    client = open_client(os.environ["CONVIVE_MONGO_URL"], driver=DRIVER)
    invitations = client[os.environ["CONVIVE_INVITATION_DATABASE"]][INVITATIONS]
    await invitations.create_indexes(list(INDEXES))
    connection = await aio_pika.connect(os.environ["CONVIVE_AMQP_URL"])
    publishing = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await publishing.get_exchange(topology.EXCHANGE, ensure=False)
    consuming = await connection.channel()
    await consuming.set_qos(prefetch_count=PREFETCH)
    mails: asyncio.Queue[str] = asyncio.Queue()
    tasks: set[asyncio.Task[None]] = set()

    async def insert(messages: list[AbstractIncomingMessage]) -> None:
        begun = [maker.begin(message) for message in messages]
        await invitations.bulk_write([operation for _, operation in begun], ordered=False)
        await messages[-1].ack(multiple=True)
        for id, _ in begun:
            mails.put_nowait(id)

    async def mail(smtp: aiosmtplib.SMTP) -> None:
        await smtp.connect()
        while True:
            id = await mails.get()
            recipient, message = maker.mail(id)
            await smtp.sendmail("noreply@convive.example", [recipient], message, mail_options=["BODY=8BITMIME"])
            updates.put(id)

    async def update(ids: list[str]) -> None:
        made = [maker.accepted(id) for id in ids]
        await invitations.bulk_write([operation for operation, _ in made], ordered=False)
        for id, (_, event) in zip(ids, made, strict=True):
            task = asyncio.create_task(publish(id, event))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def publish(id: str, event: bytes) -> None:
        message = aio_pika.Message(
            event,
            content_type=STRUCTURED,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=id,
        )
        await exchange.publish(message, "invitation.sent", mandatory=True)
        pulls.put(id)

    async def pull(ids: list[str]) -> None:
        await invitations.bulk_write(
            [UpdateOne({"_id": id}, {"$pull": {"outbox": {"id": {"$in": [id]}}}}) for id in ids], ordered=False
        )

    inserts, updates, pulls = Group(insert), Group(update), Group(pull)

    async def receive(message: AbstractIncomingMessage) -> None:
        inserts.put(message)

    queue = await consuming.get_queue(topology.INVITATION_EVENTS, ensure=False)
    host, port = os.environ["CONVIVE_SMTP_HOST"], int(os.environ["CONVIVE_SMTP_PORT"])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    loops = [
        *(asyncio.create_task(group.run()) for group in (inserts, updates, pulls)),
        *(
            asyncio.create_task(mail(aiosmtplib.SMTP(hostname=host, port=port, start_tls=False)))
            for _ in range(CONNECTIONS)
        ),
    ]
    await queue.consume(receive)
    ended = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([ended, *loops], return_when=asyncio.FIRST_COMPLETED)
    for task in [ended, *loops]:
        task.cancel()
    await close_client(client)
    await connection.close()
    for task in done - {ended}:
        task.result()  # a loop that ended has failed


if __name__ == "__main__":
    uvloop.run(main(Prepared()))
