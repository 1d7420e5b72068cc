"""What an invitation may do, written down once more from the contract: the checker must not believe the product."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

WAY_IN = ("pending", "sent", "opened", "password_set", "active")
STATES = (*WAY_IN, "failed", "expired", "revoked", "declined")
_BEFORE_REDEMPTION = ("pending", "sent", "opened", "failed", "expired", "declined")


def _to(state: str, *from_: str) -> dict[str, str]:
    return dict.fromkeys(from_, state)


def _any_but(*states: str) -> tuple[str, ...]:
    return tuple(state for state in STATES if state not in states)


MOVES: Mapping[str, Mapping[str, str]] = {
    "accepted": {"pending": "sent", "sent": "sent", "opened": "opened"},
    "gave_up": _to("failed", "pending", "sent"),
    "opened": _to("opened", "pending", "sent", "failed"),
    "redeemed": _to("password_set", *_any_but("password_set", "active")),
    "signed_in": _to("active", *_any_but("active")),
    "resend": _to("pending", *_BEFORE_REDEMPTION),
    "address_changed": _to("pending", *_BEFORE_REDEMPTION),
    "renew": _to("pending", *_BEFORE_REDEMPTION),
    "extended": {"pending": "pending", "sent": "sent", "opened": "opened", "expired": "sent"},
    "expired": _to("expired", "pending", "sent", "opened"),
    "declined": _to("declined", "pending", "sent", "opened", "failed"),
    "revoked": _to("revoked", *_any_but("active", "revoked")),
    "created_again": _to("pending", *STATES),
}
"""Everywhere else a trigger leaves the state as it is."""
_NOTES = ("of_send", "kept", "same_link", "ignored", "held")
"""Details of a step that only keeps something in mind."""
_NAMED = {"extended": "extended", "accepted": "sent"}
_TELL_WHO = ("created", "updated", "created_again", "address_changed")


def illegal(history: Sequence[Mapping[str, Any]], state: str) -> Iterator[str]:
    """Every step that is no row of the table, and every gap between two steps."""
    at = "pending"
    for step in history:
        from_, to, trigger = step["from"], step["to"], step["trigger"]
        if from_ != at:
            yield f"from {from_}, but it was {at} ({trigger})"
        at = to
        if _is_note(step):
            legal = from_ == to
        elif step.get("detail", {}).get("skipped"):
            legal = (from_, to) in pairwise(WAY_IN) and trigger in ("redeemed", "signed_in")
        else:
            legal = to == MOVES.get(trigger, {}).get(from_, from_)
        if not legal:
            yield f"{from_} → {to} by {trigger}"
    if at != state:
        yield f"the history ends in {at}, the invitation is {state}"


def facts(history: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The events that a history must have made, in order: each entered state but `pending`, each send that was taken,
    each extension, and the first receipt of a send and its bounce. Of somebody whom nobody has told us of there is
    nothing to tell."""
    known = False
    for step in history:
        from_, to, trigger, detail = step["from"], step["to"], step["trigger"], step.get("detail", {})
        known = known or (trigger in _TELL_WHO and not str(detail.get("ignored", "")).startswith("older"))
        moves = detail.get("skipped") or (from_ in MOVES.get(trigger, {}) and not _is_note(step))
        if known and moves and trigger in _NAMED:
            yield _NAMED[trigger]
        elif known and trigger in ("delivered", "bounced") and not _is_note(step):
            yield trigger
        elif known and moves and to != "pending":
            yield to


def _is_note(step: Mapping[str, Any]) -> bool:
    return any(note in step.get("detail", {}) for note in _NOTES)
