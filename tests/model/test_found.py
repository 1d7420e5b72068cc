"""What the model test has found, each as a plain test."""

from __future__ import annotations

from datetime import timedelta

from convive_contracts import invitation_id, new_event
from convive_contracts.envelope import Event
from convive_contracts.events import DIRECTORY_SOURCE, INVITATION_SOURCE
from invitation.intake.events import Replayed
from invitation.intake.rebuilding import Rebuilding
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.states import State
from invitation.store.memory import MemoryStore
from tests.model.scene import EMAILS, PASSWORDS, Scene
from tests.unit.contracts.making import CABINET, DOSSIER, MEMBER, user_data
from tests.unit.intake.making import ACCOUNT, World, created, redeemed, removed, signed_in
from tests.unit.lifecycle.making import NOW, POLICY

ID = invitation_id(DIRECTORY_SOURCE, MEMBER)
MARK = Replayed("replay-1", "ops", "the database was lost")


async def test_a_redemption_told_again_after_the_removal_changes_nothing() -> None:
    world = World()
    for message in (created(MEMBER), redeemed(ID), removed(MEMBER), redeemed(ID, id="told again")):
        await world.told(message)
    assert (await world.the(MEMBER)).state is State.REVOKED


async def test_an_existing_account_s_redemption_heals_from_its_event_as_active() -> None:
    # The page's answer was lost in a crash, and no sign-in is told of besides.
    world = World()
    await world.told(created(MEMBER))
    await world.told(redeemed(ID, "existing"))
    assert (await world.the(MEMBER)).state is State.ACTIVE


async def test_a_sign_in_before_the_new_life_began_here_does_not_count_in_it() -> None:
    # Added again at noon, told of it an hour later: what happened in between was still the old life.
    world = World()
    noon, hour = NOW, timedelta(hours=1)
    for minutes, message in (
        (0, created(MEMBER)),
        (0, removed(MEMBER, at=noon)),
        (60, created(MEMBER, sequence=3, at=noon)),
        (61, signed_in(ID, at=noon + hour / 2)),
    ):
        world.now = NOW + timedelta(minutes=minutes)
        await world.told(message)
    assert (await world.the(MEMBER)).state is State.PENDING


def test_extending_a_link_that_ran_out_before_it_was_sent_sends_it() -> None:
    scene = Scene(0)
    try:
        scene.world.mail_mode = "away"
        guest = scene.invite_foreign(EMAILS[0], in_order=True)
        scene.world.loop.run_for(15 * 60)
        scene.end_faults()
        scene.operate(scene.processes[0], guest, "extend")
        scene.rest()
        scene.check_at_rest()
        # Once with the extension, then as often as people are reminded.
        assert {mail.link_sequence for mail in scene.world.mails} == {1}
        assert [mail.send for mail in scene.world.mails] == [2, 3, 4]
    finally:
        scene.close()


async def rebuilt(*events: Event) -> Invitation:
    store = MemoryStore()
    rebuilding = Rebuilding(store, store, policy=POLICY, now=lambda: NOW)
    await rebuilding.fold(events, MARK)
    await rebuilding.fold(events, MARK, again=True)
    await rebuilding.arm(MARK)
    found = await store.load(ID)
    assert found is not None
    return found


def event(short: str, seconds: int, data: dict[str, object], *, subject: str = MEMBER, sequence: int = 1) -> Event:
    source = DIRECTORY_SOURCE if short.startswith(("user", "account")) else INVITATION_SOURCE
    if short.endswith("_requested"):
        source = "/ops"
    moment = NOW + timedelta(seconds=seconds)
    return new_event(
        short, source=source, subject=subject, data=data, id=f"{short}.{sequence}", time=moment, sequence=sequence
    )


def fact(state: str, seconds: int, version: int, link: int = 1) -> Event:
    data = {
        "invitation_id": ID,
        "member_id": MEMBER,
        "dossier_id": DOSSIER,
        "cabinet_id": CABINET,
        "state": state,
        "version": version,
        "channel": "email",
        "link_sequence": link,
        "send_sequence": link,
        "expires_at": (NOW + timedelta(days=14)).isoformat(),
    }
    return event(f"invitation.{state}", seconds, data, sequence=version)


REQUEST = event("invitation.resend_requested", 0, {"invitation_id": ID})
CREATED = event("user.created", 1, user_data())


async def test_a_rebuild_sends_nothing_for_a_resend_that_came_before_its_invitation_and_was_sent() -> None:
    invitation = await rebuilt(REQUEST, CREATED, fact("sent", 2, 3), fact("sent", 3, 6, link=2))
    assert (invitation.link_sequence, invitation.send_at) == (2, None)


async def test_nor_when_that_request_was_published_twice() -> None:
    invitation = await rebuilt(REQUEST, CREATED, fact("sent", 2, 3), fact("sent", 3, 6, link=2), REQUEST)
    assert (invitation.link_sequence, invitation.send_at) == (2, None)


async def test_a_rebuild_sends_what_was_asked_for_before_the_invitation_and_never_sent() -> None:
    assert (await rebuilt(REQUEST, CREATED)).send_at is not None


async def test_a_redemption_that_reached_the_log_after_its_revocation_does_not_undo_it() -> None:
    data: dict[str, object] = {"account_id": ACCOUNT, "invitation_id": ID, "credential": "new"}
    late = event("account.redeemed", 3, data, subject=ACCOUNT)
    invitation = await rebuilt(CREATED, fact("password_set", 4, 5), fact("revoked", 5, 6), late)
    assert invitation.state is State.REVOKED


REMOVED = event("user.removed", 2, user_data(), sequence=2)


async def test_a_sign_in_of_the_life_before_that_reached_the_log_late_does_not_count_in_the_new_one() -> None:
    again = event("user.created", 3, user_data(), sequence=3)
    data: dict[str, object] = {"account_id": ACCOUNT, "invitation_ids": [ID]}
    late = event("account.signed_in", 5, data, subject=ACCOUNT)
    invitation = await rebuilt(CREATED, REMOVED, again, fact("sent", 9, 9, link=2), late)
    assert invitation.state is State.SENT


async def test_a_redemption_that_came_through_a_removal_is_rebuilt_as_such() -> None:
    invitation = await rebuilt(CREATED, REMOVED, fact("revoked", 3, 4), fact("password_set", 4, 5))
    assert invitation.state is State.PASSWORD_SET


async def test_a_removal_whose_revocation_was_lost_is_carried_out_by_the_rebuild() -> None:
    invitation = await rebuilt(CREATED, REMOVED, fact("sent", 3, 3))
    assert invitation.state is State.REVOKED


def test_a_link_that_was_used_up_makes_no_account_for_an_address_named_later() -> None:
    scene = Scene(0)
    try:
        guest = scene.invite_foreign(EMAILS[0], in_order=True)
        scene.world.loop.run_for(1)
        link = scene.world.mails[0].link
        scene.person(scene.processes[0], link, "password", PASSWORDS[0])
        scene.world.loop.run_for(1)
        scene.say(guest, "updated", EMAILS[1])
        scene.world.loop.run_for(1)
        for what in ("password", "accept"):
            scene.person(scene.processes[0], link, what, PASSWORDS[1])
        scene.rest()
        scene.check_at_rest()
        assert scene.world.loop.run(scene.directory.rows.account(EMAILS[1])) is None
    finally:
        scene.close()
