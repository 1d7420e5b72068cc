"""The due loop: the one that makes time pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, time, timedelta

import pytest

from convive_contracts.events import CabinetState, Policies
from convive_kit.mongo import DatabaseAway
from invitation.lifecycle.invitation import Change, Invitation
from invitation.lifecycle.quiet import QuietHours
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.store.memory import MemoryStore
from invitation.store.protocol import decide_and_save
from tests.unit.delivery.making import AWAY, HANG, NEVER, World
from tests.unit.lifecycle.making import an_event, an_invitee


class Counting(MemoryStore):
    saves = 0

    async def save(self, change: Change) -> None:
        self.saves += 1
        await super().save(change)


async def test_what_is_not_due_yet_is_left_alone() -> None:
    world = World()
    await world.add()
    world.clock.time -= timedelta(seconds=1)

    await world.look()

    assert world.channel.sends == []


async def test_a_link_whose_life_is_over_expires_though_nobody_asks() -> None:
    world = World()
    ids = await world.add(3)
    await world.look()

    world.clock.goes_on(14 * 86_400)
    await world.look()

    assert await world.states(ids) == [State.EXPIRED] * 3
    assert (await world.store.history(ids[0]))[-1].actor == "system"


async def test_what_a_rebuild_folded_in_waits_for_its_end_and_all_else_does_not() -> None:
    world = World()
    folded_in, other = await world.add(3, disarmed=True), await world.add()
    world.rebuilt = False

    await world.look()
    await world.look()
    assert await world.states(folded_in) == [State.PENDING] * 3
    assert await world.states(other) == [State.SENT]
    assert await world.store.disarmed() == 3

    world.rebuilt = True
    world.clock.goes_on(1)
    await world.look()
    assert await world.states(folded_in) == [State.SENT] * 3
    assert len(world.channel.sends) == 4
    triggers = [step.trigger for step in await world.store.history(folded_in[0])]
    assert triggers == ["created", "armed", "accepted"]


async def test_after_a_rebuild_they_are_sent_as_room_comes_free() -> None:
    world = World(slots=1, places_per_slot=2)
    ids = await world.add(9, disarmed=True)

    for _ in ids:
        await world.due.look()
        await world.due.look()  # finds no room
        await world.settle()
    assert await world.states(ids) == [State.SENT] * 9


async def test_a_link_that_was_folded_in_expires_when_the_rebuild_is_over() -> None:
    world = World()
    ids = await world.add(disarmed=True)
    world.rebuilt = False
    world.clock.goes_on(14 * 86_400)
    await world.look()
    assert await world.states(ids) == [State.PENDING]

    world.rebuilt = True
    world.clock.goes_on(1)
    await world.look()
    assert await world.states(ids) == [State.EXPIRED]
    assert world.channel.sends == []


async def test_what_a_rebuild_changes_between_the_look_and_its_end_is_not_sent() -> None:
    world = World()
    (id,) = await world.add(disarmed=True)

    async def ends_with_one_more_event() -> bool:
        await decide_and_save(world.store, id, lambda i: i.revoked("removed", an_event(world.clock.time)))
        return True

    due = world.due_loop(rebuilt=ends_with_one_more_event)
    await due.look()
    await world.settle()
    assert world.channel.sends == []
    assert await world.states([id]) == [State.REVOKED]


async def test_an_expiry_needs_no_place() -> None:
    world = World(slots=1, places_per_slot=1)
    expiring = await world.add(3)
    await world.run_for(5)
    world.clock.goes_on(14 * 86_400 - 10)
    world.channel.script = [HANG]
    await world.add(1)
    await world.look()
    assert world.delivery.room == 0
    world.clock.goes_on(20)

    world.channel.hanging.set()
    await world.settle()
    await world.look()

    assert await world.states(expiring) == [State.EXPIRED] * 3


async def test_it_says_when_there_may_be_more() -> None:
    world = World(slots=50)
    await world.add(250)

    assert await world.look()
    while await world.look():
        pass

    assert len(world.channel.sends) == 250


async def test_while_a_provider_is_away_it_does_not_spin() -> None:
    world = World(AWAY, slots=2)
    await world.add(500)
    await world.run_for(20)

    assert not await world.look()
    assert not await world.look()


async def test_a_call_wakes_it_at_once() -> None:
    world = World()
    due = world.due_loop(every=60)
    running = asyncio.create_task(due.run())
    await world.turn()
    await world.add()

    due.wake()
    await world.turn()

    assert len(world.channel.sends) == 1
    running.cancel()


async def test_with_all_places_taken_it_waits_for_room_and_goes_on_then() -> None:
    world = World(HANG, slots=1, places_per_slot=1)
    await world.add(3)
    running = asyncio.create_task(world.due.run())
    await world.turn()
    assert len(world.channel.sends) == 1

    world.channel.script = ["accept"]
    world.channel.hanging.set()
    await world.turn(200)

    assert len(world.channel.sends) == 3
    running.cancel()


async def test_after_an_outage_claims_wait_for_an_attempts_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    class Away(MemoryStore):
        is_away = True

        async def due(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
            if self.is_away:
                raise DatabaseAway
            return await super().due(now, limit, channels)

    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            store.is_away = False
        await real(0)

    store = Away()
    policy = Policy()
    world = World(store=store, policy=policy)
    await world.add()
    monkeypatch.setattr("invitation.due.asyncio.sleep", sleep)
    running = asyncio.create_task(world.due.run())
    async with asyncio.timeout(5):
        while not world.channel.sends:
            await real(0)
    running.cancel()

    assert [pause for pause in slept if pause >= 1][:4] == [1.0, 1.0, 1.0, policy.attempt_deadline.total_seconds()]


async def test_a_reminder_is_decided_claimed_and_sent_in_two_saves() -> None:
    store = Counting()
    world = World(store=store)
    (id,) = await world.add()
    await world.look()
    world.clock.goes_on(2 * 86_400)
    store.saves = 0

    await world.look()

    assert world.channel.sends == [(id, 1, 1), (id, 2, 1)]
    assert store.saves == 2, "the reminder with its claim, and what came of it"


async def test_an_sms_that_came_due_at_night_waits_for_the_morning() -> None:
    world = World(policy=Policy(quiet=QuietHours(time(20), time(8))))
    (id,) = await world.add(channel="sms")
    world.clock.goes_on(11 * 3600)

    await world.look()
    morning = world.clock.time + timedelta(hours=10.5)
    assert ((await world.load(id)).state, (await world.load(id)).due_at) == (State.PENDING, morning)

    world.clock.goes_on(10.5 * 3600)
    await world.look()
    assert (await world.load(id)).reason == "channel_not_available", "there is no provider here, but now it was tried"


async def test_the_policy_is_that_of_the_firm() -> None:
    world = World(NEVER)
    (id,) = await world.add()
    cabinet = CabinetState(id=an_invitee().cabinet_id, name="Léger", policies=Policies(sms_after_bounce=True))
    await world.store.learn_cabinet(cabinet, 1)

    await world.look()

    after = await world.load(id)
    assert (after.channel, after.state, after.link_sequence) == ("sms", State.PENDING, 2)
