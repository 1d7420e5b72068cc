"""What publishers say of a member: once, in any order, with and without a sequence."""

from __future__ import annotations

from itertools import permutations

import pytest

from invitation.lifecycle.draft import REMEMBERED_EVENTS
from invitation.lifecycle.invitation import Channel, Invitation
from invitation.lifecycle.states import State
from tests.unit.lifecycle.making import (
    NOW,
    POLICY,
    a_blank,
    a_cause,
    a_pending,
    an_event,
    an_invitation,
    an_invitee,
    done,
    facts_of,
    later,
    steps_of,
    told,
)


def created(invitation: Invitation, sequence: int | None = 1, *, at=NOW, by: Channel = "email", cause=None, **who: str):
    cause = cause or an_event(at)
    return invitation.created(an_invitee(**who), by, told(sequence, at), cause, POLICY)


def updated(invitation: Invitation, sequence: int | None = 2, *, at=NOW, cause=None, **who: str):
    return invitation.details_changed(an_invitee(**who), told(sequence, at), cause or an_event(at), POLICY)


def removed(invitation: Invitation, sequence: int | None = 2, *, at=NOW, cause=None):
    return invitation.was_removed(told(sequence, at), cause or an_event(at))


def test_a_created_member_is_due_to_be_sent_a_first_link_at_once() -> None:
    invitation = a_pending()

    assert (invitation.state, invitation.link_sequence, invitation.send_sequence) == (State.PENDING, 1, 1)
    assert invitation.due_at == invitation.send_at == NOW
    assert invitation.expires_at == later(days=14)


def test_a_member_created_with_none_waits_with_nothing_due() -> None:
    invitation = a_pending("none")

    assert invitation.announced
    assert (invitation.due_at, invitation.send_at, invitation.expires_at) == (None, None, None)
    assert (invitation.link_sequence, invitation.send_sequence) == (0, 0)


def test_a_member_created_with_none_is_invited_by_a_resend() -> None:
    invitation = done(a_pending("none").resent("email", an_event(), POLICY))

    assert (invitation.channel, invitation.link_sequence, invitation.due_at) == ("email", 1, NOW)


def test_the_same_event_again_changes_nothing() -> None:
    cause = an_event()
    invitation = done(created(a_blank(), cause=cause))

    assert created(invitation, cause=cause) is None


def test_the_same_fact_under_another_event_id_changes_nothing() -> None:
    assert created(a_pending(), 1) is None


def test_an_event_id_counts_once_whatever_it_tells() -> None:
    cause = an_event()
    invitation = done(a_pending().resent(None, cause, POLICY))

    assert invitation.resent(None, cause, POLICY) is None
    assert invitation.revoked("requested", cause) is None
    assert updated(invitation, 5, cause=cause) is None
    assert removed(invitation, 5, cause=cause) is None


def test_the_ids_of_the_last_events_are_remembered_and_no_more() -> None:
    invitation = a_pending()
    for number in range(2, REMEMBERED_EVENTS + 10):
        invitation = done(updated(invitation, number, first_name=f"Jeanne {number}"))

    assert len(invitation.handled) == REMEMBERED_EVENTS


def test_created_again_with_newer_details_while_alive_is_an_update() -> None:
    change = created(a_pending(), 2, first_name="Jeannette")

    assert done(change).invitee == an_invitee(first_name="Jeannette")
    assert done(change).link_sequence == 1


def test_an_older_update_does_not_override_a_newer_one() -> None:
    invitation = done(updated(a_pending(), 3, first_name="Newer"))

    assert updated(invitation, 2, first_name="Older") is None


def test_without_a_sequence_the_time_decides() -> None:
    invitation = done(updated(a_pending(sequence=None), None, at=later(seconds=2), first_name="Newer"))

    assert updated(invitation, None, at=later(seconds=1), first_name="Older") is None
    assert updated(invitation, None, at=later(seconds=3), first_name="Newest") is not None


def test_an_update_that_says_nothing_new_leaves_no_step() -> None:
    assert steps_of(updated(a_pending(), 2)) == []


@pytest.mark.parametrize("state", ["sent", "opened", "failed", "expired", "declined"])
def test_a_new_address_gets_a_new_link(state: str) -> None:
    invitation = an_invitation(State(state))

    after = done(updated(invitation, 2, at=later(days=15), email="j.martin@example.com"))

    assert (after.state, after.link_sequence, after.send_at) == (State.PENDING, 2, later(days=15))
    assert after.link_state(1, later(days=15)) == "superseded"


@pytest.mark.parametrize("state", ["password_set", "active", "revoked"])
def test_a_new_address_is_kept_without_a_link_where_none_is_needed(state: str) -> None:
    invitation = an_invitation(State(state))

    after = done(updated(invitation, 2, email="j.martin@example.com"))

    assert (after.state, after.link_sequence, after.send_at) == (State(state), 1, None)
    assert after.invitee is not None
    assert after.invitee.email == "j.martin@example.com"


def test_a_new_phone_matters_only_to_an_invitation_by_sms() -> None:
    by_mail = done(updated(a_pending(), 2, phone="+33700000000"))
    by_sms = done(updated(a_pending("sms"), 2, phone="+33700000000"))

    assert (by_mail.link_sequence, by_sms.link_sequence) == (1, 2)


def test_a_new_address_of_someone_who_is_not_to_be_invited_sends_nothing() -> None:
    again = done(created(done(removed(a_pending())), 3, by="none"))

    after = done(updated(again, 4, email="j.martin@example.com"))

    assert (after.send_at, after.due_at) == (None, None)


def test_an_update_that_comes_first_is_held_and_sends_nothing() -> None:
    change = updated(a_blank(), 2, first_name="Newer")

    assert done(change).due_at is None
    assert not done(change).announced
    assert facts_of(change) == []


def test_what_a_held_update_said_outlives_the_older_creation() -> None:
    held = done(updated(a_blank(), 2, first_name="Newer"))

    invitation = done(created(held, 1, first_name="Older"))

    assert invitation.invitee == an_invitee(first_name="Newer")
    assert (invitation.send_at, invitation.link_sequence) == (NOW, 1)


def test_what_was_revoked_while_it_was_held_gets_no_link_from_the_late_creation() -> None:
    held = done(updated(a_blank(), 2))
    revoked = done(held.revoked("requested", an_event()))

    after = done(created(revoked, 1))

    assert (after.state, after.send_at, after.due_at, after.link_sequence) == (State.REVOKED, None, None, 0)


def test_what_was_resent_while_it_was_held_is_not_sent_when_the_creation_says_none() -> None:
    held = done(updated(a_blank(), 2))
    resent = done(held.resent(None, an_event(), POLICY))

    after = done(created(resent, 1, by="none"))

    assert (after.channel, after.send_at, after.due_at) == ("none", None, None)
    assert after.link_state(1, NOW) == "over"


@pytest.mark.parametrize("state", [state for state in State if state is not State.ACTIVE])
def test_no_link_works_after_a_removal(state: State) -> None:
    invitation = an_invitation(state)

    after = done(removed(invitation))

    assert after.state is State.REVOKED
    assert after.link_state(1, NOW) == "over"
    assert (after.due_at, after.send_at, after.lease) == (None, None, None)


def test_the_removal_of_an_active_member_leaves_the_invitation_active() -> None:
    assert done(removed(an_invitation(State.ACTIVE))).state is State.ACTIVE


def test_a_removal_that_comes_first_is_a_tombstone_that_tells_nobody() -> None:
    change = removed(a_blank())

    assert (done(change).state, done(change).removed) == (State.REVOKED, True)
    assert facts_of(change) == []


@pytest.mark.parametrize(("first", "second"), [((1, NOW), (2, NOW)), ((None, NOW), (None, later(seconds=1)))])
def test_a_creation_that_comes_after_its_removal_stays_removed(first, second) -> None:
    tombstone = done(removed(a_blank(), second[0], at=second[1]))

    after = done(created(tombstone, first[0], at=first[1]))

    assert (after.state, after.send_at, after.due_at) == (State.REVOKED, None, None)


def test_a_creation_of_the_same_moment_as_the_removal_stays_removed() -> None:
    tombstone = done(removed(a_blank(), None))

    assert done(created(tombstone, None)).state is State.REVOKED


def test_an_older_removal_does_not_end_what_was_added_since() -> None:
    invitation = a_pending(sequence=3)

    after = done(removed(invitation, 2))

    assert (after.state, after.removed) == (State.PENDING, False)


def test_a_member_added_again_gets_a_new_link_and_the_old_one_stays_dead() -> None:
    gone = done(removed(an_invitation(State.OPENED)))

    after = done(created(gone, 3, at=later(hours=1)))

    assert (after.state, after.link_sequence, after.send_sequence) == (State.PENDING, 2, 2)
    assert after.link_state(1, later(hours=1)) == "superseded"
    assert (after.removed, after.reason, after.due_at) == (False, None, later(hours=1))


def test_a_member_added_again_with_none_does_not_bring_the_old_link_back_to_life() -> None:
    gone = done(removed(an_invitation(State.SENT)))

    after = done(created(gone, 3, by="none"))

    assert after.link_state(1, NOW) != "alive"
    assert (after.state, after.due_at, after.expires_at) == (State.PENDING, None, None)


def test_a_member_who_was_active_can_be_added_again() -> None:
    gone = done(removed(an_invitation(State.ACTIVE)))

    after = done(created(gone, 3))

    assert (after.state, after.link_sequence) == (State.PENDING, 2)
    assert (after.account_id, after.credential) == (None, None)


def test_an_update_of_someone_added_again_does_not_hide_the_adding() -> None:
    gone = done(removed(a_pending(), 2))
    ahead = done(updated(gone, 4, first_name="Newest"))

    after = done(created(ahead, 3, first_name="Newer"))

    assert (after.state, after.link_sequence) == (State.PENDING, 2)
    assert after.invitee == an_invitee(first_name="Newest")


def test_an_update_of_the_removed_does_not_bring_them_back() -> None:
    gone = done(removed(a_pending(), 3))

    after = updated(gone, 2)

    assert after is None
    assert done(updated(gone, 4)).state is State.REVOKED


LIFE = {
    1: lambda i: created(i, 1),
    2: lambda i: updated(i, 2, first_name="Second"),
    3: lambda i: removed(i, 3),
    4: lambda i: created(i, 4, first_name="Fourth"),
    5: lambda i: updated(i, 5, first_name="Fifth"),
}


@pytest.mark.parametrize("order", list(permutations(LIFE)))
def test_in_whatever_order_a_life_is_told_it_ends_the_same(order: tuple[int, ...]) -> None:
    invitation = a_blank()
    for number in order:
        change = LIFE[number](invitation)
        invitation = invitation if change is None else change.after

    assert invitation.state is State.PENDING
    assert invitation.invitee == an_invitee(first_name="Fifth")
    assert not invitation.removed
    assert invitation.send_at is not None


@pytest.mark.parametrize("order", list(permutations([1, 2, 3])))
def test_in_whatever_order_a_removed_life_is_told_no_link_works(order: tuple[int, ...]) -> None:
    invitation = a_blank()
    for number in order:
        change = LIFE[number](invitation)
        invitation = invitation if change is None else change.after

    assert invitation.state is State.REVOKED
    assert invitation.due_at is None


def test_a_revocation_by_request_keeps_its_reason_when_the_removal_follows() -> None:
    revoked = done(a_pending().revoked("requested", a_cause()))

    assert done(removed(revoked)).reason == "requested"
