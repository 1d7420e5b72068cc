"""The life of an invitation as one table: states, triggers, and what happens to a trigger that comes late.

The table is the documentation; `docs/lifecycle.md` is made from it (`invitation.lifecycle.diagram`). One shared
synchronous `transitions.Machine` runs it. The machine decides and nothing else: it is no lock (two loaded copies of one
document both say yes); the compare-and-swap of the store is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, Protocol, cast

from transitions import Machine


class State(StrEnum):
    """Where an invitation stands."""

    PENDING = "pending"
    SENT = "sent"
    OPENED = "opened"
    PASSWORD_SET = "password_set"  # noqa: S105 (a state, not a secret)
    ACTIVE = "active"
    FAILED = "failed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DECLINED = "declined"


PENDING, SENT, OPENED = State.PENDING, State.SENT, State.OPENED
PASSWORD_SET, ACTIVE = State.PASSWORD_SET, State.ACTIVE
FAILED, EXPIRED, REVOKED, DECLINED = State.FAILED, State.EXPIRED, State.REVOKED, State.DECLINED

WAY_IN = (PENDING, SENT, OPENED, PASSWORD_SET, ACTIVE)
"""The states of the way in, in order. A trigger that jumps ahead records those it skips."""
FINAL = frozenset((ACTIVE, REVOKED, DECLINED))
"""States in which nothing more is expected to happen by itself."""


class Trigger(StrEnum):
    """What can happen to an invitation."""

    ACCEPTED = "accepted"
    GAVE_UP = "gave_up"
    OPENED = "opened"
    REDEEMED = "redeemed"
    SIGNED_IN = "signed_in"
    RESEND = "resend"
    ADDRESS_CHANGED = "address_changed"
    RENEW = "renew"
    EXTENDED = "extended"
    EXPIRED = "expired"
    DECLINED = "declined"
    REVOKED = "revoked"
    CREATED_AGAIN = "created_again"


@dataclass(frozen=True, slots=True)
class Transition:
    """One row: in any of `from_`, `trigger` leads to `to`; `to=None` means that the state stays but the fact counts."""

    trigger: Trigger
    from_: tuple[State, ...]
    to: State | None
    why: str = ""


def _any_but(*states: State) -> tuple[State, ...]:
    return tuple(state for state in State if state not in states)


_BEFORE_REDEMPTION = (PENDING, SENT, OPENED, FAILED, EXPIRED, DECLINED)

TABLE = (
    Transition(Trigger.ACCEPTED, (PENDING,), SENT, "The provider took the current send."),
    # Others are told of every send: whoever rebuilds from what they were told must not send it again.
    Transition(Trigger.ACCEPTED, (SENT, OPENED), None, "It took a reminder, or the same link asked for again."),
    Transition(Trigger.GAVE_UP, (PENDING, SENT), FAILED, "Refused for good, attempts used up, or bounced."),
    # A click proves delivery, even if we crashed before noting it, and even if a bounce said otherwise.
    Transition(Trigger.OPENED, (PENDING, SENT, FAILED), OPENED, "A person acted on the page."),
    # The directory alone decides a redemption: when it says so, no state of ours can make it untrue.
    Transition(Trigger.REDEEMED, _any_but(PASSWORD_SET, ACTIVE), PASSWORD_SET, "The directory used the link up."),
    Transition(Trigger.SIGNED_IN, _any_but(ACTIVE), ACTIVE, "First sign-in since this invitation."),
    Transition(Trigger.RESEND, _BEFORE_REDEMPTION, PENDING, "A new link, on purpose."),
    Transition(Trigger.ADDRESS_CHANGED, _BEFORE_REDEMPTION, PENDING, "A new link to the new address."),
    Transition(Trigger.RENEW, _BEFORE_REDEMPTION, PENDING, "The person asked for a new link."),
    Transition(Trigger.EXTENDED, (PENDING, SENT, OPENED), None, "A later expiry."),
    # An extension of an expired link makes the same link usable again: it was sent, that much is known.
    Transition(Trigger.EXTENDED, (EXPIRED,), SENT, "The same link works again."),
    Transition(Trigger.EXPIRED, (PENDING, SENT, OPENED), EXPIRED, "The link's life is over."),
    Transition(Trigger.DECLINED, (PENDING, SENT, OPENED, FAILED), DECLINED, "“This isn't me.”"),
    Transition(Trigger.REVOKED, _any_but(ACTIVE, REVOKED), REVOKED, "Removed, or taken back."),
    # The same member id after its removal: a new life in the same document, so old links stay dead.
    Transition(Trigger.CREATED_AGAIN, tuple(State), PENDING, "Added again after a removal."),
)

KEPT = {
    Trigger.ACCEPTED: "The mail was taken after the person had moved on, or taken twice: good to know, nothing more.",
    Trigger.GAVE_UP: "Whoever opened the link has it: a late bounce does not take it away.",
    Trigger.OPENED: "A second look, or a look at a link that is over.",
    Trigger.REDEEMED: "Told again.",
    Trigger.SIGNED_IN: "Signing in again is everyday life.",
    Trigger.RESEND: "Whoever has a password needs no link; what was revoked stays revoked.",
    Trigger.ADDRESS_CHANGED: "Too late for another link: the details change, the state does not.",
    Trigger.RENEW: "Whoever has a password needs no link; what was revoked stays revoked.",
    Trigger.EXTENDED: "There is no link to extend.",
    Trigger.EXPIRED: "It has ended some other way already.",
    Trigger.DECLINED: "It has ended some other way already, or the person is in.",
    Trigger.REVOKED: "An active account is not an invitation any more: the directory ends its access.",
}
"""Everywhere else a trigger changes no state and is kept in the history, for the reason given here."""


class HasState(Protocol):
    """What the machine works on."""

    state: State


def _machine() -> Machine:
    machine = Machine(
        model=None,
        states=list(State),
        initial=PENDING,
        auto_transitions=False,
    )
    for row in TABLE:
        machine.add_transition(
            row.trigger.value,
            list(row.from_),
            row.to,
        )
    for trigger in KEPT:
        machine.add_transition(trigger.value, list(_any_but(*_moving_states(trigger))), None)
    return machine


def _moving_states(trigger: Trigger) -> set[State]:
    return {state for row in TABLE if row.trigger is trigger for state in row.from_}


_LIFECYCLE = _machine()
_MOVES = {trigger: frozenset(_moving_states(trigger)) for trigger in Trigger}


def counts(trigger: Trigger, state: State) -> bool:
    """Whether the trigger does something in that state (elsewhere it is only kept in the history)."""
    return state in _MOVES[trigger]


def fire(trigger: Trigger, model: HasState) -> State:
    """Tell the machine what happened; sets and returns the model's state."""
    # Triggered through the event, not through the model: a model that is added stays in the machine's list.
    cast("Any", _LIFECYCLE.events)[trigger.value].trigger(model)
    return model.state


def skipped(start: State, end: State) -> Iterator[tuple[State, State]]:
    """The steps of the way in between `start` and `end`, the last one excluded: what must have happened unseen.
    None where the start lies beside the way in: its history tells how far it had come."""
    if start in WAY_IN:
        states = WAY_IN[WAY_IN.index(start) : WAY_IN.index(end)]
        yield from pairwise(states)
