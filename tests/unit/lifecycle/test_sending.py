"""Claims, outcomes, retries and the expiry."""

from __future__ import annotations

from datetime import timedelta

import pytest

from invitation.lifecycle.invitation import Lease, then
from invitation.lifecycle.schedule import Policy, next_due
from invitation.lifecycle.states import State
from tests.unit.lifecycle.making import (
    NOW,
    POLICY,
    a_cause,
    a_claimed,
    a_pending,
    an_event,
    an_invitation,
    changed,
    done,
    facts_of,
    later,
    steps_of,
)


def refused(invitation, *, send=None, reason="451 later", at=NOW, for_good=False, policy=POLICY):
    send = send or (invitation.send_sequence, invitation.attempt)
    return invitation.refused(send, reason, a_cause(at), policy, for_good=for_good)


def the_lease(invitation) -> Lease:
    assert invitation.lease is not None
    return invitation.lease


def test_a_claim_holds_the_send_until_the_lease_ends() -> None:
    invitation = a_claimed("worker-1")

    assert invitation.lease == Lease("worker-1", NOW + POLICY.lease)
    assert invitation.due_at == NOW + POLICY.lease
    assert not invitation.wants_sending(later(seconds=59))
    assert invitation.wants_sending(later(seconds=60))


def test_a_claim_is_no_step_and_tells_nobody() -> None:
    change = a_pending().claimed("worker-1", NOW, POLICY)

    assert (change.steps, change.facts) == ((), ())
    assert change.after.version == a_pending().version + 1


def test_creation_and_claim_are_one_save_of_a_new_invitation() -> None:
    pending = a_pending("none").resent("email", an_event(), POLICY)
    assert pending is not None

    both = then(pending, pending.after.claimed("worker-1", NOW, POLICY))

    assert both.seen == pending.seen
    assert both.after.version == pending.after.version + 1
    assert both.steps == pending.steps


def test_what_the_provider_took_is_sent() -> None:
    change = a_claimed().accepted(1, a_cause(), POLICY)

    assert steps_of(change) == [("accepted", "pending", "sent")]
    assert facts_of(change) == [("sent", change.after.version)]
    assert (change.after.send_at, change.after.lease) == (None, None)
    assert change.after.due_at == later(days=2), "the first reminder"


def test_an_acceptance_of_an_older_send_is_history() -> None:
    resent = done(a_claimed().resent(None, an_event(), POLICY))

    change = resent.accepted(1, a_cause(), POLICY)

    assert change.after.state is State.PENDING
    assert change.after.send_at == resent.send_at
    assert facts_of(change) == []
    assert change.steps[0].detail == {"of_send": 1}


@pytest.mark.parametrize("state", [state for state in State if state is not State.PENDING])
@pytest.mark.parametrize("for_good", [True, False])
def test_a_refusal_of_an_older_send_never_changes_the_state(state: State, for_good: bool) -> None:
    invitation = changed(an_invitation(state), send_sequence=2, attempt=1)

    change = refused(invitation, send=(1, 1), for_good=for_good)

    assert (change.after.state, change.after.reason, change.after.due_at) == (
        state,
        invitation.reason,
        invitation.due_at,
    )


def test_an_outcome_that_comes_after_the_person_opened_the_link_is_history() -> None:
    opened = a_claimed().opened(a_cause(), POLICY).after

    assert opened.accepted(1, a_cause(), POLICY).after.state is State.OPENED
    assert refused(opened, for_good=True).after.state is State.OPENED
    assert refused(opened).after.send_at is None


@pytest.mark.parametrize("state", ["revoked", "declined", "expired", "active"])
def test_an_acceptance_that_comes_too_late_is_history(state: str) -> None:
    invitation = an_invitation(State(state))

    assert invitation.accepted(1, a_cause(), POLICY).after.state is State(state)


def test_a_refusal_for_now_is_tried_again_after_a_pause() -> None:
    change = refused(a_claimed())

    assert steps_of(change) == [("deferred", "pending", "pending")]
    assert change.after.lease is None
    assert change.after.send_at == change.after.due_at
    assert change.after.due_at is not None
    assert NOW < change.after.due_at <= NOW + POLICY.first_backoff
    assert change.after.reason == "451 later"


def test_a_refusal_for_good_is_failed_with_its_reason() -> None:
    change = refused(a_claimed(), reason="550 no such user", for_good=True)

    assert (change.after.state, change.after.reason, change.after.due_at) == (State.FAILED, "550 no such user", None)
    assert facts_of(change) == [("failed", change.after.version)]


def test_the_last_attempt_gives_up() -> None:
    policy = Policy(most_attempts=3)
    invitation = a_pending()
    for attempt in (1, 2, 3):
        invitation = refused(invitation.claimed("worker-1", NOW, policy).after, policy=policy).after
        assert (invitation.state is State.FAILED) == (attempt == 3)


def test_the_failure_of_an_attempt_that_lost_its_lease_is_history() -> None:
    first = a_claimed("worker-1")
    second = first.claimed("worker-2", later(seconds=61), POLICY).after

    change = refused(second, send=(1, first.attempt), for_good=True)

    assert change.after.state is State.PENDING
    assert change.after.lease == second.lease


def test_the_acceptance_of_an_attempt_that_lost_its_lease_counts_for_the_person_has_the_mail() -> None:
    second = a_claimed("worker-1").claimed("worker-2", later(seconds=61), POLICY).after

    assert second.accepted(1, a_cause(), POLICY).after.state is State.SENT


def test_a_second_acceptance_of_one_send_is_history() -> None:
    sent = a_claimed().accepted(1, a_cause(), POLICY).after

    change = sent.accepted(1, a_cause(), POLICY)

    assert (change.after.state, facts_of(change)) == (State.SENT, [])


def test_a_deferral_leaves_no_reason_once_the_send_was_taken() -> None:
    sent = an_invitation(State.SENT).renewed(a_cause(), POLICY)
    deferred = refused(done(sent).claimed("worker-1", NOW, POLICY).after).after

    assert deferred.reason == "451 later"
    assert deferred.accepted(2, a_cause(), POLICY).after.reason is None


def test_a_released_claim_does_not_count_as_an_attempt() -> None:
    invitation = a_claimed()

    after = done(invitation.released((1, 1), the_lease(invitation), later(seconds=5), a_cause()))

    assert (after.attempt, after.lease, after.due_at) == (0, None, later(seconds=5))


def test_a_claim_that_somebody_else_holds_by_now_is_not_released() -> None:
    first = a_claimed("worker-1")
    second = first.claimed("worker-2", later(seconds=61), POLICY).after

    assert second.released((1, first.attempt), the_lease(first), later(seconds=62), a_cause()) is None


def test_a_release_told_again_does_not_release_the_next_claim_of_the_same_number() -> None:
    first = a_claimed("worker-1")
    released = done(first.released((1, 1), the_lease(first), NOW, a_cause()))
    second = released.claimed("worker-2", NOW, POLICY).after

    assert (second.send_sequence, second.attempt) == (1, 1)
    assert second.released((1, 1), the_lease(first), later(seconds=1), a_cause()) is None


def test_a_link_whose_life_is_over_expires_instead_of_being_sent() -> None:
    invitation = a_pending()

    assert not invitation.wants_sending(later(days=14))
    after = done(invitation.came_due(a_cause(later(days=14)), POLICY))
    assert (after.state, after.reason, after.due_at) == (State.EXPIRED, "never_sent", None)


def test_a_lease_that_ran_out_on_a_link_that_expired_meanwhile_expires_it() -> None:
    claimed = a_claimed(at=later(days=14, seconds=-1))

    assert done(claimed.came_due(a_cause(later(days=14, seconds=60)), POLICY)).state is State.EXPIRED


@pytest.mark.parametrize("state", ["failed", "revoked", "declined", "password_set", "active", "expired"])
def test_what_is_over_or_failed_is_never_due(state: str) -> None:
    assert an_invitation(State(state)).due_at is None


def test_backoff_doubles_up_to_its_limit_with_half_of_it_left_to_chance() -> None:
    shortest = [POLICY.backoff(attempt, lambda: 0.0) for attempt in (1, 2, 3)]
    longest = [POLICY.backoff(attempt, lambda: 1.0) for attempt in (1, 2, 3)]

    assert shortest == [timedelta(seconds=7.5), timedelta(seconds=15), timedelta(seconds=30)]
    assert longest == [timedelta(seconds=15), timedelta(seconds=30), timedelta(seconds=60)]
    assert POLICY.backoff(10_000, lambda: 1.0) == POLICY.longest_backoff


def test_an_attempt_ends_within_a_third_of_its_lease() -> None:
    assert POLICY.attempt_deadline * 3 <= POLICY.lease


def test_due_is_whatever_comes_first() -> None:
    def due(state: State = State.PENDING, **at):
        return next_due(
            state=state, **{"lease_until": None, "send_at": None, "remind_at": None, "expires_at": None, **at}
        )

    assert due() is None
    assert due(lease_until=later(seconds=1), send_at=NOW, expires_at=NOW) == later(seconds=1)
    assert due(send_at=later(days=2), expires_at=later(days=1)) == later(days=1)
    assert due(send_at=later(days=1), expires_at=later(days=2)) == later(days=1)
    assert due(State.REVOKED, expires_at=later(days=1)) is None


def test_a_send_that_lost_every_lease_without_an_outcome_fails_in_the_end() -> None:
    invitation = a_pending()
    for attempt in range(POLICY.most_attempts):
        invitation = invitation.claimed("worker-1", later(minutes=2 * attempt), POLICY).after

    assert not invitation.has_attempts_left(POLICY)
    after = done(invitation.came_due(a_cause(later(hours=2)), POLICY))
    assert (after.state, after.reason, after.due_at) == (State.FAILED, "attempts_used_up", None)
