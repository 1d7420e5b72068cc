"""Members as they are answered over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from convive_kit.http import Timestamp
from directory.model.member import Member


class InvitationOut(BaseModel):
    id: UUID
    state: str
    channel: str
    updated_at: Timestamp
    expires_at: Timestamp | None
    reason: str | None


class MemberOut(BaseModel):
    id: UUID
    dossier_id: UUID
    first_name: str
    last_name: str
    email: str
    phone: str | None
    employee_code: str | None
    role: str
    own_expense_reports: bool
    locale: str
    time_zone: str
    invite_by: Literal["email", "sms", "none"]
    created_at: Timestamp
    has_signed_in: Annotated[bool, Field(description="Since they accepted their place in this dossier.")]
    invitation: Annotated[InvitationOut | None, Field(description="null: not invited yet.")]

    @staticmethod
    def of(member: Member) -> MemberOut:
        return MemberOut.model_validate(member.model_dump())
