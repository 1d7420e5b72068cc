"""The invitation: told what happened, it says what must be written and published. Pure; nothing here waits.

Every method leaves the invitation as it was and returns a `Change` holding the invitation as it will be, the steps for
its history and the facts to publish, or None when there is nothing to write. A store saves the change whole, in one
compare-and-swap, or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, Self

from invitation.lifecycle.draft import Change, Draft
from invitation.lifecycle.records import Cause, Channel, Fact, Invitee, Lease, Occasion, Outcome, Receipt, Step, Told
from invitation.lifecycle.schedule import LINK_IS_ALIVE, REMINDED, Policy
from invitation.lifecycle.states import State, Trigger, counts

__all__ = ["Cause", "Change", "Channel", "Fact", "Invitation", "Invitee", "Lease", "Step", "Told", "then"]


@dataclass(kw_only=True)
class Invitation:
    """The life of one member's way in. `version` counts the saves and the facts; sequences start at 1 with the first
    link and the first send."""

    id: str
    source: str
    created_at: datetime
    updated_at: datetime
    version: int = 0
    invitee: Invitee | None = None
    state: State = State.PENDING
    channel: Channel = "none"
    link_sequence: int = 0
    send_sequence: int = 0
    attempt: int = 0
    lease: Lease | None = None
    send_at: datetime | None = None
    # Why the current send goes out: with its link, to remind of it, or because the person asked for it again.
    occasion: Occasion = "link"
    # What the provider has said of the current send since it took it.
    received: Outcome | None = None
    # When the current link was first to go out, and when a provider first took it.
    wanted_at: datetime | None = None
    sent_at: datetime | None = None
    # How many reminders of the current link went out or were passed over, and when the next one is due.
    reminders: int = 0
    remind_at: datetime | None = None
    # Whether the way was changed to SMS once because e-mail did not arrive.
    fell_back: bool = False
    expires_at: datetime | None = None
    due_at: datetime | None = None
    reason: str | None = None
    told: Told | None = None
    removal: Told | None = None
    announced: bool = False
    # Names and addresses were erased for good: nothing that is said of the member brings them back.
    erased: bool = False
    account_id: str | None = None
    credential: str | None = None
    handled: tuple[str, ...] = ()
    correlation_id: str | None = None
    # The trace of whatever asked for the current send: its attempts belong to it.
    traceparent: str | None = None
    # While it is rebuilt from the log nothing may come due; `rebuilt_to` is the version of the last fact folded in,
    # `rebuilt_at` when it was announced.
    disarmed: bool = False
    due_once_armed: datetime | None = None
    rebuilt_to: int | None = None
    rebuilt_at: datetime | None = None
    # When the member was last added again after a removal, and the first link there could be from then on.
    began_at: datetime | None = None
    began_link: int | None = None

    def __copy__(self) -> Self:
        # Every step begins with one: without slots, a copy is a third of the work.
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        return made

    @property
    def removed(self) -> bool:
        """Whether the member was removed and has not been added again since."""
        return self.removal is not None

    @property
    def has_link(self) -> bool:
        """Whether a link was made, in this life: whoever was added without an invitation has none, nor whoever was
        removed and added again without one."""
        return self.link_sequence > 0 and self.channel != "none"

    # --- what publishers say of the member ---------------------------------------------------------------------

    @classmethod
    def blank(cls, id: str, source: str, now: datetime) -> Self:
        """An invitation of which nothing is known yet."""
        return cls(id=id, source=source, created_at=now, updated_at=now)

    def created(self, invitee: Invitee, invite_by: Channel, told: Told, cause: Cause, policy: Policy) -> Change | None:
        """`user.created`: the way in begins, once. Again after a removal, with a newer fact, it begins anew."""
        if self._knows(cause):
            return None
        if self.erased:
            return self._noted(cause, "created", {"ignored": "erased"})
        if self.removed:
            # Newer than the removal, not than all we know: an update of the member's new life may have come first.
            if not told.newer_than(self.removal):
                return self._noted(cause, "created", {"ignored": "older than the removal"})
            draft = Draft(self, cause)
            draft.after.removal = None
            draft.after.reason = draft.after.account_id = draft.after.credential = None
            draft.after.began_at = cause.at
            draft.after.fell_back = False
            draft.fire(Trigger.CREATED_AGAIN)
        elif self.announced:
            return self.details_changed(invitee, told, cause, policy)
        else:
            draft = Draft(self, cause)
            draft.note("created")
        after = draft.after
        after.announced = True
        if told.newer_than(self.told):
            after.invitee, after.told = invitee, told
        # Else an update came before: what it said of the person is newer, but the invitation itself begins now.
        after.channel = invite_by
        # What was revoked or redeemed while an update was held needs no link any more.
        if invite_by != "none" and after.state is State.PENDING:
            draft.next_link(policy)
        else:
            draft.end_links()
        if after.began_at == cause.at:
            after.began_link = after.link_sequence
        return draft.done()

    def details_changed(self, invitee: Invitee, told: Told, cause: Cause, policy: Policy) -> Change | None:
        """`user.updated`: newer details; a changed address makes a new link to it. Before `user.created` it is held
        and never sends."""
        if self._knows(cause) or not told.newer_than(self.told):
            return None
        if self.erased:
            return self._noted(cause, "updated", {"ignored": "erased"})
        draft = Draft(self, cause)
        draft.after.invitee, draft.after.told = invitee, told
        if self.removed:
            draft.note("updated", {"ignored": "removed"})
        elif self.invitee is None or not self.announced:
            draft.note("updated", {"held": "until it is created"})
        else:
            self._reached_as(invitee, draft, policy)
        return draft.done()

    def corrected(self, invitee: Invitee, cause: Cause, policy: Policy) -> Change | None:
        """Somebody who operates corrects how a person is reached whom another publisher announced. What that publisher
        says later counts as if this had not been."""
        if invitee == self.invitee:
            return None
        draft = Draft(self, cause)
        draft.after.invitee = invitee
        self._reached_as(invitee, draft, policy)
        return draft.done()

    def was_removed(self, told: Told, cause: Cause) -> Change | None:
        """`user.removed`: no link works from here on. Kept as a tombstone for a `user.created` that comes late."""
        if self._knows(cause) or (self.removed and not told.newer_than(self.removal)):
            return None
        # An older removal than what we know does not count: the member was added again since.
        if self.told is not None and not self.removed and self.told.newer_than(told):
            return self._noted(cause, "removed", {"ignored": "older than what is known"})
        draft = Draft(self, cause)
        draft.after.removal = told
        if told.newer_than(self.told):
            draft.after.told = told
        draft.stop_sending()
        draft.after.reason = "removed" if counts(Trigger.REVOKED, self.state) else self.reason
        draft.fire(Trigger.REVOKED)
        return draft.done()

    # --- sending ---------------------------------------------------------------------------------------------------

    def wants_sending(self, now: datetime) -> bool:
        """Whether a send is due and nobody holds it."""
        return (
            self.send_at is not None
            and self.send_at <= now
            and (self.lease is None or self.lease.until <= now)
            and not self._over(now)
        )

    @property
    def keeps_quiet(self) -> bool:
        """Whether the current send has to wait in quiet hours: a first e-mail is expected, and so is what the person
        asked for themselves."""
        return self.occasion == "reminder" or (self.channel == "sms" and self.occasion != "renewal")

    def soonest(self, at: datetime, policy: Policy) -> datetime:
        """The first moment from `at` on at which the current send may go out."""
        if self.invitee is None or not self.keeps_quiet:
            return at
        return policy.quiet.over(at, self.invitee.time_zone)

    def sleeps(self, now: datetime) -> bool:
        """Whether the current send has not been tried and waits for the end of quiet hours."""
        return self.keeps_quiet and self.attempt == 0 and self.send_at is not None and self.send_at > now

    def has_attempts_left(self, policy: Policy) -> bool:
        """Whether the current send may be tried once more."""
        return self.attempt < policy.most_attempts

    def claimed(self, owner: str, now: datetime, policy: Policy) -> Change:
        """Take the lease for the next attempt: the intent is on disk before the effect."""
        draft = Draft(self, Cause(now, "system"))
        draft.after.lease = Lease(owner, now + policy.lease)
        draft.after.attempt += 1
        return draft.done()

    def accepted(self, send_sequence: int, cause: Cause, policy: Policy) -> Change:
        """The provider took a send; others are told of each once. An older send's outcome is history and nothing else,
        and so is one that comes twice, or after the person has moved on."""
        draft = Draft(self, cause)
        if send_sequence != self.send_sequence:
            draft.note(Trigger.ACCEPTED, {"of_send": send_sequence})
            return draft.done()
        draft.stop_sending()
        if self.state in LINK_IS_ALIVE:
            draft.after.reason = None  # of an attempt before, which mattered until this one
        if self.send_at is None:
            draft.note(Trigger.ACCEPTED, {"kept": True})
        else:
            draft.fire(Trigger.ACCEPTED)
        if draft.after.state in REMINDED:
            draft.after.sent_at = self.sent_at or cause.at
            draft.plan_reminder(policy)
        return draft.done()

    def refused(self, send: tuple[int, int], reason: str, cause: Cause, policy: Policy, *, for_good: bool) -> Change:
        """An attempt failed: try again later, or give up. `send` is its send sequence and attempt; the failure of an
        attempt that lost its lease is history, for another one is under way."""
        draft = Draft(self, cause)
        if send != (self.send_sequence, self.attempt) or self.send_at is None:
            draft.note("refused", {"of_send": send[0], "reason": reason})
            return draft.done()
        draft.after.lease = None
        if for_good or self.attempt >= policy.most_attempts:
            draft.stop_sending()
            draft.end_reminders()
            if counts(Trigger.GAVE_UP, self.state):
                draft.after.reason = reason
            draft.fire(Trigger.GAVE_UP, {"reason": reason, "attempt": self.attempt})
            return _or_by_sms(draft.done(), cause, policy) if for_good else draft.done()
        draft.after.send_at = self.soonest(cause.at + policy.backoff(self.attempt), policy)
        draft.after.reason = reason
        draft.note("deferred", {"reason": reason, "attempt": self.attempt})
        return draft.done()

    def released(self, send: tuple[int, int], lease: Lease, until: datetime, cause: Cause) -> Change | None:
        """Give the claim back without an attempt, because the provider is away; the attempt does not count. Its number
        is given again, so it takes the lease besides to tell this claim from the next."""
        if send != (self.send_sequence, self.attempt) or self.lease != lease:
            return None
        draft = Draft(self, cause)
        draft.after.lease = None
        draft.after.attempt = max(self.attempt - 1, 0)
        draft.after.send_at = until
        return draft.done()

    def receipt(self, receipt: Receipt, cause: Cause, policy: Policy) -> Change | None:
        """A provider says what became of a send that it took. Told again, by `cause.event_id`, it changes nothing, and
        the order does not matter: what has bounced stays so, whatever is said of its other parts. A receipt of an older
        send is history and nothing else."""
        if self._knows(cause):
            return None
        draft, current = Draft(self, cause), receipt.send_sequence == self.send_sequence
        news = current and self.received not in ("bounced", receipt.outcome)
        detail: dict[str, Any] = {"send" if current else "of_send": receipt.send_sequence}
        if receipt.reason is not None:
            detail["reason"] = receipt.reason
        if not news:
            detail["kept"] = True
        draft.note(receipt.outcome, {**detail, **(receipt.detail or {})})
        if not news:
            return draft.done()
        draft.after.received = receipt.outcome
        draft.tell(receipt.outcome)
        if receipt.outcome == "delivered":
            return draft.done()
        draft.end_reminders()
        if self.state in LINK_IS_ALIVE:
            draft.stop_sending()
            draft.after.reason = receipt.reason
        if counts(Trigger.GAVE_UP, self.state):
            draft.fire(Trigger.GAVE_UP, {"reason": receipt.reason})
        return _or_by_sms(draft.done(), cause, policy)

    def came_due(self, cause: Cause, policy: Policy) -> Change | None:
        """The due loop found it: expire it, give up on what took every attempt without ever coming to an outcome, have
        the person reminded, wait for the end of quiet hours that a pause or an outage has led into, or drop a lease
        that nobody needs any more. None where it has only to be claimed and sent; after a reminder, that too."""
        draft = Draft(self, cause)
        if self._over(cause.at):
            draft.stop_sending()
            draft.after.reason = _NEVER_SENT if self.state is State.PENDING else "link_life_over"
            draft.fire(Trigger.EXPIRED)
            return draft.done()
        if self.send_at is not None and self.send_at <= cause.at and not self.has_attempts_left(policy):
            draft.stop_sending()
            draft.end_reminders()
            if counts(Trigger.GAVE_UP, self.state):
                draft.after.reason = "attempts_used_up"
            draft.fire(Trigger.GAVE_UP, {"attempt": self.attempt})
            return draft.done()
        if self.remind_at is not None and self.remind_at <= cause.at:
            # The same link, as a message of its own. Of several that a pause has let go by, it is the only one.
            draft.after.reminders += 1
            draft.note("reminded")
            draft.next_send(policy, "reminder")
            return draft.done()
        if self.wants_sending(cause.at):
            until = self.soonest(cause.at, policy)
            if until <= cause.at:
                return None
            draft.after.send_at = until
        draft.after.lease = None
        return draft.done()

    # --- what people do -------------------------------------------------------------------------------------------

    def link_state(self, link_sequence: int, now: datetime) -> Literal["alive", "superseded", "expired", "over"]:
        """What a link is worth: `over` means that the state says it all, or that it was of a life before, and there is
        none in this one."""
        if self.state in (State.ACTIVE, State.PASSWORD_SET, State.REVOKED, State.DECLINED) or not self.has_link:
            return "over"
        if link_sequence != self.link_sequence:
            return "superseded"
        if self.state is State.EXPIRED or (self.expires_at is not None and self.expires_at <= now):
            return "expired"
        return "alive"

    def opened(self, cause: Cause, policy: Policy) -> Change:
        """A person acted on the page."""
        draft = Draft(self, cause)
        draft.fire(Trigger.OPENED)
        if counts(Trigger.OPENED, self.state):
            draft.stop_sending()
            draft.after.reason = None
            draft.after.sent_at = self.sent_at or cause.at
            draft.keep_reminder(policy)
        return draft.done()

    def of_an_earlier_life(self, time: datetime, link_sequence: int | None) -> bool:
        """Whether what happened with that link, at `time`, concerns the member before a removal: it must not count now.
        The link tells; only where it is not known is the time compared, which somebody else's clock has told."""
        if link_sequence is not None and self.began_link is not None:
            return link_sequence < self.began_link
        return self.began_at is not None and time < self.began_at

    def redeemed(
        self, account_id: str | None, credential: str, cause: Cause, *, signed_in: bool = False
    ) -> Change | None:
        """The directory used the link up; `signed_in` when the person was signed in while accepting. Steps that we
        never saw are recorded as skipped. Told again, it changes nothing, whatever came after it."""
        news = self.credential is None and counts(Trigger.REDEEMED, self.state)
        if not news and not (signed_in and counts(Trigger.SIGNED_IN, self.state)):
            return None
        draft = Draft(self, cause)
        draft.stop_sending()
        draft.after.reason = None
        draft.after.credential = credential
        draft.after.account_id = account_id or self.account_id
        draft.jump(Trigger.REDEEMED)
        if signed_in:
            draft.jump(Trigger.SIGNED_IN)
        return draft.done()

    def signed_in(self, account_id: str, cause: Cause) -> Change | None:
        """The account signed in for the first time since this invitation was redeemed."""
        if not counts(Trigger.SIGNED_IN, self.state):
            return None
        draft = Draft(self, cause)
        draft.stop_sending()
        draft.after.reason = None
        draft.after.account_id = account_id
        draft.jump(Trigger.SIGNED_IN)
        return draft.done()

    def declined(self, cause: Cause) -> Change:
        """“This isn't me.”"""
        draft = Draft(self, cause)
        if counts(Trigger.DECLINED, self.state):
            draft.stop_sending()
            draft.after.reason = "declined_by_person"
        draft.fire(Trigger.DECLINED)
        return draft.done()

    def renewed(self, cause: Cause, policy: Policy) -> Change | None:
        """The person asks for the link again: a living link is sent again, a dead one is replaced. None when a send
        is on its way already; one that waits for the end of quiet hours waits no longer. Where there is no link in this
        life, one of the life before leads to no message."""
        if not self.has_link:
            return self._noted(cause, Trigger.RENEW, {"ignored": "no link"})
        alive = self.state in LINK_IS_ALIVE and not self._over(cause.at)
        if alive and self.send_at is not None:
            if self.lease is not None or not self.keeps_quiet:
                return None
            draft = Draft(self, cause)
            draft.note(Trigger.RENEW, {"same_link": True})
            draft.after.occasion = "renewal"
            draft.after.send_at = cause.at
            return draft.done()
        if alive and self.state in REMINDED:
            draft = Draft(self, cause)
            draft.note(Trigger.RENEW, {"same_link": True})
            draft.next_send(policy, "renewal")
            return draft.done()
        return self._next_link(Trigger.RENEW, None, cause, policy)

    # --- what operators and firms do ------------------------------------------------------------------------------

    def resent(self, channel: Channel | None, cause: Cause, policy: Policy) -> Change | None:
        """A new link, on purpose; the one before is superseded."""
        return None if self._knows(cause) else self._next_link(Trigger.RESEND, channel, cause, policy)

    def revoked(self, reason: str, cause: Cause) -> Change | None:
        """Taken back: no link works from here on."""
        if self._knows(cause):
            return None
        draft = Draft(self, cause)
        if counts(Trigger.REVOKED, self.state):
            draft.stop_sending()
            draft.after.reason = reason
        draft.fire(Trigger.REVOKED)
        return draft.done()

    def extended(self, until: datetime, cause: Cause, policy: Policy) -> Change | None:
        """A later expiry, by the expiry in the document: the link itself stays the same, and reminders of it go on. One
        that no provider had taken before it ran out is sent now."""
        if self._knows(cause):
            return None
        if not self.has_link:
            return self._noted(cause, "extended", {"ignored": "never invited"})
        draft = Draft(self, cause)
        draft.fire(Trigger.EXTENDED)
        if counts(Trigger.EXTENDED, self.state):
            draft.after.expires_at = until
            if self.state is State.EXPIRED and self.reason == _NEVER_SENT:
                draft.next_send(policy)
            elif draft.after.send_at is None:
                draft.keep_reminder(policy)
            draft.after.reason = None if self.state is State.EXPIRED else self.reason
        return draft.done()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _reached_as(self, invitee: Invitee, draft: Draft, policy: Policy) -> None:
        known = self.invitee
        if known and self.has_link and _reached_elsewhere(self.channel, known, invitee):
            draft.fire(Trigger.ADDRESS_CHANGED)
            if counts(Trigger.ADDRESS_CHANGED, self.state):
                if self.fell_back and invitee.email_key != known.email_key:
                    draft.after.channel = "email"  # which is how it was to go, and this address may be the right one
                draft.next_link(policy)
        elif invitee != known:
            draft.note("updated")

    def _next_link(self, trigger: Trigger, channel: Channel | None, cause: Cause, policy: Policy) -> Change:
        draft = Draft(self, cause)
        if counts(trigger, self.state):
            draft.after.channel = channel or (self.channel if self.channel != "none" else "email")
            draft.fire(trigger)
            draft.next_link(policy, "renewal" if trigger is Trigger.RENEW else "link")
        else:
            draft.fire(trigger)
        return draft.done()

    def _over(self, now: datetime) -> bool:
        return self.state in LINK_IS_ALIVE and self.expires_at is not None and self.expires_at <= now

    def _knows(self, cause: Cause) -> bool:
        return cause.event_id is not None and cause.event_id in self.handled

    def _noted(self, cause: Cause, what: str, detail: Mapping[str, Any]) -> Change:
        draft = Draft(self, cause)
        draft.note(what, detail)
        return draft.done()


_NEVER_SENT = "never_sent"


def _or_by_sms(change: Change, cause: Cause, policy: Policy) -> Change:
    """Where a firm wants it, somebody whom an e-mail did not reach is sent a link by SMS instead, once, in the same
    save."""
    failed = change.after
    if (
        not policy.sms_after_bounce
        or failed.state is not State.FAILED
        or failed.channel != "email"
        or failed.fell_back
        or failed.invitee is None
        or failed.invitee.phone is None
    ):
        return change
    draft = Draft(failed, Cause(cause.at, "system", detail={"instead_of": "email"}))
    draft.after.channel, draft.after.fell_back = "sms", True
    draft.fire(Trigger.RESEND)
    draft.next_link(policy)
    return then(change, draft.done())


def _reached_elsewhere(channel: Channel, known: Invitee, told: Invitee) -> bool:
    return told.email_key != known.email_key or (channel == "sms" and told.phone != known.phone)


def then(first: Change, second: Change | None) -> Change:
    """Two changes of one invitation as one save; `second` was made of `first.after`."""
    if second is None:
        return first
    return replace(second, before=first.before, steps=first.steps + second.steps, facts=first.facts + second.facts)
