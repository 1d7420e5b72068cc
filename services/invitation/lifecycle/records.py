"""The small facts an invitation is made of. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from invitation.lifecycle.states import State

if TYPE_CHECKING:
    from invitation.lifecycle.invitation import Invitation

Channel = Literal["email", "sms", "none"]
Occasion = Literal["link", "reminder", "renewal"]
Outcome = Literal["delivered", "bounced"]


@dataclass(frozen=True, slots=True)
class Invitee:
    """The person and the place they are given, as last told."""

    member_id: str
    first_name: str
    last_name: str
    email: str
    email_key: str
    dossier_id: str
    dossier_name: str
    cabinet_id: str
    cabinet_name: str
    phone: str | None = None
    employee_code: str | None = None
    locale: str = "fr"
    time_zone: str = "Europe/Paris"
    role: str = "standard_user"
    own_expense_reports: bool = False
    external_ref: str | None = None
    cabinet_phone: str | None = None
    invited_by: str | None = None

    def nameless(self) -> Invitee:
        """The place without the person."""
        gone = dict.fromkeys(("phone", "employee_code", "external_ref", "invited_by"))
        return replace(self, first_name="", last_name="", email="", email_key="", **gone)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something happens: who, by which event, in whose words."""

    at: datetime
    actor: str
    event_id: str | None = None
    detail: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """How current a fact about the member is. Without a sequence the publisher's time decides."""

    time: datetime
    sequence: int | None = None

    def newer_than(self, other: Told | None) -> bool:
        if other is None:
            return True
        if self.sequence is not None and other.sequence is not None:
            return self.sequence > other.sequence
        return self.time > other.time


@dataclass(frozen=True, slots=True)
class Lease:
    """A claim on the current send: nobody else attempts it before `until`, by the database's clock."""

    owner: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider says of a send after it took it. `reason` is a short stable word such as `unknown_address`, for
    a bounce; `detail` is for the history and holds no address."""

    outcome: Outcome
    send_sequence: int
    reason: str | None = None
    detail: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the history."""

    at: datetime
    trigger: str
    from_: State
    to: State
    actor: str
    event_id: str | None = None
    detail: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """Something others may know: becomes the event `invitation.<name>` with `version` as its sequence, and the numbers
    of the invitation as it was then."""

    name: str
    state: State
    version: int
    of: Invitation
