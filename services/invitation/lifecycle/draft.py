"""A change in the making: the machine is told what happens, and what it decides is written down."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from invitation.lifecycle.records import Cause, Fact, Occasion, Step
from invitation.lifecycle.schedule import REMINDED, Policy, next_due
from invitation.lifecycle.states import State, Trigger, counts, fire, skipped

if TYPE_CHECKING:
    from invitation.lifecycle.invitation import Invitation

REMEMBERED_EVENTS = 64
"""How many ids of handled events an invitation remembers, so that each counts once."""
_FACTS = {Trigger.EXTENDED: "extended", Trigger.ACCEPTED: "sent"}
"""What is told where the state alone does not say it."""
_ALL_OVER = 99
"""More reminders than any policy has."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one save writes. `before` is None for a new invitation."""

    before: Invitation | None
    after: Invitation
    steps: tuple[Step, ...]
    facts: tuple[Fact, ...]

    @property
    def seen(self) -> int:
        """The version that must still stand for this change to be carried out."""
        return 0 if self.before is None else self.before.version


@dataclass(slots=True)
class Draft:
    """A change in the making."""

    before: Invitation
    cause: Cause
    after: Invitation = field(init=False)
    steps: list[Step] = field(default_factory=list[Step])
    entered: list[tuple[str, State]] = field(default_factory=list[tuple[str, State]])

    def __post_init__(self) -> None:
        self.after = copy(self.before)

    def fire(self, trigger: Trigger, detail: Mapping[str, Any] | None = None) -> None:
        """Have the machine decide, and note what it decided."""
        start = self.after.state
        told = counts(trigger, start)
        end = fire(trigger, self.after)
        self._step(trigger, start, end, detail)
        if told:
            fact = _FACTS.get(trigger, end.value)
            if end is not State.PENDING or trigger is Trigger.EXTENDED:
                self.entered.append((fact, end))

    def jump(self, trigger: Trigger) -> None:
        """As `fire`, for triggers that may jump ahead on the way in: what must have happened unseen is recorded."""
        if counts(trigger, self.after.state):
            end = State.PASSWORD_SET if trigger is Trigger.REDEEMED else State.ACTIVE
            for from_, to in skipped(self.after.state, end):
                self._step(trigger, from_, to, {"skipped": True})
                self.entered.append((to.value, to))
                self.after.state = to
            self.fire(trigger)

    def note(self, what: str, detail: Mapping[str, Any] | None = None) -> None:
        """Keep in the history something that leaves the state alone."""
        self._step(what, self.after.state, self.after.state, detail)

    def tell(self, fact: str) -> None:
        """Have others told of something that is no state."""
        self.entered.append((fact, self.after.state))

    def next_link(self, policy: Policy, occasion: Occasion = "link") -> None:
        """A new link supersedes the one before, and goes out with the next send."""
        self.after.link_sequence += 1
        self.after.expires_at = self.cause.at + policy.link_life
        self.after.reason = self.after.sent_at = None
        self.after.reminders = 0
        self.next_send(policy, occasion)
        self.after.wanted_at = self.after.send_at

    def end_links(self) -> None:
        """Let no link made so far work or be sent any more, and make no new one."""
        self.stop_sending()
        if self.after.link_sequence:
            self.after.link_sequence += 1
            # What is said of the last send from here on is history.
            self.after.send_sequence += 1
        self.after.expires_at = None

    def next_send(self, policy: Policy, occasion: Occasion = "link") -> None:
        """A new message, due as soon as it may go out. Reminders are planned again when it was taken."""
        self.after.send_sequence += 1
        self.after.attempt = 0
        self.after.lease = self.after.received = self.after.remind_at = None
        self.after.occasion = occasion
        self.after.send_at = self.after.soonest(self.cause.at, policy)

    def stop_sending(self) -> None:
        """Nothing more is to be sent; an attempt under way ends as history."""
        self.after.lease = None
        self.after.send_at = None

    def plan_reminder(self, policy: Policy) -> None:
        """Remind on the first of the policy's days that is still ahead, if the link works then. However many have gone
        by meanwhile, they do not come back."""
        after, at = self.after, self.cause.at
        after.remind_at = None
        if after.sent_at is None or after.expires_at is None or after.invitee is None:
            return
        gone_by = sum(after.sent_at + day <= at for day in policy.reminders)
        after.reminders = max(after.reminders, gone_by)
        if after.reminders < len(policy.reminders):
            day = after.sent_at + policy.reminders[after.reminders]
            moment = policy.quiet.over(day, after.invitee.time_zone)
            after.remind_at = moment if moment < after.expires_at else None

    def keep_reminder(self, policy: Policy) -> None:
        """Let the reminder stand that lies ahead while the link works; else see whether there is another."""
        moment, ends = self.after.remind_at, self.after.expires_at
        if moment is None or moment <= self.cause.at or (ends is not None and moment >= ends):
            self.plan_reminder(policy)

    def end_reminders(self) -> None:
        """Nobody is reminded of this link any more."""
        self.after.remind_at = None
        self.after.reminders = _ALL_OVER

    def done(self) -> Change:
        after, before, cause = self.after, self.before, self.cause
        if after.state not in REMINDED:
            after.remind_at = None
        after.version = before.version + max(1, len(self.entered))
        after.updated_at = cause.at
        due = next_due(
            state=after.state,
            lease_until=after.lease.until if after.lease else None,
            send_at=after.send_at,
            remind_at=after.remind_at,
            expires_at=after.expires_at,
        )
        after.due_at, after.due_once_armed = (None, due) if after.disarmed else (due, None)
        if cause.event_id is not None:
            after.handled = (*before.handled, cause.event_id)[-REMEMBERED_EVENTS:]
        # A tombstone of somebody nobody told us of has nothing to tell.
        entered = self.entered if after.invitee is not None else []
        facts = tuple(
            Fact(name, state, before.version + number, after) for number, (name, state) in enumerate(entered, start=1)
        )
        return Change(before if before.version else None, after, tuple(self.steps), facts)

    def _step(self, what: str, from_: State, to: State, detail: Mapping[str, Any] | None) -> None:
        cause = self.cause
        merged = {**(cause.detail or {}), **(detail or {})} or None
        self.steps.append(Step(cause.at, str(what), from_, to, cause.actor, cause.event_id, merged))
