"""What the invited person, operators and firms do with an invitation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from invitation.lifecycle.invitation import Change, Invitation
from invitation.lifecycle.states import State
from tests.unit.lifecycle.making import (
    NOW,
    POLICY,
    a_cause,
    a_claimed,
    a_pending,
    an_event,
    an_invitation,
    an_invitee,
    changed,
    done,
    facts_of,
    later,
    steps_of,
    told,
)

OVER = ["password_set", "active", "revoked", "declined"]


def test_a_second_click_keeps_the_invitation_opened_and_tells_nobody_again() -> None:
    opened = an_invitation(State.SENT).opened(a_cause(), POLICY).after

    change = opened.opened(a_cause(), POLICY)

    assert (change.after.state, facts_of(change)) == (State.OPENED, [])
    assert steps_of(change) == [("opened", "opened", "opened")]


def test_a_click_before_the_sending_was_noted_stops_the_sending() -> None:
    opened = a_claimed().opened(a_cause(), POLICY).after

    assert (opened.state, opened.lease, opened.send_at) == (State.OPENED, None, None)
    assert opened.due_at == later(days=2), "who has opened it is reminded"


def test_a_click_on_a_failed_invitation_proves_that_it_arrived() -> None:
    opened = an_invitation(State.FAILED).opened(a_cause(), POLICY).after

    assert (opened.state, opened.reason) == (State.OPENED, None)


@pytest.mark.parametrize(
    ("state", "steps", "facts"),
    [
        (
            "pending",
            [("pending", "sent"), ("sent", "opened"), ("opened", "password_set")],
            ["sent", "opened", "password_set"],
        ),
        ("sent", [("sent", "opened"), ("opened", "password_set")], ["opened", "password_set"]),
        ("opened", [("opened", "password_set")], ["password_set"]),
        ("failed", [("failed", "password_set")], ["password_set"]),
        ("expired", [("expired", "password_set")], ["password_set"]),
        ("revoked", [("revoked", "password_set")], ["password_set"]),
        ("declined", [("declined", "password_set")], ["password_set"]),
    ],
)
def test_a_redemption_records_the_steps_that_nobody_saw(state: str, steps: list, facts: list) -> None:
    invitation = an_invitation(State(state))

    change = invitation.redeemed("account-1", "new", a_cause())

    assert [(start, end) for _, start, end in steps_of(change)] == steps
    assert facts_of(change) == [(name, invitation.version + n) for n, name in enumerate(facts, start=1)]
    assert done(change).version == invitation.version + len(facts)
    assert change is not None
    assert [bool(step.detail) for step in change.steps] == [True] * (len(steps) - 1) + [False]


def test_a_redemption_told_again_changes_nothing() -> None:
    redeemed = an_invitation(State.PASSWORD_SET)

    assert redeemed.redeemed("account-1", "new", a_cause()) is None
    assert an_invitation(State.ACTIVE).redeemed("account-1", "new", a_cause()) is None


def test_an_existing_account_passes_through_password_set_and_active_in_one_save() -> None:
    sent = an_invitation(State.SENT)

    change = sent.redeemed("account-1", "existing", a_cause(), signed_in=True)

    assert [name for name, _ in facts_of(change)] == ["opened", "password_set", "active"]
    assert (done(change).state, done(change).version) == (State.ACTIVE, sent.version + 3)
    assert (done(change).account_id, done(change).credential) == ("account-1", "existing")


def test_a_redemption_by_someone_signed_in_completes_one_that_stopped_at_the_password() -> None:
    change = an_invitation(State.PASSWORD_SET).redeemed(None, "existing", a_cause(), signed_in=True)

    assert steps_of(change) == [("signed_in", "password_set", "active")]
    assert done(change).account_id == "account-1"


def test_a_redemption_stops_the_sending() -> None:
    redeemed = done(a_claimed().redeemed("account-1", "new", a_cause()))

    assert (redeemed.lease, redeemed.send_at, redeemed.due_at, redeemed.reason) == (None, None, None, None)


def test_the_first_sign_in_makes_it_active_with_what_was_skipped() -> None:
    change = an_invitation(State.SENT).signed_in("account-1", a_cause())

    assert [(start, end) for _, start, end in steps_of(change)] == [
        ("sent", "opened"),
        ("opened", "password_set"),
        ("password_set", "active"),
    ]


def test_later_sign_ins_are_everyday_life() -> None:
    assert an_invitation(State.ACTIVE).signed_in("account-1", a_cause()) is None


def test_a_redemption_that_lost_a_race_with_the_removal_counts_for_the_directory_decides() -> None:
    assert done(an_invitation(State.REVOKED).redeemed("a", "new", a_cause())).state is State.PASSWORD_SET


@pytest.mark.parametrize("state", ["pending", "sent", "opened", "failed"])
def test_this_isnt_me_ends_the_link(state: str) -> None:
    after = an_invitation(State(state)).declined(a_cause()).after

    assert (after.state, after.reason, after.due_at) == (State.DECLINED, "declined_by_person", None)
    assert after.link_state(1, NOW) == "over"


@pytest.mark.parametrize("state", ["password_set", "active", "revoked", "expired"])
def test_declining_too_late_is_history(state: str) -> None:
    invitation = an_invitation(State(state))

    after = invitation.declined(a_cause()).after

    assert (after.state, after.reason) == (State(state), invitation.reason)


# --- the worth of a link -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "sent", "opened", "failed"])
def test_the_present_link_is_alive_until_it_expires(state: str) -> None:
    invitation = an_invitation(State(state))

    assert invitation.link_state(1, later(days=13)) == "alive"
    assert invitation.link_state(1, later(days=14)) == "expired"


@pytest.mark.parametrize("state", ["pending", "sent", "opened", "failed", "expired"])
@pytest.mark.parametrize("sequence", [0, 1, 3])
def test_any_other_link_is_superseded(state: str, sequence: int) -> None:
    invitation = changed(an_invitation(State(state)), link_sequence=2)

    assert invitation.link_state(sequence, NOW) == "superseded"


@pytest.mark.parametrize("state", OVER)
@pytest.mark.parametrize("sequence", [0, 1, 2])
def test_a_link_of_what_is_over_is_over_whichever_it_is(state: str, sequence: int) -> None:
    assert an_invitation(State(state)).link_state(sequence, NOW) == "over"


def test_an_expired_invitation_has_an_expired_link_whatever_the_clock_says() -> None:
    assert an_invitation(State.EXPIRED).link_state(1, NOW) == "expired"


# --- again -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["pending", "sent", "opened", "failed", "expired", "declined"])
def test_a_resend_supersedes_the_link(state: str) -> None:
    invitation = an_invitation(State(state))

    change = invitation.resent(None, an_event(), POLICY)

    after = done(change)
    assert (after.state, after.link_sequence, after.send_sequence) == (State.PENDING, 2, 2)
    assert (after.attempt, after.lease, after.reason, after.send_at) == (0, None, None, NOW)
    assert after.link_state(1, NOW) == "superseded"
    assert after.link_state(2, NOW) == "alive"


@pytest.mark.parametrize("state", ["password_set", "active", "revoked"])
def test_a_resend_where_no_link_is_needed_is_history(state: str) -> None:
    invitation = an_invitation(State(state))

    after = done(invitation.resent("email", an_event(), POLICY))

    assert (after.state, after.link_sequence, after.send_at, after.due_at) == (State(state), 1, None, None)


def test_a_resend_may_change_the_channel() -> None:
    assert done(a_pending().resent("sms", an_event(), POLICY)).channel == "sms"
    assert done(a_pending("sms").resent(None, an_event(), POLICY)).channel == "sms"
    assert done(a_pending("none").resent(None, an_event(), POLICY)).channel == "email"


@pytest.mark.parametrize("state", ["sent", "opened"])
def test_renewing_a_living_link_sends_the_same_link_again_as_a_new_message(state: str) -> None:
    invitation = an_invitation(State(state))

    after = done(invitation.renewed(a_cause(), POLICY))

    assert (after.state, after.link_sequence, after.send_sequence) == (State(state), 1, 2)
    assert (after.send_at, after.expires_at) == (NOW, invitation.expires_at)


@pytest.mark.parametrize("renew", ["pending", "sent"])
def test_renewing_while_a_message_is_on_its_way_is_nothing(renew: str) -> None:
    invitation = a_claimed() if renew == "pending" else done(an_invitation(State.SENT).renewed(a_cause(), POLICY))

    assert invitation.renewed(a_cause(), POLICY) is None


@pytest.mark.parametrize("state", ["sent", "opened"])
def test_renewing_a_link_whose_life_is_over_makes_the_next_though_nobody_noted_the_expiry(state: str) -> None:
    after = done(an_invitation(State(state)).renewed(a_cause(later(days=15)), POLICY))

    assert (after.state, after.link_sequence, after.expires_at) == (State.PENDING, 2, later(days=29))


@pytest.mark.parametrize("state", ["failed", "expired", "declined"])
def test_renewing_a_dead_link_makes_the_next(state: str) -> None:
    assert done(an_invitation(State(state)).renewed(a_cause(), POLICY)).link_sequence == 2


@pytest.mark.parametrize("state", ["password_set", "active", "revoked"])
def test_renewing_where_no_link_is_needed_sends_nothing(state: str) -> None:
    after = done(an_invitation(State(state)).renewed(a_cause(), POLICY))

    assert (after.state, after.send_at, after.link_sequence) == (State(state), None, 1)


def test_the_renewed_message_of_an_opened_link_leaves_it_opened() -> None:
    renewed = done(an_invitation(State.OPENED).renewed(a_cause(), POLICY))

    accepted = renewed.claimed("worker-1", NOW, POLICY).after.accepted(2, a_cause(), POLICY).after

    assert (accepted.state, accepted.send_at, accepted.due_at) == (State.OPENED, None, later(days=2))


@pytest.mark.parametrize("state", ["pending", "sent", "opened"])
def test_an_extension_keeps_the_link_and_the_state(state: str) -> None:
    change = an_invitation(State(state)).extended(later(days=30), a_cause(), POLICY)
    assert change is not None

    assert (change.after.state, change.after.link_sequence) == (State(state), 1)
    assert change.after.link_state(1, later(days=29)) == "alive"
    assert facts_of(change) == [("extended", change.after.version)]


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda it: it.extended(later(days=30), a_cause(), POLICY), id="extend"),
        pytest.param(lambda it: it.renewed(a_cause(), POLICY), id="renew"),
    ],
)
def test_who_was_added_again_without_an_invitation_has_no_link(act: Callable[[Invitation], Change]) -> None:
    removed = done(a_pending().was_removed(told(2), an_event()))
    again = done(removed.created(an_invitee(), "none", told(3), an_event(), POLICY))

    change = act(again)

    assert facts_of(change) == []
    after = change.after
    assert (after.channel, after.send_at, after.expires_at, after.due_at) == ("none", None, None, None)
    assert after.link_state(1, NOW) == after.link_state(after.link_sequence, NOW) == "over"


def test_an_extension_of_an_expired_link_makes_it_work_again() -> None:
    change = an_invitation(State.EXPIRED).extended(later(days=30), a_cause(later(days=15)), POLICY)
    assert change is not None

    assert (change.after.state, change.after.reason) == (State.SENT, None)
    assert change.after.link_state(1, later(days=16)) == "alive"
    assert change.after.due_at == later(days=30)


@pytest.mark.parametrize("state", ["password_set", "active", "revoked", "declined", "failed"])
def test_there_is_no_link_to_extend_elsewhere(state: str) -> None:
    invitation = an_invitation(State(state))

    after = done(invitation.extended(later(days=30), a_cause(), POLICY))

    assert (after.state, after.expires_at, after.due_at) == (State(state), invitation.expires_at, None)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.ACTIVE, State.REVOKED)])
def test_what_was_taken_back_has_no_link_and_nothing_due(state: State) -> None:
    after = done(an_invitation(state).revoked("requested", a_cause()))

    assert (after.state, after.reason, after.due_at) == (State.REVOKED, "requested", None)
    assert after.link_state(after.link_sequence, NOW) == "over"


def test_taking_back_an_active_invitation_is_history_for_it_is_none_any_more() -> None:
    after = done(an_invitation(State.ACTIVE).revoked("requested", a_cause()))

    assert (after.state, after.reason) == (State.ACTIVE, None)


def test_deciding_leaves_the_invitation_as_it_was() -> None:
    invitation = an_invitation(State.SENT)
    before = changed(invitation)

    for decide in (
        lambda i: i.opened(a_cause(), POLICY),
        lambda i: i.redeemed("account-1", "new", a_cause(), signed_in=True),
        lambda i: i.resent("sms", an_event(), POLICY),
        lambda i: i.revoked("requested", a_cause()),
    ):
        decide(invitation)

    assert invitation == before


def test_a_step_says_when_by_whom_and_because_of_what() -> None:
    cause = an_event(later(hours=1), "event-id")

    change = an_invitation(State.SENT).revoked("requested", cause)

    assert change is not None
    (step,) = change.steps
    assert (step.at, step.actor, step.event_id) == (later(hours=1), cause.actor, "event-id")
    assert (step.trigger, step.from_, step.to) == ("revoked", State.SENT, State.REVOKED)


def test_nobody_is_told_of_an_invitation_that_was_never_announced() -> None:
    tombstone: Invitation = changed(a_pending(), invitee=None)

    assert facts_of(tombstone.revoked("requested", a_cause())) == []


def test_an_extension_counts_once_per_event() -> None:
    once = done(an_invitation(State.SENT).extended(later(days=30), an_event(id="bulk:1"), POLICY))

    assert once.extended(later(days=30), an_event(id="bulk:1"), POLICY) is None
