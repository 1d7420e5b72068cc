"""Any life whatever: the rules that hold after every change, however the changes come."""

from __future__ import annotations

from datetime import date, time, timedelta
from itertools import count

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from invitation.lifecycle.facts import announcements
from invitation.lifecycle.invitation import Cause, Change, Invitation, Lease, Told, then
from invitation.lifecycle.quiet import QuietHours
from invitation.lifecycle.records import Receipt
from invitation.lifecycle.schedule import LINK_IS_ALIVE, REMINDED, Policy
from invitation.lifecycle.states import TABLE, State
from tests.unit.lifecycle.making import NOW, a_blank, an_invitee

QUIET = QuietHours(time(20), time(8), lambda day: day == date(2026, 4, 6))
POLICY = Policy(quiet=QUIET, sms_after_bounce=True)
ALLOWED = {(state, row.to or state) for row in TABLE for state in row.from_}
# A claim that has not been given back yet: its send, attempt and lease.
Claim = tuple[int, int, Lease]


class AnyLife(RuleBasedStateMachine):
    """Publishers, providers, people and operators, in any order, with the clock going on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.invitation: Invitation = a_blank()
        self.sequence = 0
        self.ids = count(1)
        self.handed_out: list[Claim] = []
        self.dead_links: set[int] = set()
        self.handled: list[str] = []
        # By link: how many reminders went out, and whether a send of it has bounced.
        self.reminders: dict[int, int] = {}
        self.bounced: set[int] = set()

    # --- saving ----------------------------------------------------------------------------------------------------

    def save(self, change: Change | None) -> None:
        if change is None:
            return
        before, after = self.invitation, change.after
        assert change.seen == before.version
        assert after.version > before.version
        assert after.link_sequence >= before.link_sequence
        assert after.send_sequence >= before.send_sequence
        assert after.updated_at == self.now
        state = before.state
        for step in change.steps:
            assert step.from_ is state, "the history has a gap"
            assert step.to is step.from_ or (step.from_, step.to) in ALLOWED or step.detail
            state = step.to
        assert state is after.state, "a state changed without a step"
        versions = [fact.version for fact in change.facts]
        assert versions == list(range(before.version + 1, before.version + 1 + len(versions)))
        fell_back = after.fell_back and not before.fell_back
        if versions and not fell_back:  # by SMS it has gone on already, in the same save
            assert versions[-1] == after.version
            assert change.facts[-1].state is after.state
        told = list(announcements(change, None))
        assert len(told) == len(change.facts)
        assert len({entry["id"] for entry in told}) == len(told)
        if after.state in (State.REVOKED, State.DECLINED) or after.link_sequence > before.link_sequence:
            self.dead_links.update(range(1, after.link_sequence))
        if after.state is State.REVOKED and after.link_sequence:
            self.dead_links.add(after.link_sequence)
        self.invitation = after

    def cause(self) -> Cause:
        return Cause(self.now, "test")

    def event(self) -> Cause:
        self.handled.append(f"event-{next(self.ids)}")
        return Cause(self.now, "event:/test", self.handled[-1])

    # --- publishers ------------------------------------------------------------------------------------------------

    @rule(by=st.sampled_from(["email", "sms", "none"]), ahead=st.integers(-2, 3), mail=st.sampled_from("ab"))
    def created(self, by, ahead: int, mail: str) -> None:
        self._told(ahead)
        invitee = an_invitee(email=f"{mail}@example.com", phone="+33612345678")
        self.save(self.invitation.created(invitee, by, Told(self.now, self.sequence), self.event(), POLICY))

    @rule(ahead=st.integers(-2, 3), mail=st.sampled_from("ab"))
    def updated(self, ahead: int, mail: str) -> None:
        self._told(ahead)
        invitee = an_invitee(email=f"{mail}@example.com", phone="+33612345678")
        self.save(self.invitation.details_changed(invitee, Told(self.now, self.sequence), self.event(), POLICY))

    @rule(ahead=st.integers(-2, 3))
    def removed(self, ahead: int) -> None:
        self._told(ahead)
        self.save(self.invitation.was_removed(Told(self.now, self.sequence), self.event()))

    def _told(self, ahead: int) -> None:
        self.sequence = max(1, self.sequence + ahead)

    @precondition(lambda self: self.handled)
    @rule(data=st.data())
    def an_event_comes_again(self, data: st.DataObject) -> None:
        cause = Cause(self.now, "event:/test", data.draw(st.sampled_from(self.handled)))
        if cause.event_id not in self.invitation.handled:
            return
        told = Told(self.now, self.sequence + 1)
        assert self.invitation.created(an_invitee(), "email", told, cause, POLICY) is None
        assert self.invitation.details_changed(an_invitee(), told, cause, POLICY) is None
        assert self.invitation.was_removed(told, cause) is None
        assert self.invitation.resent(None, cause, POLICY) is None
        assert self.invitation.revoked("again", cause) is None

    # --- time and delivery -----------------------------------------------------------------------------------------

    @rule(passes=st.sampled_from([1, 30, 61, 3600, 8 * 3600, 86_400, 3 * 86_400, 15 * 86_400]))
    def time_passes(self, passes: int) -> None:
        self.now += timedelta(seconds=passes)

    @precondition(lambda self: self.invitation.due_at is not None)
    @rule(owner=st.sampled_from(["worker-1", "worker-2"]))
    def the_due_loop_looks(self, owner: str) -> None:
        invitation = self.invitation
        assert invitation.due_at is not None
        if invitation.due_at > self.now:
            return
        change = invitation.came_due(self.cause(), POLICY)
        wanted = change.after if change else invitation
        if wanted.wants_sending(self.now):
            claim = wanted.claimed(owner, self.now, POLICY)
            self.save(then(change, claim) if change else claim)
            self.goes_out(is_new=change is not None)
        else:
            self.save(change)
        due = self.invitation.due_at
        assert due is None or due > self.now or self.invitation.wants_sending(self.now), "it would be due for ever"

    def goes_out(self, *, is_new: bool) -> None:
        invitation = self.invitation
        assert invitation.lease is not None
        self.handed_out.append((invitation.send_sequence, invitation.attempt, invitation.lease))
        if invitation.channel == "sms" and invitation.occasion != "renewal":
            assert not self.is_quiet(), "it went out in quiet hours"
        if invitation.occasion == "reminder":
            link = invitation.link_sequence
            assert not self.is_quiet(), "it was a reminder in quiet hours"
            assert invitation.state in REMINDED
            assert link not in self.bounced, "it was reminded of what did not arrive"
            self.reminders[link] = self.reminders.get(link, 0) + is_new
            assert self.reminders[link] <= len(POLICY.reminders)

    def is_quiet(self) -> bool:
        return QUIET.over(self.now, "Europe/Paris") > self.now

    @precondition(lambda self: self.invitation.send_sequence > 0)
    @rule(ago=st.integers(0, 1), outcome=st.sampled_from(["delivered", "bounced"]))
    def a_provider_says_what_became_of_it(self, ago: int, outcome) -> None:
        before = self.invitation
        receipt = Receipt(outcome, before.send_sequence - ago, "unknown_address")
        if outcome == "bounced" and ago == 0:
            self.bounced.add(before.link_sequence)
        told = self.event()
        self.save(before.receipt(receipt, told, POLICY))
        assert self.invitation.receipt(receipt, told, POLICY) is None
        if ago:
            assert self.invitation.state is before.state

    @precondition(lambda self: self.handed_out)
    @rule(data=st.data(), outcome=st.sampled_from(["accepted", "for now", "for good", "released"]))
    def an_attempt_ends(self, data: st.DataObject, outcome: str) -> None:
        claim = data.draw(st.sampled_from(self.handed_out))
        self.handed_out.remove(claim)
        send, lease = claim[:2], claim[2]
        before = self.invitation
        if outcome == "accepted":
            self.save(before.accepted(send[0], self.cause(), POLICY))
        elif outcome == "released":
            self.save(before.released(send, lease, self.now + timedelta(seconds=5), self.cause()))
        else:
            self.save(before.refused(send, outcome, self.cause(), POLICY, for_good=outcome == "for good"))
        if send[0] != before.send_sequence:
            assert self.invitation.state is before.state, "an older send changed the state"

    # --- people ----------------------------------------------------------------------------------------------------

    @rule(sequence=st.integers(1, 6))
    def clicked(self, sequence: int) -> None:
        if self.invitation.link_state(sequence, self.now) == "alive":
            self.save(self.invitation.opened(self.cause(), POLICY))

    @precondition(lambda self: self.invitation.link_sequence > 0)
    @rule()
    def declined(self) -> None:
        if self.invitation.link_state(self.invitation.link_sequence, self.now) == "alive":
            self.save(self.invitation.declined(self.cause()))

    @rule(signed_in=st.booleans())
    def redeemed(self, signed_in: bool) -> None:
        self.save(self.invitation.redeemed("account-1", "new", self.cause(), signed_in=signed_in))

    @rule()
    def signed_in(self) -> None:
        self.save(self.invitation.signed_in("account-1", self.cause()))

    @precondition(lambda self: self.invitation.link_sequence > 0)
    @rule()
    def renewed(self) -> None:
        self.save(self.invitation.renewed(self.cause(), POLICY))

    # --- operators -------------------------------------------------------------------------------------------------

    @rule(channel=st.sampled_from([None, "email", "sms"]))
    def resent(self, channel) -> None:
        if channel == "sms" and self.invitation.invitee is None:
            return  # whoever asks for this is told that there is no phone
        self.save(self.invitation.resent(channel, self.event(), POLICY))

    @rule()
    def revoked(self) -> None:
        self.save(self.invitation.revoked("requested", self.event()))

    @precondition(lambda self: self.invitation.link_sequence > 0)
    @rule(days=st.integers(1, 60))
    def extended(self, days: int) -> None:
        self.save(self.invitation.extended(self.now + timedelta(days=days), self.cause(), POLICY))

    # --- what holds always -----------------------------------------------------------------------------------------

    @invariant()
    def something_is_due_exactly_where_something_can_happen_by_itself(self) -> None:
        invitation = self.invitation
        expires = invitation.state in LINK_IS_ALIVE and invitation.expires_at is not None
        can_happen = invitation.send_at is not None or invitation.lease is not None or expires
        assert invitation.remind_at is None or can_happen
        assert (invitation.due_at is not None) == can_happen

    @invariant()
    def nothing_is_sent_where_no_link_would_work(self) -> None:
        if self.invitation.send_at is not None:
            assert self.invitation.state in LINK_IS_ALIVE
            assert self.invitation.link_sequence > 0
            assert self.invitation.channel != "none"

    @invariant()
    def who_is_reminded_has_a_link_that_works_and_is_not_being_written_to(self) -> None:
        invitation = self.invitation
        if invitation.remind_at is not None:
            assert invitation.state in REMINDED
            assert invitation.send_at is None
            assert invitation.expires_at is not None
            assert invitation.remind_at < invitation.expires_at
            assert QUIET.over(invitation.remind_at, "Europe/Paris") == invitation.remind_at

    @invariant()
    def a_lease_is_for_something_to_send(self) -> None:
        assert self.invitation.lease is None or self.invitation.send_at is not None

    @invariant()
    def a_dead_link_stays_dead(self) -> None:
        for sequence in self.dead_links:
            assert self.invitation.link_state(sequence, self.now) != "alive"

    @invariant()
    def no_link_of_the_removed_works(self) -> None:
        if self.invitation.removed:
            for sequence in range(1, self.invitation.link_sequence + 1):
                assert self.invitation.link_state(sequence, self.now) == "over"


AnyLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyLife = AnyLife.TestCase
