"""The channel: to whom it sends, in whose name, and what bounds it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from convive_contracts.events import CabinetState
from convive_kit.rate_limit import Limiter, LimiterAway
from invitation.delivery.channels import NotYet, ProviderAway, RefusedForGood
from invitation.delivery.sms import Bounds, SmsChannel, Text
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.links import Link, Links, References, Send
from invitation.store.memory import MemoryStore
from tests.unit.lifecycle.making import NOW, a_pending

KEYS = ["a key of sixteen letters"]
A_DAY = 24 * 3600


class Gateway:
    def __init__(self) -> None:
        self.taken: list[Text] = []
        self.trouble: Exception | None = None

    async def send(self, text: Text) -> str:
        if self.trouble:
            raise self.trouble
        self.taken.append(text)
        return f"m-{len(self.taken)}"

    async def close(self) -> None: ...


class Counts(Limiter):
    """Counts in memory."""

    def __init__(self) -> None:
        self.counts = Counter[tuple[str, str]]()
        self.away = False

    async def hit(self, name: str, key: str, limit: str, *, times: int = 1) -> int:
        if self.away:
            raise LimiterAway
        self.counts[name, key] += times
        return A_DAY if self.counts[name, key] > int(limit.partition("/")[0]) else 0

    async def take_back(self, name: str, key: str, limit: str) -> None:
        self.counts[name, key] -= 1


class World:
    def __init__(self, *, per_number: int = 5, per_firm: int = 5) -> None:
        self.gateway, self.counts, self.store = Gateway(), Counts(), MemoryStore()
        self.links = Links(KEYS, base_url="https://invitation.example")
        bounds = Bounds(("FR", "RE"), per_number, per_firm)
        references = References(KEYS)
        self.channel = SmsChannel(
            self.gateway, self.links, references, self.store, self.counts, bounds, sender="Convive"
        )

    async def sends(self, invitation: Invitation) -> Text:
        await self.channel.send(invitation, NOW)
        return self.gateway.taken[-1]

    async def learn(self, invitation: Invitation, **firm: Any) -> None:
        assert invitation.invitee
        state = CabinetState(id=invitation.invitee.cabinet_id, name="Cabinet Léger", **firm)
        await self.store.learn_cabinet(state, 1)


def to(phone: str | None, **more: Any) -> Invitation:
    invitation = a_pending("sms")
    assert invitation.invitee
    invitation.invitee = replace(invitation.invitee, phone=phone, **more)
    return invitation


async def test_a_message_carries_the_link_and_a_reference_to_the_send() -> None:
    world, invitation = World(), to("+33612345678")
    accepted = await world.channel.send(invitation, NOW)
    [text] = world.gateway.taken
    assert (text.to, text.sender) == ("+33612345678", "Convive")
    assert text.body.endswith(world.links.url(Link(invitation.id, invitation.link_sequence)))
    assert References(KEYS).read(text.reference) == Send(invitation.id, invitation.send_sequence)
    assert accepted.detail == {"provider_id": "m-1", "segments": "2"}
    assert "612345678" not in repr(text)


@pytest.mark.parametrize(
    ("phone", "reason"),
    [
        (None, "not_a_mobile"),
        ("+33142685300", "not_a_mobile"),
        ("+33899123456", "not_a_mobile"),
        ("+447400123456", "country_not_allowed"),
        ("+881612345678", "country_not_allowed"),
    ],
)
async def test_a_number_that_cannot_be_reached_is_refused_for_good(phone: str | None, reason: str) -> None:
    world = World()
    with pytest.raises(RefusedForGood, match=f"^{reason}$"):
        await world.channel.send(to(phone), NOW)
    assert world.counts.counts.total() == 0


async def test_an_overseas_mobile_is_of_its_own_country() -> None:
    assert (await World().sends(to("+262692123456"))).to == "+262692123456"


@pytest.mark.parametrize(
    ("told", "sender"), [("LEGER", "LEGER"), (None, "Convive"), ("INFO", "Convive"), ("A B", "Convive")]
)
async def test_it_comes_from_the_firms_own_name_where_operators_take_it(told: str | None, sender: str) -> None:
    world, invitation = World(), to("+33612345678")
    await world.learn(invitation, sms_sender=told)
    assert (await world.sends(invitation)).sender == sender


async def test_one_number_gets_only_so_many_a_day() -> None:
    world = World(per_number=2)
    for _ in range(2):
        await world.sends(to("+33612345678"))
    with pytest.raises(RefusedForGood, match=r"^too_many_to_number$"):
        await world.channel.send(to("+33612345678"), NOW)
    await world.sends(to("+33612345679"))


async def test_what_a_firm_sends_beyond_its_bound_waits_for_the_next_day() -> None:
    world = World(per_firm=1)
    await world.sends(to("+33612345678"))
    with pytest.raises(NotYet) as wait:
        await world.channel.send(to("+33612345679"), NOW)
    assert wait.value.until == NOW + timedelta(seconds=A_DAY)
    await world.sends(to("+33612345679", cabinet_id="11111111-1111-4111-8111-111111111111"))
    assert world.counts.counts["sms to a number", "+33612345679"] == 1


async def test_a_message_that_was_not_taken_is_not_counted() -> None:
    world = World(per_number=1, per_firm=1)
    for trouble in (ProviderAway("away"), TimeoutError(), RefusedForGood("unknown_number")):
        world.gateway.trouble = trouble
        with pytest.raises(type(trouble)):
            await world.channel.send(to("+33612345678"), NOW)
    world.gateway.trouble = None
    await world.sends(to("+33612345678"))


async def test_without_counting_nothing_is_sent() -> None:
    world = World()
    world.counts.away = True
    with pytest.raises(LimiterAway):
        await world.channel.send(to("+33612345678"), NOW)
    assert world.gateway.taken == []
