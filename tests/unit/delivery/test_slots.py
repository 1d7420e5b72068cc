"""Delivery: no more at once than there are slots, every outcome recorded, no place ever lost."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convive_kit.group_commit import VersionConflict
from convive_kit.mongo import DatabaseAway
from invitation.delivery.channels import NotYet
from invitation.lifecycle.invitation import Change
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.store.memory import MemoryStore
from tests.unit.delivery.making import ACCEPT, AWAY, BUG, HANG, LATER, NEVER, OWNER, POLICY, World
from tests.unit.lifecycle.making import a_cause, later


class TroubledStore(MemoryStore):
    """Answers the next saves as told: raises before, or after having carried the save out."""

    def __init__(self) -> None:
        super().__init__()
        self.fails_before: list[Exception] = []
        self.fails_after: list[Exception] = []
        self.away_for: set[str] = set()
        self.takes_claims = False

    async def save(self, change: Change) -> None:
        if change.after.id in self.away_for and not (self.takes_claims and change.after.lease):
            raise DatabaseAway
        if self.fails_before:
            raise self.fails_before.pop(0)
        await super().save(change)
        if self.fails_after:
            raise self.fails_after.pop(0)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses take a turn of the loop instead of a second."""
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        await real(0)

    monkeypatch.setattr("invitation.delivery.slots.asyncio.sleep", sleep)


async def test_what_is_due_is_sent_and_recorded() -> None:
    world = World()
    (id,) = await world.add()

    await world.look()

    invitation = await world.load(id)
    assert (invitation.state, invitation.lease, invitation.send_at) == (State.SENT, None, None)
    assert world.channel.sends == [(id, 1, 1)]


async def test_the_intent_is_on_disk_before_the_effect() -> None:
    world = World(HANG)
    (id,) = await world.add()

    await world.look()

    invitation = await world.load(id)
    assert invitation.lease is not None
    assert invitation.lease.owner == OWNER
    assert invitation.due_at == world.clock.time + world.policy.lease


async def test_the_history_tells_of_the_provider_and_its_answer() -> None:
    world = World()
    (id,) = await world.add()
    await world.look()

    last = (await world.store.history(id))[-1]

    assert (last.trigger, last.actor, last.detail) == ("accepted", "provider", {"send": 1, "reply": "250 ok"})


async def test_no_more_are_sent_at_once_than_there_are_slots() -> None:
    world = World(slots=3)
    ids = await world.add(50)

    while await world.look():
        pass

    assert world.channel.most_at_once == 3
    assert set(await world.states(ids)) == {State.SENT}


async def test_no_more_are_claimed_than_there_are_places() -> None:
    world = World(HANG, slots=3, places_per_slot=2)
    await world.add(50)

    assert await world.look()

    assert world.delivery.room == 0
    claimed = [i for i in world.store._invitations.values() if i.lease is not None]
    assert len(claimed) == 6
    assert len(world.channel.sends) == 3


async def test_one_that_hangs_holds_up_no_other_slot() -> None:
    world = World(slots=2)
    ids = await world.add(20)
    world.channel.of[ids[0]] = HANG

    for _ in range(30):
        await world.look()

    assert (await world.states(ids[1:])) == [State.SENT] * 19
    assert (await world.load(ids[0])).state is State.PENDING


async def test_one_that_hangs_is_given_up_at_its_deadline_and_tried_again() -> None:
    world = World(HANG, policy=Policy(attempt_deadline=timedelta(seconds=0.05)))
    (id,) = await world.add()
    await world.look()

    async with asyncio.timeout(5):
        while world.delivery._sending:
            await asyncio.wait(world.delivery._sending)

    invitation = await world.load(id)
    assert (invitation.state, invitation.reason, invitation.lease) == (State.PENDING, "timeout", None)
    assert invitation.due_at is not None
    assert invitation.due_at > world.clock.time


async def test_a_refusal_for_now_is_tried_again_at_its_time_with_the_same_send() -> None:
    world = World(LATER, ACCEPT)
    (id,) = await world.add()

    await world.run_for(30)

    assert (await world.load(id)).state is State.SENT
    assert world.channel.sends == [(id, 1, 1), (id, 1, 2)]


async def test_a_refusal_for_good_is_failed_at_once() -> None:
    world = World(NEVER)
    (id,) = await world.add()

    await world.run_for(30)

    invitation = await world.load(id)
    assert (invitation.state, invitation.reason) == (State.FAILED, "550 no such user")
    assert len(world.channel.sends) == 1


async def test_attempts_come_to_an_end() -> None:
    world = World(LATER, policy=Policy(most_attempts=3, longest_backoff=timedelta(seconds=20)))
    (id,) = await world.add()

    await world.run_for(120)

    assert (await world.load(id)).state is State.FAILED
    assert [attempt for _, _, attempt in world.channel.sends] == [1, 2, 3]


async def test_a_bug_in_a_channel_costs_an_attempt_and_ends_as_failed() -> None:
    world = World(BUG, policy=Policy(most_attempts=3, longest_backoff=timedelta(seconds=20)))
    (id,) = await world.add()

    await world.run_for(300)

    invitation = await world.load(id)
    assert (invitation.state, invitation.reason) == (State.FAILED, "internal_error")
    assert world.delivery.room == 16


async def test_a_database_that_is_away_while_a_mail_is_written_costs_no_attempt() -> None:
    world = World(DatabaseAway(), ACCEPT)
    (id,) = await world.add()

    await world.run_for(10)

    assert (await world.load(id)).state is State.SENT
    assert [attempt for _, _, attempt in world.channel.sends] == [1, 1]


async def test_a_channel_that_does_not_exist_is_failed_with_the_reason() -> None:
    world = World()
    (id,) = await world.add(channel="sms")

    await world.run_for(3)

    invitation = await world.load(id)
    assert (invitation.state, invitation.reason) == (State.FAILED, "channel_not_available")


# --- a provider that is down -------------------------------------------------------------------------------------


async def test_a_provider_that_is_away_costs_no_attempt() -> None:
    world = World(AWAY, AWAY, ACCEPT)
    (id,) = await world.add()

    await world.run_for(30)

    assert (await world.load(id)).state is State.SENT
    assert {attempt for _, _, attempt in world.channel.sends} == {1}


async def test_a_provider_that_is_down_is_probed_by_one_at_a_time() -> None:
    world = World(AWAY, slots=8)
    await world.add(100)
    await world.run_for(60)
    sent_before, world.channel.most_at_once = len(world.channel.sends), 0

    await world.run_for(300)

    assert world.channel.most_at_once == 1
    assert len(world.channel.sends) - sent_before <= 10, "at most one probe in each pause of up to a minute"


async def test_outcomes_that_are_recorded_late_make_no_room_for_a_second_probe() -> None:
    store = TroubledStore()
    world = World(*[AWAY] * 5, HANG, slots=8, store=store)
    late = await world.add(5)
    store.away_for = set(late)
    store.takes_claims = True
    await world.look()
    assert "email" not in world.delivery.open_channels()
    await world.add(5)
    world.clock.goes_on(1.5)
    await world.look()
    assert world.channel.now_sending == 1

    store.away_for = set()
    await world.turn()
    await world.look()

    assert world.channel.now_sending == 1


async def test_when_the_provider_is_back_everything_is_sent() -> None:
    world = World(AWAY, slots=8)
    ids = await world.add(40)
    await world.run_for(60)
    world.channel.script = [ACCEPT]

    await world.run_for(200)

    assert set(await world.states(ids)) == {State.SENT}
    assert world.delivery.room == 32


async def test_while_a_provider_is_down_others_are_served() -> None:
    world = World(AWAY)
    await world.add(10)
    await world.run_for(5)
    (by_sms,) = await world.add(channel="sms")

    await world.run_for(3)

    assert (await world.load(by_sms)).state is State.FAILED  # answered at once: there is no such provider here


# --- leases ------------------------------------------------------------------------------------------------------


async def test_a_lease_that_runs_out_brings_the_send_back() -> None:
    world = World(HANG)
    (id,) = await world.add()
    await world.look()
    crashed = world.channel.sends[:]

    # Another process, after this one died with the message in its slot.
    other = World(store=world.store)
    other.clock = world.clock
    other.delivery._now = other.due._now = world.clock.now
    world.clock.goes_on(59)
    await other.look()
    assert other.channel.sends == []
    world.clock.goes_on(1)
    await other.look()

    assert crashed == [(id, 1, 1)]
    assert other.channel.sends == [(id, 1, 2)]
    assert (await world.load(id)).state is State.SENT


async def test_a_claim_that_waited_too_long_for_its_turn_is_left_to_its_lease() -> None:
    world = World(HANG, slots=1)
    ids = await world.add(2)
    await world.look()
    assert len(world.channel.sends) == 1
    world.clock.goes_on(45)  # 15 s of the lease are left, less than an attempt may take

    world.channel.hanging.set()
    await world.settle()

    assert [id for id, _, _ in world.channel.sends] == [ids[0]]
    assert world.delivery.room == 4
    world.clock.goes_on(20)
    await world.look()
    assert (await world.load(ids[1])).state is State.SENT


async def test_two_processes_that_find_the_same_due_send_it_once() -> None:
    one = World()
    other = World(store=one.store)
    ids = await one.add(10)

    await asyncio.gather(one.due.look(), other.due.look())
    await one.turn()
    await other.settle()

    assert sorted(id for id, _, _ in one.channel.sends + other.channel.sends) == sorted(ids)
    assert (one.delivery.room, other.delivery.room) == (16, 16)


# --- recording the outcome ---------------------------------------------------------------------------------------


async def test_an_outcome_that_lost_a_race_is_recorded_on_what_is_there_now() -> None:
    world = World(HANG)
    (id,) = await world.add()
    await world.look()
    claimed = await world.load(id)
    await world.store.save(claimed.opened(a_cause(), POLICY))

    world.channel.hanging.set()
    await world.settle()

    assert (await world.load(id)).state is State.OPENED
    assert [step.trigger for step in await world.store.history(id)] == ["created", "opened", "accepted"]


async def test_an_outcome_after_a_resend_is_history_and_the_resend_is_sent() -> None:
    world = World(HANG, ACCEPT)
    (id,) = await world.add()
    await world.look()
    resent = (await world.load(id)).resent(None, a_cause(), world.policy)
    assert resent is not None
    await world.store.save(resent)

    world.channel.hanging.set()
    await world.settle()
    assert (await world.load(id)).state is State.PENDING
    await world.look()

    invitation = await world.load(id)
    assert (invitation.state, invitation.link_sequence) == (State.SENT, 2)
    assert [send for _, send, _ in world.channel.sends] == [1, 2]


async def test_an_outcome_waits_for_the_database_and_holds_its_slot_meanwhile() -> None:
    store = TroubledStore()
    world = World(HANG, slots=1, places_per_slot=1, store=store)
    (id,) = await world.add()
    await world.look()
    store.fails_before = [DatabaseAway() for _ in range(500)]

    world.channel.hanging.set()
    await world.turn()
    assert world.delivery.room == 0
    store.fails_before.clear()
    await world.settle()

    assert world.delivery.room == 1
    assert (await world.load(id)).state is State.SENT


async def test_an_outcome_that_was_saved_though_nobody_could_tell_is_not_lost() -> None:
    store = TroubledStore()
    world = World(HANG, store=store)
    (id,) = await world.add()
    await world.look()
    store.fails_after = [DatabaseAway()]

    world.channel.hanging.set()
    await world.settle()

    assert (await world.load(id)).state is State.SENT


async def test_a_save_that_keeps_losing_races_is_tried_on() -> None:
    store = TroubledStore()
    world = World(HANG, store=store)
    (id,) = await world.add()
    await world.look()
    store.fails_before = [VersionConflict() for _ in range(50)]

    world.channel.hanging.set()
    await world.settle()

    assert (await world.load(id)).state is State.SENT


# --- places ------------------------------------------------------------------------------------------------------


async def test_places_that_were_not_needed_are_given_back() -> None:
    world = World(slots=2)
    assert world.delivery.reserve("email")
    assert world.delivery.room == 7

    world.delivery.give_back("email")

    assert world.delivery.room == 8


async def test_without_room_nothing_is_reserved() -> None:
    world = World(slots=1, places_per_slot=1)
    assert world.delivery.reserve("email")

    assert not world.delivery.reserve("email")


async def test_a_new_message_waits_a_little_for_a_place_and_takes_it() -> None:
    world = World(slots=1, places_per_slot=2)
    assert await world.delivery.reserve_soon("email", within=5)
    waiting = asyncio.create_task(world.delivery.reserve_soon("email", within=5))
    await world.turn()
    assert not waiting.done()

    world.delivery.give_back("email", new=True)

    assert await waiting
    assert world.delivery.room == 2, "those of what is due are others"


async def test_its_patience_ends_and_the_place_goes_to_nobody() -> None:
    world = World(slots=1, places_per_slot=2)
    assert await world.delivery.reserve_soon("email", within=5)

    assert not await world.delivery.reserve_soon("email", within=0.01)

    world.delivery.give_back("email", new=True)
    assert await world.delivery.reserve_soon("email", within=0.01)


async def test_however_much_is_due_a_new_message_has_a_place_and_is_next() -> None:
    world = World(HANG, ACCEPT, slots=1)
    due = await world.add(50)
    await world.look()
    assert world.delivery.room == 0

    assert await world.delivery.reserve_soon("email", within=0.01)
    (new,) = await world.add(1)
    claim = (await world.load(new)).claimed(OWNER, world.clock.now(), world.policy)
    await world.store.save(claim)
    world.delivery.start(claim.after, new=True)
    world.channel.hanging.set()
    await world.settle()

    order = [id for id, _, _ in world.channel.sends]
    assert (order[0], order[1]) == (due[0], new)


async def test_a_flood_of_new_messages_lets_every_other_turn_to_what_is_due() -> None:
    world = World(HANG, ACCEPT, slots=1, places_per_slot=8)
    due = await world.add(7)
    await world.look()
    new = await world.add(7)
    for id in new:
        assert await world.delivery.reserve_soon("email", within=0.01)
        claim = (await world.load(id)).claimed(OWNER, world.clock.now(), world.policy)
        await world.store.save(claim)
        world.delivery.start(claim.after, new=True)
    world.channel.hanging.set()
    await world.settle()

    order = [id for id, _, _ in world.channel.sends][1:13]
    assert [id in due for id in order] == [False, True] * 6


async def test_new_messages_leave_as_many_places_as_slots_to_what_is_due() -> None:
    world = World(slots=2, places_per_slot=2)
    for _ in range(2):
        assert await world.delivery.reserve_soon("email", within=5)

    assert not await world.delivery.reserve_soon("email", within=0.01)
    assert world.delivery.reserve("email")


async def test_nobody_waits_for_a_place_in_a_process_that_drains_or_has_no_slots() -> None:
    draining, without = World(slots=1, places_per_slot=2), World(slots=0)
    assert await draining.delivery.reserve_soon("email", within=5)
    waiting = asyncio.create_task(draining.delivery.reserve_soon("email", within=60))
    await draining.turn()

    await draining.delivery.drain()

    assert not await waiting
    assert not await draining.delivery.reserve_soon("email", within=60)
    assert not await without.delivery.reserve_soon("email", within=60)


async def test_a_cancelled_wait_gives_the_place_back_that_just_came() -> None:
    world = World(slots=1, places_per_slot=2)
    assert await world.delivery.reserve_soon("email", within=5)
    waiting = asyncio.create_task(world.delivery.reserve_soon("email", within=5))
    await world.turn()

    world.delivery.give_back("email", new=True)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert await world.delivery.reserve_soon("email", within=0.01)


async def test_waiting_for_room_ends_when_as_many_places_are_free_as_there_are_slots() -> None:
    world = World(slots=2, places_per_slot=2)
    for _ in range(4):
        assert world.delivery.reserve("email")
    waiting = asyncio.create_task(world.delivery.wait_for_room())
    await world.turn()

    world.delivery.give_back("email")
    await world.turn()
    assert not waiting.done()
    world.delivery.give_back("email")
    await world.turn()

    assert waiting.done()


async def test_draining_ends_what_is_in_the_slots_and_gives_back_what_waits() -> None:
    world = World(HANG, slots=2)
    ids = await world.add(6)
    await world.look()
    draining = asyncio.create_task(world.delivery.drain())
    await world.turn()
    assert not draining.done()
    assert not world.delivery.reserve("email")

    world.channel.hanging.set()
    await draining

    states = await world.states(ids)
    assert states.count(State.SENT) == 2
    assert len(world.channel.sends) == 2
    waiting = [i for i in world.store._invitations.values() if i.state is State.PENDING]
    assert [(i.lease, i.attempt) for i in waiting] == [(None, 0)] * 4
    assert all(i.due_at and i.due_at - world.clock.time < timedelta(seconds=3) for i in waiting)


async def test_a_drain_that_cannot_write_does_not_give_up_before_its_time() -> None:
    store = TroubledStore()
    world = World(HANG, slots=1, store=store)
    ids = await world.add(2)
    await world.look()
    store.away_for = set(ids)
    draining = asyncio.create_task(world.delivery.drain())
    world.channel.hanging.set()
    for _ in range(50):
        await world.turn()
    assert not draining.done(), "whoever asked for the end says when it is over"
    store.away_for = set()
    await draining
    assert {i.lease for i in world.store._invitations.values()} == {None}


BEHAVIOURS = st.sampled_from([ACCEPT, LATER, NEVER, AWAY, BUG])


@given(
    script=st.lists(BEHAVIOURS, min_size=1, max_size=20),
    slots=st.integers(1, 4),
    count=st.integers(1, 12),
    seed=st.integers(),
)
@settings(max_examples=25, deadline=None)
def test_after_any_script_of_outcomes_every_place_is_free_and_nothing_is_stuck(
    script: list[str], slots: int, count: int, seed: int
) -> None:
    async def scenario() -> None:
        random.seed(seed)
        world = World(*script, ACCEPT, slots=slots, policy=Policy(longest_backoff=timedelta(seconds=30)))
        ids = await world.add(count)
        for _ in range(400):
            while await world.look() and world.delivery.room:
                pass
            if all(i.due_at == i.expires_at or i.due_at is None for i in world.store._invitations.values()):
                break
            world.clock.goes_on(3)
        assert world.delivery.room == slots * 4
        assert set(await world.states(ids)) <= {State.SENT, State.FAILED}
        assert world.channel.most_at_once <= slots

    asyncio.run(scenario())


async def test_what_may_not_go_out_yet_waits_without_costing_an_attempt() -> None:
    world = World(NotYet("the firm has sent all it may within a day", until=later(hours=6)))
    (id,) = await world.add()
    await world.look()
    invitation = await world.load(id)
    assert (invitation.state, invitation.attempt, invitation.send_at) == (State.PENDING, 0, later(hours=6))
    assert not world.delivery.provider_away("email")
