"""Reminders, quiet hours and the way round by SMS, as a firm's policy has them."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any, cast

import pytest

from convive_contracts.envelope import STRUCTURED, parse_event
from convive_contracts.events import InvitationState, Policies
from invitation.lifecycle.facts import announcements
from invitation.lifecycle.invitation import Change, Invitation, then
from invitation.lifecycle.quiet import QuietHours
from invitation.lifecycle.rebuilt import log_ended, restored
from invitation.lifecycle.records import Receipt
from invitation.lifecycle.schedule import Policy
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

QUIET = Policy(quiet=QuietHours(time(20), time(8)))
BY_SMS = Policy(sms_after_bounce=True)
PHONE = "+33612345678"
EVENING = later(hours=11)
MORNING = later(hours=21.5)
assert (EVENING.hour, MORNING.hour) == (20, 7), "21:30 and 08:00 in Paris"


def days(*numbers: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(days=number) for number in numbers)


def comes_due(invitation: Invitation, at: datetime, policy: Policy = POLICY) -> Invitation:
    """What the due loop makes of it, where it is to be sent."""
    change = invitation.came_due(a_cause(at), policy)
    wanted = change.after if change else invitation
    assert wanted.wants_sending(at)
    claim = wanted.claimed("worker-1", at, policy)
    return (then(change, claim) if change else claim).after


def taken(invitation: Invitation, at: datetime, policy: Policy = POLICY) -> Change:
    return invitation.accepted(invitation.send_sequence, a_cause(at), policy)


def reminded(invitation: Invitation, at: datetime, policy: Policy = POLICY) -> Invitation:
    return taken(comes_due(invitation, at, policy), at, policy).after


def announced(change: Change) -> list[InvitationState]:
    bodies = [announcement["body"] for announcement in announcements(change, None)]
    return [cast("InvitationState", parse_event(body, content_type=STRUCTURED).data) for body in bodies]


# --- reminders -------------------------------------------------------------------------------------------------------


def test_people_are_reminded_on_the_days_of_the_policy_and_then_no_more() -> None:
    invitation = an_invitation(State.SENT)
    moments: list[datetime] = []
    while invitation.remind_at is not None:
        moments.append(invitation.remind_at)
        invitation = reminded(invitation, invitation.remind_at)

    assert moments == [later(days=2), later(days=5), later(days=10)]
    assert invitation.due_at == invitation.expires_at


def test_a_reminder_is_a_message_of_its_own_with_the_same_link() -> None:
    reminder = comes_due(an_invitation(State.SENT), later(days=2))

    assert (reminder.occasion, reminder.link_sequence, reminder.send_sequence) == ("reminder", 1, 2)
    assert reminder.lease is not None, "it is claimed in the same save"


def test_each_send_that_was_taken_is_told_once_though_it_moves_nothing() -> None:
    reminder = comes_due(an_invitation(State.OPENED), later(days=2))

    change = taken(reminder, later(days=2))

    assert steps_of(change) == [("accepted", "opened", "opened")]
    assert facts_of(change) == [("sent", change.after.version)]
    (fact,) = announced(change)
    assert (fact.state, fact.send_sequence, fact.link_sequence) == ("opened", 2, 1)
    assert facts_of(taken(change.after, later(days=2))) == [], "taken twice, told once"


def test_reminders_go_on_after_the_link_was_opened() -> None:
    opened = an_invitation(State.SENT).opened(a_cause(later(days=1)), POLICY).after

    assert opened.remind_at == later(days=2)


def test_who_opens_the_link_in_a_pause_over_a_reminder_needs_none_any_more() -> None:
    opened = an_invitation(State.SENT).opened(a_cause(later(days=3)), POLICY).after

    assert opened.remind_at == later(days=5)


def test_who_opens_while_a_reminder_is_on_its_way_is_reminded_on_the_next_day() -> None:
    opened = comes_due(an_invitation(State.SENT), later(days=2)).opened(a_cause(later(days=2)), POLICY).after

    assert (opened.send_at, opened.remind_at) == (None, later(days=5))


@pytest.mark.parametrize("end", ["redeemed", "signed_in", "revoked", "declined", "removed", "bounced", "refused"])
def test_reminders_end_with(end: str) -> None:
    sent = an_invitation(State.OPENED)
    ends: dict[str, Any] = {
        "redeemed": lambda: sent.redeemed("account-1", "new", a_cause()),
        "signed_in": lambda: sent.signed_in("account-1", a_cause()),
        "revoked": lambda: sent.revoked("requested", an_event()),
        "declined": lambda: sent.declined(a_cause()),
        "removed": lambda: sent.was_removed(told(2), an_event()),
        "bounced": lambda: sent.receipt(Receipt("bounced", 1, "unknown_address"), an_event(), POLICY),
        "refused": lambda: comes_due(sent, later(days=2)).refused(
            (2, 1), "550 no", a_cause(later(days=2)), POLICY, for_good=True
        ),
    }

    after = done(ends[end]())

    assert after.remind_at is None
    assert after.due_at in (None, after.expires_at)


def test_what_bounced_once_is_not_reminded_of_after_an_extension_or_a_renewal_either() -> None:
    bounced = done(an_invitation(State.OPENED).receipt(Receipt("bounced", 1, "mailbox_full"), an_event(), POLICY))

    extended = done(bounced.extended(later(days=40), a_cause(), POLICY))
    renewed = taken(done(extended.renewed(a_cause(), POLICY)), NOW).after

    assert (extended.remind_at, renewed.remind_at) == (None, None)


def test_a_new_link_begins_anew() -> None:
    reminded_once = reminded(an_invitation(State.SENT), later(days=2))

    again = taken(done(reminded_once.resent(None, an_event(later(days=3)), POLICY)), later(days=3)).after

    assert (again.reminders, again.remind_at) == (0, later(days=5))


def test_after_a_pause_over_several_reminders_one_goes_out() -> None:
    late = reminded(an_invitation(State.SENT), later(days=6))

    assert (late.send_sequence, late.remind_at) == (2, later(days=10))


def test_nobody_is_reminded_of_a_link_that_is_over_by_then() -> None:
    short = Policy(link_life=timedelta(days=5))
    sent = taken(done(a_pending().resent(None, an_event(), short)), NOW, short).after

    assert reminded(sent, later(days=2), short).remind_at is None
    assert done(sent.came_due(a_cause(later(days=5)), short)).state is State.EXPIRED


def test_a_renewal_shortly_before_stands_for_the_reminder_that_falls_into_it() -> None:
    renewed = done(an_invitation(State.SENT).renewed(a_cause(later(days=1.9)), POLICY))

    assert renewed.remind_at is None, "it waits for what comes of this"
    assert taken(renewed, later(days=2.1)).after.remind_at == later(days=5)


def test_an_extension_keeps_the_reminders_that_lie_ahead_and_brings_back_those_that_had_no_time() -> None:
    short = Policy(link_life=timedelta(days=4))
    sent = taken(done(a_pending().resent(None, an_event(), short)), NOW, short).after
    assert done(sent.extended(later(days=30), a_cause(), short)).remind_at == later(days=2)

    last = reminded(sent, later(days=2), short)
    assert last.remind_at is None
    assert done(last.extended(later(days=8), a_cause(later(days=3)), short)).remind_at == later(days=5)
    assert done(sent.extended(later(days=1), a_cause(), short)).remind_at is None


def test_a_firm_that_adds_days_reminds_nobody_more_often_than_it_has_days() -> None:
    once = reminded(an_invitation(State.SENT), later(days=2))
    more = Policy(reminders=days(3, 4, 5))

    twice = taken(done(once.renewed(a_cause(later(days=2.5)), more)), later(days=2.5), more).after

    assert twice.remind_at == later(days=4)


# --- quiet hours -----------------------------------------------------------------------------------------------------


def test_a_reminder_that_falls_into_quiet_hours_is_planned_for_their_end() -> None:
    sent = taken(a_claimed(at=EVENING), EVENING, QUIET).after

    assert sent.remind_at == MORNING + timedelta(days=2)


def test_a_first_email_goes_at_once_at_night_too() -> None:
    assert done(a_pending().resent("email", an_event(EVENING), QUIET)).send_at == EVENING


def test_a_first_sms_waits_for_the_morning() -> None:
    assert done(a_pending("sms").resent("sms", an_event(EVENING), QUIET)).due_at == MORNING


def test_what_the_person_asked_for_goes_at_once_by_sms_too() -> None:
    asleep = an_invitation(State.SENT, channel="sms")
    dead = an_invitation(State.EXPIRED, channel="sms")

    for renewed in (asleep.renewed(a_cause(EVENING), QUIET), dead.renewed(a_cause(EVENING), QUIET)):
        assert (done(renewed).occasion, done(renewed).send_at) == ("renewal", EVENING)


def test_who_asks_for_an_sms_that_waits_for_the_morning_gets_it_now() -> None:
    waiting = done(an_invitation(State.SENT, channel="sms").resent("sms", an_event(EVENING), QUIET))

    hastened = done(waiting.renewed(a_cause(EVENING), QUIET))

    assert (hastened.send_at, hastened.send_sequence) == (EVENING, waiting.send_sequence)
    assert comes_due(hastened, EVENING, QUIET).lease is not None


def test_what_a_backoff_or_an_outage_has_led_into_quiet_hours_waits_for_their_end() -> None:
    claimed = a_claimed(channel="sms", at=later(hours=10.4))
    patient = Policy(quiet=QUIET.quiet, first_backoff=timedelta(hours=2))

    refused = claimed.refused((1, 1), "busy", a_cause(later(hours=10.49)), patient, for_good=False).after
    assert refused.send_at == MORNING

    after_outage = done(a_pending("sms").came_due(a_cause(EVENING), QUIET))
    assert (after_outage.send_at, after_outage.lease, after_outage.attempt) == (MORNING, None, 0)


def test_a_reminder_that_comes_due_in_quiet_hours_after_a_pause_waits_for_their_end() -> None:
    night = EVENING + timedelta(days=2)

    put_off = done(an_invitation(State.SENT).came_due(a_cause(night), QUIET))

    assert put_off.due_at == MORNING + timedelta(days=2)
    assert comes_due(put_off, MORNING + timedelta(days=2), QUIET).attempt == 1


# --- the way round by SMS --------------------------------------------------------------------------------------------


def bounce(invitation: Invitation, policy: Policy = BY_SMS) -> Change:
    change = invitation.receipt(Receipt("bounced", invitation.send_sequence, "unknown_address"), an_event(), policy)
    assert change is not None
    return change


def test_a_bounced_email_is_followed_by_an_sms_in_the_same_save() -> None:
    change = bounce(an_invitation(State.SENT, phone=PHONE))

    after = change.after
    assert (after.state, after.channel, after.link_sequence, after.send_at) == (State.PENDING, "sms", 2, NOW)
    assert steps_of(change)[-1] == ("resend", "failed", "pending")
    assert change.steps[-1].actor == "system"
    facts = announced(change)
    assert [fact.state for fact in facts] == ["sent", "failed"]
    of_the_email = ("email", "unknown_address", 1)
    assert [(fact.channel, fact.reason, fact.link_sequence) for fact in facts] == [of_the_email] * 2


def test_an_address_that_was_refused_for_good_is_followed_by_an_sms() -> None:
    refused = a_claimed(phone=PHONE).refused((1, 1), "550 no such user", a_cause(), BY_SMS, for_good=True)

    assert (refused.after.channel, refused.after.state) == ("sms", State.PENDING)


def test_the_sms_waits_for_the_end_of_quiet_hours() -> None:
    at_night = Policy(sms_after_bounce=True, quiet=QUIET.quiet)
    sent = an_invitation(State.SENT, phone=PHONE)

    change = sent.receipt(Receipt("bounced", 1), an_event(EVENING), at_night)

    assert done(change).send_at == MORNING


def test_it_happens_once_in_a_life() -> None:
    by_sms = bounce(an_invitation(State.SENT, phone=PHONE)).after
    by_email_again = done(by_sms.resent("email", an_event(), BY_SMS))

    assert bounce(by_email_again).after.state is State.FAILED

    removed = done(by_email_again.was_removed(told(2), an_event()))
    new_life = done(removed.created(an_invitee(phone=PHONE), "email", told(3), an_event(), BY_SMS))
    assert bounce(new_life).after.channel == "sms"


@pytest.mark.parametrize(
    ("invitation", "policy"),
    [
        (an_invitation(State.SENT, phone=PHONE), POLICY),
        (an_invitation(State.SENT), BY_SMS),
        (an_invitation(State.SENT, channel="sms"), BY_SMS),
        (an_invitation(State.OPENED, phone=PHONE), BY_SMS),
        (an_invitation(State.DECLINED, phone=PHONE), BY_SMS),
        (an_invitation(State.EXPIRED, phone=PHONE), BY_SMS),
    ],
    ids=["not wanted", "no phone", "by SMS already", "opened", "declined", "expired"],
)
def test_there_is_no_way_round_where(invitation: Invitation, policy: Policy) -> None:
    after = bounce(invitation, policy).after

    assert (after.channel, after.link_sequence) == (invitation.channel, 1)


def test_the_right_address_told_later_is_written_to_by_email() -> None:
    by_sms = bounce(an_invitation(State.SENT, phone=PHONE)).after

    right = an_invitee(phone=PHONE, email="jeanne.martin@example.com")
    after = done(by_sms.details_changed(right, told(2), an_event(), BY_SMS))

    assert (after.channel, after.link_sequence) == ("email", 3)


# --- rebuilt from the log --------------------------------------------------------------------------------------------


def rebuilt(*facts: tuple[str, float, dict[str, Any]]) -> Invitation:
    """Folded from facts as (name, days after `NOW`, what differs)."""
    invitation = changed(a_pending(), disarmed=True)
    for version, (name, after, fields) in enumerate(facts, start=2):
        at = later(days=after)
        said = {
            "state": "sent",
            "channel": "email",
            "link_sequence": 1,
            "send_sequence": 1,
            "version": version,
            **fields,
        }
        ids = dict.fromkeys(("invitation_id", "member_id", "dossier_id", "cabinet_id"), invitation.id)
        state = InvitationState(**ids, **said, expires_at=later(days=14))
        invitation = done(restored(invitation, name, state, a_cause(at), POLICY))
    return done(log_ended(invitation, a_cause(later(days=9))))


def test_after_a_rebuild_reminders_go_on_and_none_that_went_out_goes_again() -> None:
    before = reminded(an_invitation(State.SENT), later(days=2))

    after = rebuilt(("sent", 0, {}), ("sent", 2, {"send_sequence": 2}))

    assert (after.sent_at, after.reminders, after.remind_at) == (before.sent_at, before.reminders, before.remind_at)
    assert reminded(after, later(days=9)).send_sequence == 3


def test_after_a_rebuild_reminders_count_from_the_first_send_though_the_log_told_of_it_late() -> None:
    in_order = rebuilt(("sent", 0, {}), ("sent", 5, {"send_sequence": 2}))
    overtaken = rebuilt(("sent", 5, {"send_sequence": 2}), ("sent", 0, {"version": 1}))

    assert (overtaken.sent_at, overtaken.remind_at) == (in_order.sent_at, in_order.remind_at)
    assert overtaken.remind_at == later(days=10)


def test_after_a_rebuild_a_reminder_that_was_on_its_way_when_the_link_was_opened_does_not_go_again() -> None:
    after = rebuilt(("sent", 0, {}), ("opened", 2.1, {"state": "opened", "send_sequence": 2}))

    assert after.remind_at == later(days=5)


def test_after_a_rebuild_a_new_link_has_its_own_reminders() -> None:
    after = rebuilt(("sent", 0, {}), ("sent", 3, {"link_sequence": 2, "send_sequence": 2}))

    assert (after.sent_at, after.remind_at) == (later(days=3), later(days=5))


@pytest.mark.parametrize(
    "end", [("bounced", {"state": "opened"}), ("failed", {"state": "failed"}), ("active", {"state": "active"})]
)
def test_after_a_rebuild_nobody_is_reminded_of_what_has_come_to_an_end(end: tuple[str, dict[str, Any]]) -> None:
    name, fields = end

    assert rebuilt(("sent", 0, {}), (name, 1, fields)).remind_at is None


# --- a firm's choices ------------------------------------------------------------------------------------------------


def test_a_firm_that_chose_nothing_has_the_usual_policy() -> None:
    assert QUIET.of(Policies()) is QUIET


def test_a_firms_choices_lie_over_the_usual_ones() -> None:
    firm = Policies(link_days=7, reminder_days=(6, 1), quiet_from="22:00", sms_after_bounce=True)

    policy = QUIET.of(firm)

    assert (policy.link_life, policy.reminders) == (timedelta(days=7), days(1, 6))
    assert (policy.quiet.starts, policy.quiet.ends) == (time(22), time(8))
    assert policy.sms_after_bounce
    assert policy.lease == QUIET.lease


def test_a_firm_may_want_no_reminders() -> None:
    assert QUIET.of(Policies(reminder_days=())).reminders == ()
