"""What providers say of a send after they took it: repeatable, in any order."""

from __future__ import annotations

from itertools import permutations

import pytest

from invitation.lifecycle.records import Receipt
from invitation.lifecycle.states import State
from tests.unit.lifecycle.making import (
    POLICY,
    a_cause,
    an_event,
    an_invitation,
    an_invitee,
    done,
    facts_of,
    later,
    steps_of,
    told,
)

DELIVERED, BOUNCED = Receipt("delivered", 1), Receipt("bounced", 1, "unknown_address")


def names(change) -> list[str]:
    return [name for name, _ in facts_of(change)]


def test_a_delivery_is_told_and_moves_nothing() -> None:
    change = an_invitation(State.SENT).receipt(DELIVERED, an_event(), POLICY)

    assert steps_of(change) == [("delivered", "sent", "sent")]
    assert names(change) == ["delivered"]


@pytest.mark.parametrize("state", [State.PENDING, State.SENT])
def test_what_bounced_has_failed_for_the_reason_that_was_given(state: State) -> None:
    change = an_invitation(state).receipt(BOUNCED, an_event(), POLICY)

    assert done(change).state is State.FAILED
    assert done(change).reason == "unknown_address"
    assert (done(change).send_at, done(change).due_at) == (None, None)
    assert names(change) == ["bounced", "failed"]


@pytest.mark.parametrize("state", sorted(set(State) - {State.PENDING, State.SENT}))
def test_elsewhere_a_bounce_is_told_and_moves_nothing(state: State) -> None:
    change = an_invitation(state).receipt(BOUNCED, an_event(), POLICY)

    assert done(change).state is state
    assert names(change) == ["bounced"]


def test_why_it_bounced_is_shown_of_an_opened_invitation_too() -> None:
    assert done(an_invitation(State.OPENED).receipt(BOUNCED, an_event(), POLICY)).reason == "unknown_address"


def test_why_a_link_was_revoked_is_not_overwritten_by_a_bounce() -> None:
    assert done(an_invitation(State.REVOKED).receipt(BOUNCED, an_event(), POLICY)).reason == "requested"


def test_the_same_receipt_again_changes_nothing() -> None:
    told = an_event()
    after = done(an_invitation(State.SENT).receipt(DELIVERED, told, POLICY))

    assert after.receipt(DELIVERED, told, POLICY) is None


def test_each_send_is_told_to_be_delivered_once_whatever_parts_it_came_in() -> None:
    after = done(an_invitation(State.SENT).receipt(DELIVERED, an_event(), POLICY))

    assert names(after.receipt(DELIVERED, an_event(), POLICY)) == []


@pytest.mark.parametrize("order", list(permutations([DELIVERED, BOUNCED, DELIVERED])))
def test_one_part_that_arrived_does_not_hide_one_that_did_not(order) -> None:
    invitation = an_invitation(State.SENT)
    for receipt in order:
        invitation = done(invitation.receipt(receipt, an_event(), POLICY))

    assert invitation.state is State.FAILED
    assert invitation.received == "bounced"


def test_a_receipt_of_an_older_send_is_history() -> None:
    renewed = done(an_invitation(State.SENT).renewed(a_cause(later(days=1)), POLICY))

    change = renewed.receipt(BOUNCED, an_event(later(days=1)), POLICY)

    assert steps_of(change) == [("bounced", "sent", "sent")]
    assert names(change) == []
    assert done(change).send_at == renewed.send_at


def test_what_is_said_of_the_send_before_a_removal_does_not_concern_the_next_life() -> None:
    removed = done(an_invitation(State.SENT).was_removed(told(2), an_event()))
    again = done(removed.created(an_invitee(), "none", told(3), an_event(), POLICY))

    change = again.receipt(BOUNCED, an_event(), POLICY)

    assert (done(change).state, names(change)) == (State.PENDING, [])


def test_the_details_of_a_receipt_are_kept_in_the_history() -> None:
    change = an_invitation(State.SENT).receipt(
        Receipt("bounced", 1, "unknown_address", {"status": "5.1.1"}), an_event(), POLICY
    )

    assert change is not None
    assert change.steps[0].detail == {"send": 1, "reason": "unknown_address", "status": "5.1.1"}
