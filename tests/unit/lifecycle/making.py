"""Makes invitations at any point of their life; what a test does not name does not matter to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from invitation.lifecycle.invitation import Cause, Change, Channel, Invitation, Invitee, Told
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SOURCE = "/convive/directory"
POLICY = Policy()
_ids = count(1)


def later(**span: float) -> datetime:
    """`NOW` and a while."""
    return NOW + timedelta(**span)


def an_invitee(**fields: Any) -> Invitee:
    email: str = fields.get("email", "jeanne@example.com")
    return Invitee(
        **{
            "member_id": "11111111-1111-4111-8111-111111111111",
            "first_name": "Jeanne",
            "last_name": "Martin",
            "email": email,
            "email_key": email.lower(),
            "dossier_id": "22222222-2222-4222-8222-222222222222",
            "dossier_name": "Boulangerie Martin",
            "cabinet_id": "33333333-3333-4333-8333-333333333333",
            "cabinet_name": "Cabinet Léger",
            **fields,
        }
    )


def a_cause(at: datetime = NOW, actor: str = "test", **fields: Any) -> Cause:
    """By a person or by ourselves; for the cause of an event see `an_event`."""
    return Cause(at, actor, **fields)


def an_event(at: datetime = NOW, id: str | None = None) -> Cause:
    """Because of an event that was never handled before."""
    return Cause(at, f"event:{SOURCE}", id or f"event-{next(_ids)}")


def told(sequence: int | None = 1, at: datetime = NOW) -> Told:
    return Told(at, sequence)


def done(change: Change | None) -> Invitation:
    """The invitation after a change that there must be."""
    assert change is not None
    return change.after


def a_blank(id: str | None = None) -> Invitation:
    return Invitation.blank(id or str(uuid4()), SOURCE, NOW)


def a_pending(channel: Channel = "email", *, sequence: int | None = 1, id: str | None = None, **who: Any) -> Invitation:
    """Announced and due to be sent (with `none`: announced and waiting to be asked for)."""
    if channel == "sms":
        who.setdefault("phone", "+33612345678")
    return done(a_blank(id).created(an_invitee(**who), channel, told(sequence), an_event(), POLICY))


def a_claimed(owner: str = "worker-1", at: datetime = NOW, **fields: Any) -> Invitation:
    """Leased for its first attempt."""
    return a_pending(**fields).claimed(owner, at, POLICY).after


def an_invitation(state: State, **fields: Any) -> Invitation:
    """An invitation that came to `state` in the usual way."""
    pending = a_pending(**fields)
    sent = pending.claimed("worker-1", NOW, POLICY).after.accepted(pending.send_sequence, a_cause(), POLICY).after
    match state:
        case State.PENDING:
            return pending
        case State.SENT:
            return sent
        case State.OPENED:
            return sent.opened(a_cause(), POLICY).after
        case State.PASSWORD_SET:
            return done(sent.redeemed("account-1", "new", a_cause()))
        case State.ACTIVE:
            return done(sent.redeemed("account-1", "existing", a_cause(), signed_in=True))
        case State.FAILED:
            claimed = pending.claimed("worker-1", NOW, POLICY).after
            return claimed.refused((1, 1), "550 no such user", a_cause(), POLICY, for_good=True).after
        case State.EXPIRED:
            return done(sent.came_due(a_cause(later(days=14)), POLICY))
        case State.REVOKED:
            return done(sent.revoked("requested", a_cause()))
        case State.DECLINED:
            return sent.declined(a_cause()).after


def changed(invitation: Invitation, **fields: Any) -> Invitation:
    """A copy with some fields set by hand, for what no usual way leads to."""
    return replace(invitation, **fields)


def steps_of(change: Change | None) -> list[tuple[str, str, str]]:
    """Each step of a change as trigger, from, to."""
    assert change is not None
    return [(step.trigger, step.from_.value, step.to.value) for step in change.steps]


def facts_of(change: Change | None) -> list[tuple[str, int]]:
    """Each fact of a change as name and version."""
    assert change is not None
    return [(fact.name, fact.version) for fact in change.facts]
