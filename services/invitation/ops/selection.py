"""Which invitations a call means: the same criteria in a list's query, an export and a bulk operation."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field

from convive_kit.addresses import BadEmail, email_key, normalise_email
from convive_kit.http import Moment, Query, invalid
from convive_kit.text import search_key
from invitation.lifecycle.states import State
from invitation.ops.callers import Caller
from invitation.store.protocol import Filter

_MOST = 100
"""Values of one field: each is a walk of its own through an index."""


def _searchable(text: str) -> str:
    if not search_key(text):
        raise ValueError("give the beginning of a name or an e-mail address")
    return text


def _positive(span: timedelta) -> timedelta:
    if not timedelta(0) < span <= timedelta(days=3650):
        raise ValueError("give an ISO 8601 duration such as PT1H")
    return span


class Criteria(Query):
    """Values of one field mean OR, fields mean AND."""

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
    created_after: Moment | None = None
    created_before: Moment | None = None
    stuck_for: Annotated[timedelta, AfterValidator(_positive)] | None = Field(
        default=None, description="No step for that long (ISO 8601 duration) in a state that is not final."
    )

    @property
    def is_empty(self) -> bool:
        """Whether it means everything."""
        return not any(getattr(self, name) for name in Criteria.model_fields)

    def chosen(self, caller: Caller, now: datetime) -> Filter | None:
        """The invitations meant, as far as the caller sees them; None for none at all. 422 for what is no address."""
        cabinet_ids = [str(id) for id in self.cabinet_id]
        if caller.cabinet_id is not None:
            if cabinet_ids and caller.cabinet_id not in cabinet_ids:
                return None
            cabinet_ids = [caller.cabinet_id]
        return Filter(
            states=self.state,
            channels=self.channel,
            cabinet_ids=cabinet_ids,
            dossier_ids=[str(id) for id in self.dossier_id],
            member_ids=[str(id) for id in self.member_id],
            email_keys=[_email_key(email) for email in self.email],
            errors=self.error,
            created_after=self.created_after,
            created_before=self.created_before,
            stuck_since=now - self.stuck_for if self.stuck_for else None,
            begins=search_key(self.q or ""),
        )

    def kept(self) -> dict[str, Any]:
        """What was asked for, as it is kept and shown: without the names and addresses."""
        kept = self.model_dump(mode="json", include=set(Criteria.model_fields), exclude_defaults=True)
        return {name: "(hidden)" if name in ("q", "email") else value for name, value in kept.items()}


def _email_key(text: str) -> str:
    try:
        return email_key(normalise_email(text))
    except BadEmail:
        raise invalid("email", BadEmail.message()) from None
