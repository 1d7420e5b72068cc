"""What operators and firms see of an invitation, and what they may send."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from convive_kit.http import Body, ListQuery, Timestamp
from convive_kit.text import search_key
from invitation.lifecycle.invitation import Invitation, Step
from invitation.lifecycle.states import State


def _positive(span: timedelta) -> timedelta:
    if not timedelta(0) < span <= timedelta(days=3650):
        raise ValueError("give an ISO 8601 duration such as PT1H")
    return span


def _searchable(text: str) -> str:
    if not search_key(text):
        raise ValueError("give the beginning of a name or an e-mail address")
    return text


_MOST = 100
"""Values of one field: each is a walk of its own through an index."""


class InvitationQuery(ListQuery):
    state: list[State] = Field(default=[], max_length=_MOST, description="Repeat it for OR.")
    channel: list[Literal["email", "sms", "none"]] = Field(default=[], max_length=_MOST)
    cabinet_id: list[UUID] = Field(default=[], max_length=_MOST)
    dossier_id: list[UUID] = Field(default=[], max_length=_MOST)
    member_id: list[UUID] = Field(default=[], max_length=_MOST)
    email: list[Annotated[str, Field(max_length=320)]] = Field(default=[], max_length=_MOST)
    q: Annotated[str, Field(max_length=200), AfterValidator(_searchable)] | None = Field(
        default=None, description="How a name or the e-mail address begins; case and accents do not matter."
    )
    error: list[Annotated[str, Field(max_length=200)]] = Field(
        default=[], max_length=_MOST, description="The exact `reason`."
    )
    created_after: AwareDatetime | None = None
    created_before: AwareDatetime | None = None
    stuck_for: Annotated[timedelta, AfterValidator(_positive)] | None = Field(
        default=None, description="No step for that long (ISO 8601 duration) in a state that is not final."
    )
    sort: Literal["-created_at", "created_at"] = "-created_at"


class Resend(Body):
    channel: Literal["email", "sms"] | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None


class Revoke(Body):
    reason: Annotated[str, Field(max_length=500)] | None = None


class Extend(Body):
    until: AwareDatetime


class MemberView(BaseModel):
    id: str
    first_name: str
    last_name: str
    email: str
    phone: str | None
    locale: str
    role: str


class NamedView(BaseModel):
    id: str
    name: str


class InvitationView(BaseModel):
    id: str
    state: State
    reason: str | None
    channel: Literal["email", "sms", "none"]
    member: MemberView | None
    dossier: NamedView | None
    cabinet: NamedView | None
    source: str
    link_sequence: int
    send_sequence: int
    attempt: int
    version: int
    created_at: Timestamp
    updated_at: Timestamp
    expires_at: Timestamp | None
    due_at: Timestamp | None


class StepView(BaseModel):
    at: Timestamp
    trigger: str
    from_: State = Field(serialization_alias="from")
    to: State
    actor: str
    event_id: str | None
    detail: dict[str, Any] | None


class InvitationDetail(InvitationView):
    history: list[StepView]


def invitation_fields(invitation: Invitation) -> dict[str, Any]:
    """The fields of `InvitationView`."""
    who = invitation.invitee
    return {
        "id": invitation.id,
        "state": invitation.state,
        "reason": invitation.reason,
        "channel": invitation.channel,
        "member": who
        and {
            "id": who.member_id,
            "first_name": who.first_name,
            "last_name": who.last_name,
            "email": who.email,
            "phone": who.phone,
            "locale": who.locale,
            "role": who.role,
        },
        "dossier": who and {"id": who.dossier_id, "name": who.dossier_name},
        "cabinet": who and {"id": who.cabinet_id, "name": who.cabinet_name},
        "source": invitation.source,
        "link_sequence": invitation.link_sequence,
        "send_sequence": invitation.send_sequence,
        "attempt": invitation.attempt,
        "version": invitation.version,
        "created_at": invitation.created_at,
        "updated_at": invitation.updated_at,
        "expires_at": invitation.expires_at,
        "due_at": invitation.due_at,
    }


def view_of(invitation: Invitation) -> InvitationView:
    """One line of a list."""
    return InvitationView.model_validate(invitation_fields(invitation))


def step_view(step: Step) -> StepView:
    """One line of a history."""
    return StepView(
        at=step.at,
        trigger=step.trigger,
        from_=step.from_,
        to=step.to,
        actor=step.actor,
        event_id=step.event_id,
        detail=dict(step.detail) if step.detail else None,
    )


def in_time(until: datetime, now: datetime) -> str | None:
    """What is wrong with a new expiry, or None."""
    if until <= now:
        return "must lie in the future"
    if until > now + timedelta(days=366):
        return "must lie within a year"
    return None
