"""From event to invitation: each event counts once, in any order, and what is nobody's business is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import pytest

from convive_contracts import DIRECTORY_SOURCE, Malformed, UnknownType, invitation_id
from convive_kit.addresses import BadEmail, NoMobile
from convive_kit.errors import Reject, Retry
from convive_kit.mongo import DatabaseAway
from invitation.intake.decisions import ForeignSource, NoPhone
from invitation.intake.events import MOST_WAITING, NotKnownYet, UnknownInvitation
from invitation.lifecycle.invitation import Change, Invitee
from invitation.lifecycle.states import State
from invitation.store.memory import MemoryStore
from tests.unit.contracts.making import CABINET, DOSSIER, document
from tests.unit.intake.making import (
    ACCOUNT,
    World,
    a_member,
    created,
    message,
    raw,
    redeemed,
    removed,
    requested,
    signed_in,
)
from tests.unit.lifecycle.making import NOW, later


class Pauses:
    """What would have been slept, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._another = asyncio.Event()

    def note(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._another.set()

    async def reached(self, count: int) -> None:
        """Return when there were as many."""
        while len(self.seconds) < count:
            self._another.clear()
            await self._another.wait()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """Pauses take a turn of the loop."""
    turn, noted = asyncio.sleep, Pauses()

    async def sleep(seconds: float) -> None:
        noted.note(seconds)
        await turn(0)

    monkeypatch.setattr("invitation.intake.events.asyncio.sleep", sleep)
    return noted


async def test_with_a_place_free_a_new_member_is_claimed_in_the_same_save_and_sent() -> None:
    world, member = World(places=1), a_member()

    await world.told(created(member))

    invitation = await world.the(member)
    assert invitation.lease is not None
    assert [sending.id for sending in world.delivery.started] == [invitation.id]
    assert (world.delivery.places, world.woken) == (0, 0)


async def test_without_a_place_it_is_due_now_and_the_due_loop_is_told() -> None:
    world, member = World(places=0), a_member()

    await world.told(created(member))

    invitation = await world.the(member)
    assert (invitation.lease, invitation.due_at) == (None, NOW)
    assert (world.delivery.started, world.woken) == ([], 1)


async def test_while_the_provider_is_away_the_due_loop_is_left_to_its_own_looks() -> None:
    world, member = World(places=0), a_member()
    world.delivery.away = True

    await world.told(created(member))

    assert ((await world.the(member)).due_at, world.woken) == (NOW, 0)


async def test_a_member_who_is_not_to_be_invited_takes_no_place() -> None:
    world, member = World(places=1), a_member()

    await world.told(created(member, invite_by="none"))

    assert (world.delivery.places, world.delivery.started, world.woken) == (1, [], 0)
    assert (await world.the(member)).due_at is None


async def test_the_same_event_ten_times_at_once_is_one_invitation_and_one_send() -> None:
    world, member = World(places=20), a_member()

    await asyncio.gather(*(world.told(created(member)) for _ in range(10)))

    assert len(world.delivery.started) == 1
    assert world.delivery.places == 19
    assert (await world.the(member)).version == 2


async def test_the_place_is_given_back_when_the_database_is_away() -> None:
    class Away(MemoryStore):
        async def save(self, change: Change) -> None:
            raise DatabaseAway

    world = World(places=1, store=Away())

    with pytest.raises(Retry):
        await world.told(created(a_member()))
    assert world.delivery.places == 1


async def test_the_id_is_the_one_a_publisher_can_work_out() -> None:
    world, member = World(), a_member()

    await world.told(created(member, source="/payroll"))

    assert (await world.the(member, "/payroll")).id == invitation_id("/payroll", member)


async def test_the_same_member_of_two_sources_is_two_invitations() -> None:
    world, member = World(), a_member()

    await world.told(created(member))
    await world.told(created(member, source="/payroll"))

    assert (await world.the(member)).id != (await world.the(member, "/payroll")).id


async def test_the_correlation_id_is_kept_for_what_follows() -> None:
    world, member = World(), a_member()

    await world.told(created(member, correlation_id="c-42"))

    assert (await world.the(member)).correlation_id == "c-42"


async def test_an_address_is_normalised_before_it_is_compared() -> None:
    world, member = World(), a_member()

    await world.told(created(member, who={"email": "Jeanne@EXAMPLE.com"}))

    invitee = (await world.the(member)).invitee
    assert isinstance(invitee, Invitee)
    assert (invitee.email, invitee.email_key) == ("Jeanne@example.com", "jeanne@example.com")


async def test_an_address_that_cannot_exist_is_refused() -> None:
    with pytest.raises(BadEmail):
        await World().told(created(a_member(), who={"email": "jeanne@nowhere"}))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_removal_before_or_after_the_creation_leaves_no_usable_link(order: tuple[int, int]) -> None:
    world, member = World(), a_member()
    events = [created(member), removed(member)]

    for number in order:
        await world.told(events[number])

    invitation = await world.the(member)
    assert (invitation.state, invitation.due_at) == (State.REVOKED, None)
    assert invitation.link_state(1, NOW) == "over"


async def test_a_removal_at_the_same_moment_leaves_no_usable_link() -> None:
    world, member = World(places=1), a_member()

    await asyncio.gather(world.told(created(member)), world.told(removed(member)))

    assert (await world.the(member)).state is State.REVOKED


async def test_a_member_removed_and_added_again_is_invited_anew() -> None:
    world, member = World(places=2), a_member()

    for event in (created(member), removed(member), created(member, sequence=3)):
        await world.told(event)

    invitation = await world.the(member)
    assert (invitation.state, invitation.link_sequence) == (State.PENDING, 2)
    assert len(world.delivery.started) == 2


async def test_a_new_address_wakes_the_due_loop() -> None:
    world, member = World(), a_member()
    await world.told(created(member))
    woken = world.woken

    await world.told(created(member, short="user.updated", sequence=2, who={"email": "j@example.com"}))

    assert (await world.the(member)).link_sequence == 2
    assert world.woken == woken + 1


async def test_a_redemption_and_a_sign_in_make_it_active() -> None:
    world, member = World(), a_member()
    await world.told(created(member))
    id = (await world.the(member)).id

    await world.told(redeemed(id))
    assert (await world.the(member)).state is State.PASSWORD_SET
    await world.told(signed_in(id))

    invitation = await world.the(member)
    assert (invitation.state, invitation.credential) == (State.ACTIVE, "new")


@pytest.mark.parametrize(
    "event",
    [
        redeemed("7b6a5948-3726-4150-b1c2-d3e4f5061755", source="/payroll"),
        signed_in("7b6a5948-3726-4150-b1c2-d3e4f5061755", source="/payroll"),
        message("cabinet.updated", CABINET, {"id": CABINET, "name": "x"}, source="/payroll"),
        message("dossier.updated", DOSSIER, {"id": DOSSIER, "cabinet_id": CABINET, "name": "x"}, source="/payroll"),
    ],
)
async def test_what_the_directory_alone_may_say_is_refused_from_others(event) -> None:
    with pytest.raises(ForeignSource):
        await World().told(event)


async def test_names_are_learned_and_the_newest_counts() -> None:
    world, member = World(), a_member()
    await world.told(created(member))
    invitee = (await world.the(member)).invitee
    assert invitee is not None
    cabinet, dossier = invitee.cabinet_id, invitee.dossier_id
    for sequence, name in ((2, "Newer"), (1, "Older")):
        await world.told(message("cabinet.updated", cabinet, {"id": cabinet, "name": name}, sequence=sequence))
        await world.told(
            message("dossier.updated", dossier, {"id": dossier, "cabinet_id": cabinet, "name": name}, sequence=sequence)
        )

    names = await world.store.names(invitee)

    assert (names.cabinet, names.dossier) == ("Newer", "Newer")


async def test_what_people_did_counts_for_the_life_whose_link_they_used_whatever_the_clocks_say() -> None:
    world, member = World(), a_member()
    id = invitation_id(DIRECTORY_SOURCE, member)

    async def told_of_sign_in(link: int, at: datetime) -> State:
        data = {"account_id": ACCOUNT, "invitation_ids": [id], "link_sequences": {id: link}}
        await world.told(message("account.signed_in", ACCOUNT, data, sequence=None, id=f"{link} {at}", at=at))
        return (await world.the(member)).state

    await world.told(created(member))
    await world.told(removed(member))
    world.now = later(hours=1)
    await world.told(created(member, sequence=3))
    link = (await world.the(member)).link_sequence

    assert link > 1
    assert await told_of_sign_in(1, later(hours=2)) is State.PENDING
    assert await told_of_sign_in(link, later(minutes=59)) is State.ACTIVE


# --- requests ----------------------------------------------------------------------------------------------------


async def test_a_request_to_resend_makes_the_next_link_once_per_event() -> None:
    world, member = World(), a_member()
    await world.told(created(member))
    id = (await world.the(member)).id
    request = requested("resend", id, id="request-1", data={"reason": "asked by phone"})

    for _ in range(3):
        await world.told(request)

    assert (await world.the(member)).link_sequence == 2
    last = (await world.store.history(id))[-1]
    assert (last.trigger, last.actor, last.detail) == ("resend", "event:/ops", {"reason": "asked by phone"})


async def test_a_request_to_revoke_ends_the_link() -> None:
    world, member = World(), a_member()
    await world.told(created(member))

    await world.told(requested("revoke", (await world.the(member)).id, id="request-1"))

    assert (await world.the(member)).state is State.REVOKED


async def test_a_resend_by_sms_needs_a_mobile() -> None:
    world, member = World(), a_member()
    await world.told(created(member, who={"phone": "+33142685300"}))

    with pytest.raises(NoMobile):
        await world.told(requested("resend", (await world.the(member)).id, data={"channel": "sms"}))


async def test_a_resend_by_sms_needs_a_phone() -> None:
    world, member = World(), a_member()
    await world.told(created(member))

    with pytest.raises(NoPhone):
        await world.told(requested("resend", (await world.the(member)).id, data={"channel": "sms"}))


async def test_many_requests_for_one_invitation_at_once_all_count() -> None:
    world, member = World(), a_member()
    await world.told(created(member))
    id = (await world.the(member)).id

    results = await asyncio.gather(
        *(world.told(requested("resend", id, id=f"request-{number}")) for number in range(100)),
        return_exceptions=True,
    )

    failures = [result for result in results if result is not None]
    # Who loses too many races has to come back later: it is no fault of the message, so it must not be parked.
    assert all(isinstance(failure, Retry) for failure in failures)
    assert (await world.the(member)).link_sequence == 101 - len(failures)


async def test_a_request_that_overtook_the_creation_waits_for_it(pauses: Pauses) -> None:
    world, member = World(), a_member()
    waiting = asyncio.create_task(world.told(requested("revoke", invitation_id("/convive/directory", member))))
    await pauses.reached(1)

    await world.told(created(member))
    await waiting

    assert (await world.the(member)).state is State.REVOKED


async def test_a_request_for_an_invitation_that_is_only_held_waits_for_its_creation(pauses: Pauses) -> None:
    world, member = World(), a_member()
    await world.told(created(member, short="user.updated", sequence=2))
    waiting = asyncio.create_task(world.told(requested("resend", invitation_id("/convive/directory", member))))
    await pauses.reached(2)
    assert (await world.the(member)).send_at is None

    await world.told(created(member))
    await waiting

    assert (await world.the(member)).link_sequence == 2


async def test_what_is_unknown_after_some_tries_is_set_aside(pauses: Pauses) -> None:
    with pytest.raises(NotKnownYet) as unknown:
        await World().told(requested("revoke", a_member()))
    assert unknown.value.waits
    assert 2 <= sum(pauses.seconds) <= 5


async def test_what_was_set_aside_is_tried_once_more_and_counts_once_it_is_known(pauses: Pauses) -> None:
    world, member = World(), a_member()
    request = requested("revoke", invitation_id("/convive/directory", member))
    with pytest.raises(NotKnownYet):
        await world.intake.handle(request, waits_since=NOW)
    assert not any(pauses.seconds), "at once"

    await world.told(created(member))
    assert await world.intake.handle(request, waits_since=NOW)
    assert (await world.the(member)).state is State.REVOKED


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=365_000)])
async def test_an_unknown_invitation_is_given_up_after_ten_minutes_whatever_the_time_of_the_request(
    pauses: Pauses, ahead: timedelta
) -> None:
    world = World()
    request = requested("revoke", a_member(), at=NOW + ahead)
    world.now = later(minutes=9, seconds=59)
    with pytest.raises(NotKnownYet):
        await world.intake.handle(request, waits_since=NOW)

    world.now = later(minutes=10, seconds=1)
    with pytest.raises(UnknownInvitation) as given_up:
        await world.intake.handle(request, waits_since=NOW)
    assert not given_up.value.waits


async def test_an_old_request_for_an_unknown_invitation_is_refused_soon(pauses: Pauses) -> None:
    with pytest.raises(UnknownInvitation):
        await World().told(requested("revoke", a_member(), at=NOW - timedelta(hours=1)))
    assert sum(pauses.seconds) <= 3


async def test_an_old_request_that_an_outage_brought_together_with_the_creation_waits_for_it(
    pauses: Pauses,
) -> None:
    world, member = World(), a_member()
    old = requested("revoke", invitation_id("/convive/directory", member), at=NOW - timedelta(hours=1))
    waiting = asyncio.create_task(world.told(old))
    await pauses.reached(1)

    await world.told(created(member))
    await waiting

    assert (await world.the(member)).state is State.REVOKED


async def test_requests_for_unknown_invitations_do_not_fill_the_whole_prefetch(pauses: Pauses) -> None:
    world = World()
    old = NOW - timedelta(hours=1)
    waiting = [
        asyncio.create_task(world.told(requested("revoke", a_member(), at=old))) for _ in range(MOST_WAITING + 10)
    ]

    ends = await asyncio.gather(*waiting, return_exceptions=True)

    # However old: the last ten have not been looked for often enough to be given up.
    assert Counter(type(end) for end in ends) == {UnknownInvitation: MOST_WAITING, NotKnownYet: 10}


# --- what is no event of ours ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not json", Malformed),
        (document({"member": 1}), Malformed),
        (document(type="convive.user.vanished.v1"), UnknownType),
    ],
)
async def test_what_is_no_event_is_refused_with_its_reason(body, error: type[Exception]) -> None:
    with pytest.raises(error):
        await World().told(raw(body))


async def test_an_event_that_is_not_for_the_invitation_service_is_refused() -> None:
    data = {
        "invitation_id": a_member(),
        "member_id": a_member(),
        "dossier_id": a_member(),
        "cabinet_id": a_member(),
        "state": "sent",
        "version": 1,
        "channel": "email",
        "link_sequence": 1,
        "send_sequence": 1,
    }

    with pytest.raises(Reject, match=r"invitation\.sent"):
        await World().told(message("invitation.sent", a_member(), data))


async def test_replaying_everything_changes_nothing_and_sends_nothing() -> None:
    world, member = World(places=10), a_member()
    id = invitation_id("/convive/directory", member)
    life = [
        created(member),
        created(member, short="user.updated", sequence=2, who={"email": "j@example.com"}),
        requested("resend", id, id="request-1"),
        redeemed(id),
        signed_in(id, sequence=2),
        removed(member, sequence=3),
    ]
    for event in life:
        await world.told(event)
    before, sent = await world.the(member), len(world.delivery.started)

    for event in life:
        await world.told(event)

    after = await world.the(member)
    assert (after.state, after.link_sequence, after.send_sequence) == (
        before.state,
        before.link_sequence,
        before.send_sequence,
    )
    assert len(world.delivery.started) == sent
