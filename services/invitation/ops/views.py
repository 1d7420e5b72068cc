"""What operators and firms see of an invitation, and what they may send."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from convive_kit.addresses import Email, Phone
from convive_kit.http import Body, ListQuery, Moment, Timestamp, invalid
from invitation.lifecycle.invitation import Invitation, Step
from invitation.lifecycle.states import State
from invitation.ops.selection import Criteria


class InvitationQuery(Criteria, ListQuery):
    sort: Literal["-created_at", "created_at"] = "-created_at"


class ExportQuery(Criteria):
    format: Literal["csv", "jsonl"] = "csv"


class Resend(Body):
    channel: Literal["email", "sms"] | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None


class Revoke(Body):
    reason: Annotated[str, Field(max_length=500)] | None = None


class Extend(Body):
    until: Moment
    reason: Annotated[str, Field(max_length=500)] | None = None


class Correct(Body):
    email: Email | None = None
    phone: Phone | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None

    def fields(self) -> dict[str, str]:
        """What is to be corrected; raises a 422 where that is nothing."""
        given: dict[str, str] = self.model_dump(include={"email", "phone"}, exclude_unset=True, exclude_none=True)
        if not given:
            raise invalid("email", "Give the right email, the right phone, or both.")
        return given


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
        "due_at": invitation.due_at or invitation.due_once_armed,
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
