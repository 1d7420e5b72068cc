"""Reminders, quiet hours and the way round by SMS on the real broker and database, with a clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime, time
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from convive_contracts import DIRECTORY_SOURCE, invitation_id, new_event, parse_event, topology
from convive_contracts.envelope import STRUCTURED
from convive_contracts.events import InvitationState
from convive_kit.days_off import is_holiday
from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import close_client, open_client
from convive_kit.outbox import Relay
from invitation.delivery.channels import Accepted
from invitation.delivery.slots import Delivery
from invitation.due import DueLoop
from invitation.intake.events import Intake
from invitation.lifecycle.invitation import Cause, Invitation
from invitation.lifecycle.quiet import QuietHours
from invitation.lifecycle.records import Receipt
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.store.mongo import INVITATIONS, MongoStore, create_indexes
from invitation.store.protocol import decide_and_save, policy_for
from invitation.store.replays import Replays
from tests.kit.driving import Heard, put, running, until
from tests.unit.contracts.making import user_data

pytestmark = [pytest.mark.broker, pytest.mark.database]

PARIS = ZoneInfo("Europe/Paris")
POLICY = Policy(quiet=QuietHours(time(20), time(8), is_holiday))
CABINET = user_data()["cabinet"]["id"]


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """In Paris, in a March whose second and ninth are Mondays."""
    return datetime(2026, 3, day, hour, minute, tzinfo=PARIS)


@dataclass
class Provider:
    """Takes everything, and remembers when."""

    site: Site
    taken: list[tuple[datetime, str, str, str]] = field(default_factory=list[tuple[datetime, str, str, str]])

    async def send(self, invitation: Invitation, now: datetime) -> Accepted:
        self.taken.append((now, invitation.channel, invitation.occasion, f"{invitation.id}.{invitation.send_sequence}"))
        return Accepted()

    async def close(self) -> None: ...


class Site:
    """Two workers of one service; nothing happens by itself but what comes from the broker."""

    def __init__(self, amqp_url: str) -> None:
        self.now = at(2, 10)
        self.provider = Provider(self)
        self.workers: list[tuple[Delivery, DueLoop]] = []
        self.stores: list[MongoStore] = []
        self.intakes: list[Intake] = []
        self.heard = Heard()
        self._amqp_url = amqp_url

    async def told(self, short: str, subject: str, data: dict, sequence: int = 1) -> None:
        event = new_event(short, source=DIRECTORY_SOURCE, subject=subject, data=data, sequence=sequence, time=self.now)
        await put(self._amqp_url, event.to_structured(), key=short, content_type=STRUCTURED)

    async def invite(self) -> str:
        """Somebody is announced, and their first mail taken."""
        member = str(uuid4())
        data = user_data({"id": member, "phone": "+33612345678"})
        await self.told("user.created", member, data)
        id = invitation_id(DIRECTORY_SOURCE, member)

        async def is_sent() -> bool:
            invitation = await self.stores[0].load(id)
            return invitation is not None and invitation.state is State.SENT

        await until(is_sent)
        return id

    async def the(self, id: str) -> Invitation:
        found = await self.stores[0].load(id)
        assert found is not None
        return found

    async def it_is(self, now: datetime) -> None:
        """Move the clock; both workers look at the same moment, until nothing is left to do."""
        self.now = now
        while any(await asyncio.gather(*(due.look() for _, due in self.workers))):
            pass
        await self.rest()

    async def rest(self) -> None:
        await until(lambda: not any(delivery.busy or delivery.waiting for delivery, _ in self.workers))

    def facts(self, id: str) -> list[tuple[str, str, int]]:
        """What others were told: name, state and number of the send."""
        events = [parse_event(body, content_type=STRUCTURED) for body in self.heard.bodies]
        found = {event.sequence: event for event in events if isinstance(event.data, InvitationState)}
        return [
            (event.short_type.removeprefix("invitation."), event.data.state, event.data.send_sequence)
            for _, event in sorted(found.items(), key=lambda one: one[0] or 0)
            if isinstance(event.data, InvitationState) and event.data.invitation_id == id
        ]


@pytest.fixture
async def site(amqp_url: str, mongo_url: str, database: str) -> AsyncGenerator[Site]:
    site, client = Site(amqp_url), open_client(mongo_url)
    await create_indexes(client[database])

    def clock() -> datetime:
        return site.now

    async def receive(message) -> None:
        await site.intakes[0].receive(message)

    async with running(amqp_url, receive) as bus, running(amqp_url, site.heard, queue=topology.DIRECTORY_EVENTS):
        commits = [GroupCommit(client[database][INVITATIONS]) for _ in range(2)]
        for number, commit in enumerate(commits):
            relay = Relay(bus=bus, collection=client[database][INVITATIONS], commit=commit, now=clock)
            store = MongoStore(client[database], commit, relay.announce)
            channels = {"email": site.provider, "sms": site.provider}
            delivery = Delivery(store, channels, owner=f"worker-{number}", policy=POLICY, now=clock, slots=8)
            site.stores.append(store)
            due = DueLoop(store, delivery, policy=POLICY, now=clock, rebuilt=Replays(client[database]).rebuilt)
            site.workers.append((delivery, due))
            site.intakes.append(Intake(store, delivery, policy=POLICY, now=clock, due_changed=lambda: None))
        yield site
        for commit in commits:
            await commit.close()
    await close_client(client)


async def test_people_are_reminded_on_their_firms_days_at_decent_hours_until_they_are_in(site: Site) -> None:
    policies = {"reminder_days": [2, 5, 6], "quiet_until": "09:00"}
    await site.told("cabinet.updated", CABINET, {"id": CABINET, "name": "Cabinet Léger", "policies": policies})
    site.now = at(2, 21, 30)
    id = await site.invite()

    await site.it_is(at(4, 21, 30))
    await site.it_is(at(5, 8, 59))
    assert [sent[:3] for sent in site.provider.taken] == [(at(2, 21, 30), "email", "link")], (
        "a first e-mail goes at once"
    )

    await site.it_is(at(5, 9))
    opened = await decide_and_save(site.stores[0], id, lambda i: i.opened(Cause(site.now, "person"), POLICY))
    assert opened is not None
    await site.it_is(at(7, 21, 30))
    await site.it_is(at(8, 15))
    await site.it_is(at(9, 9))
    assert [sent[:3] for sent in site.provider.taken[1:]] == [
        (at(5, 9), "email", "reminder"),
        (at(9, 9), "email", "reminder"),  # over a Sunday, and instead of the sixth day too
    ]

    redeemed = {"account_id": str(uuid4()), "invitation_id": id, "credential": "new"}
    await site.told("account.redeemed", redeemed["account_id"], redeemed)
    await until(lambda: site.facts(id)[-1:] == [("password_set", "password_set", 3)])
    await site.it_is(at(31, 12))
    assert len(site.provider.taken) == 3
    assert site.facts(id) == [
        ("sent", "sent", 1),
        ("sent", "sent", 2),
        ("opened", "opened", 2),
        ("sent", "opened", 3),
        ("password_set", "password_set", 3),
    ]


async def test_twenty_reminders_due_at_once_go_out_once_each_with_two_workers(site: Site) -> None:
    ids = await asyncio.gather(*(site.invite() for _ in range(20)))

    await site.it_is(at(4, 10))

    assert sorted(sent[3] for sent in site.provider.taken) == sorted(f"{id}.{n}" for id in ids for n in (1, 2))
    assert {(await site.the(id)).remind_at for id in ids} == {at(7, 10)}


async def test_an_email_that_came_back_at_night_is_followed_by_an_sms_in_the_morning(site: Site) -> None:
    policies = {"sms_after_bounce": True}
    await site.told("cabinet.updated", CABINET, {"id": CABINET, "name": "Cabinet Léger", "policies": policies})
    id = await site.invite()

    site.now = at(2, 23)
    policy = await policy_for(site.stores[0], await site.the(id), POLICY)
    receipt, cause = Receipt("bounced", 1, "unknown_address"), Cause(site.now, "provider", "receipt:1")
    for _ in range(2):
        await decide_and_save(site.stores[0], id, lambda i: i.receipt(receipt, cause, policy))
    await site.it_is(at(3, 7, 59))
    assert len(site.provider.taken) == 1
    await site.it_is(at(3, 8))

    assert site.provider.taken[1] == (at(3, 8), "sms", "link", f"{id}.2")
    assert (await site.the(id)).state is State.SENT
    expected = [("sent", "sent", 1), ("bounced", "sent", 1), ("failed", "failed", 1), ("sent", "sent", 2)]
    await until(lambda: site.facts(id) == expected)
