"""The data of every event, as pydantic models.

A type gains fields, never loses or changes them; a new meaning is a `.v2`. Unknown fields are ignored, so that an old
reader understands a newer publisher.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal, Self, get_args
from uuid import NAMESPACE_URL, UUID, uuid5

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

DIRECTORY_SOURCE = "/convive/directory"
INVITATION_SOURCE = "/convive/invitation"

Role = Literal["expense_approver", "standard_user", "administrator"]
_ROLES: tuple[str, ...] = get_args(Role)
InviteBy = Literal["email", "sms", "none"]
Channel = Literal["email", "sms"]

# Most names need no look at single characters: letters of the Latin, Greek and Cyrillic blocks, spaces and punctuation.
_PLAIN_NAME = re.compile(r"[ -~\u00a1-\u024f\u0370-\u04ff\u2019]{1,100}")
_CANONICAL_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHAPE_OF_AN_ADDRESS = re.compile(r"[^\s@\x00-\x1f\x7f]+@[^\s@\x00-\x1f\x7f]+")


def _free_of_controls(name: str) -> str:
    if _PLAIN_NAME.fullmatch(name) is None and any(
        unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name
    ):
        raise ValueError("must not contain control characters or line breaks")
    if not name.strip():
        raise ValueError("must not be blank")
    return name


def _shaped_like_an_address(email: str) -> str:
    if _SHAPE_OF_AN_ADDRESS.fullmatch(email) is None:
        raise ValueError("must be an e-mail address such as jeanne@example.com, without spaces or line breaks")
    return email


def _a_uuid(text: str) -> str:
    if _CANONICAL_UUID.fullmatch(text):
        return text
    try:
        return str(UUID(text))
    except ValueError:
        raise ValueError("must be a UUID in its usual text form") from None


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_free_of_controls)]
"""1 to 100 characters of any script, without control characters."""
Address = Annotated[str, Field(max_length=254), AfterValidator(_shaped_like_an_address)]
"""Shaped like an e-mail address (at most 254 characters, RFC 5321); whether it exists, the receiver judges."""
Id = Annotated[str, Field(max_length=64), AfterValidator(_a_uuid)]
"""A UUID as text, brought to lower case with hyphens."""
Short = Annotated[str, Field(max_length=200), AfterValidator(_free_of_controls)]
_Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Phone = Annotated[str, Field(max_length=32, pattern=r"^\+[1-9][0-9]{6,14}$")]
"""E.164: a plus sign, the country code, the number, no spaces."""
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""`08:00`: hours and minutes, 24 hours a day."""


class _Data(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Member(_Data):
    """One person's place in one dossier. `email` is the login; `phone` (E.164) is needed for an invitation by SMS.

    `capabilities` are what the role and its option let them do, where the publisher says so. With them, a role that is
    new to the reader can be understood: it must name them.
    """

    id: Id
    first_name: Name
    last_name: Name
    employee_code: Short | None = None
    email: Address
    phone: Phone | None = None
    locale: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$")] = "fr"
    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_+\-/]+$")] = "Europe/Paris"
    # Before the role, which is judged by them.
    capabilities: Annotated[tuple[_Word, ...], Field(max_length=100)] | None = None
    role: _Word = "standard_user"
    own_expense_reports: bool = False

    @field_validator("role")
    @classmethod
    def _known_or_explained(cls, role: str, info: ValidationInfo) -> str:
        if role not in _ROLES and info.data.get("capabilities") is None:
            known = ", ".join(_ROLES)
            raise ValueError(f"must be one of {known}; another role must come with its `capabilities`")
        return role


class Dossier(_Data):
    """The client file the person is given a place in."""

    id: Id
    name: Name
    external_ref: Short | None = None


class Cabinet(_Data):
    """The accounting firm that invites."""

    id: Id
    name: Name
    phone: Short | None = None


class UserCreated(_Data):
    """Data of `user.created` and `user.updated`: a member in full, with the names around it as they were then."""

    member: Member
    dossier: Dossier
    cabinet: Cabinet
    invite_by: InviteBy = "email"
    invited_by: Short | None = None

    @model_validator(mode="after")
    def _a_phone_for_sms(self) -> Self:
        if self.invite_by == "sms" and self.member.phone is None:
            raise ValueError("member.phone is required when invite_by is sms: give it in E.164, such as +33612345678")
        return self


class _Ref(_Data):
    id: Id


class UserRemoved(_Data):
    """Data of `user.removed`."""

    member: _Ref
    dossier: _Ref
    cabinet: _Ref


class AccountRedeemed(_Data):
    """Data of `account.redeemed`: a link was used up, which `link_sequence` numbers. `credential` says whether the
    account's password is new."""

    account_id: Id
    invitation_id: Id
    credential: Literal["new", "existing"]
    link_sequence: int | None = None


class AccountSignedIn(_Data):
    """Data of `account.signed_in`; `invitation_ids` are those redeemed and not yet active, `link_sequences` number the
    links by which they were."""

    account_id: Id
    invitation_ids: Annotated[list[Id], Field(max_length=1000)] = []
    link_sequences: Annotated[dict[Id, int], Field(max_length=1000)] = {}


class Policies(_Data):
    """What a firm has chosen of when its people are written to; None is Convive's own choice. Times of day are those
    of the person invited, as `08:00`; days are those after a link was sent."""

    link_days: Annotated[int, Field(ge=1, le=90)] | None = None
    reminder_days: Annotated[tuple[Annotated[int, Field(ge=1, le=89)], ...], Field(max_length=5)] | None = None
    quiet_from: TimeOfDay | None = None
    quiet_until: TimeOfDay | None = None
    sms_after_bounce: bool = False


class CabinetState(_Data):
    """Data of `cabinet.updated`: the full public state. `colour` is `#rrggbb`, `reply_to` where answers to its mails
    go, `sms_sender` (at most 11 letters, digits and spaces) whom its texts come from."""

    id: Id
    name: Name
    phone: Short | None = None
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")] | None = None
    reply_to: Address | None = None
    sms_sender: Annotated[str, Field(pattern=r"^[A-Za-z0-9 ]{1,11}$")] | None = None
    policies: Policies = Policies()


class DossierState(_Data):
    """Data of `dossier.updated`: the full public state."""

    id: Id
    cabinet_id: Id
    name: Name
    external_ref: Short | None = None
    archived: bool = False


class InvitationRequest(_Data):
    """Data of `invitation.resend_requested` and `invitation.revoke_requested`."""

    invitation_id: Id
    channel: Channel | None = None
    reason: Annotated[str, Field(max_length=500)] | None = None
    requested_by: Annotated[str, Field(max_length=200)] | None = None


class InvitationState(_Data):
    """Data of `invitation.sent`, `opened`, `password_set`, `active`, `failed`, `expired`, `revoked`, `declined`,
    `extended`, `delivered`, `bounced`: where an invitation stands, without name, address or link."""

    invitation_id: Id
    member_id: Id
    dossier_id: Id
    cabinet_id: Id
    state: str
    version: int
    channel: InviteBy
    link_sequence: int
    send_sequence: int
    expires_at: datetime | None = None
    reason: str | None = None


class InvitationErased(InvitationState):
    """Data of `invitation.erased`: the person's names and addresses are gone for good. `account_id` is the account
    that redeemed it, if any did."""

    account_id: Id | None = None


INVITATION_FACTS = (
    "sent",
    "opened",
    "password_set",
    "active",
    "failed",
    "expired",
    "revoked",
    "declined",
    "extended",
    "delivered",
    "bounced",
)

BOUNCE_REASONS = {
    "unknown_address": "There is no such e-mail address.",
    "mailbox_full": "The mailbox is full.",
    "mailbox_disabled": "The mailbox is switched off.",
    "refused_by_policy": "The mail server of the address refuses the message.",
    "too_large": "The message is too large for the mailbox.",
    "undeliverable": "The mail could not be delivered.",
    "unknown_number": "There is no such phone number.",
    "number_blocked": "The operator lets no such message through to this number.",
    "not_a_mobile": "No text message reaches this phone number, such as a landline.",
    "country_not_allowed": "No text messages are sent to this country.",
    "too_many_to_number": "Too many text messages went to this phone number within a day.",
    "sender_refused": "The operator does not take the name that the message comes from.",
    "handset_off": "The phone was switched off or out of reach.",
    "expired": "The text message could not be delivered in time.",
    "not_delivered": "The text message could not be delivered.",
    "no_phone": "No phone number is known.",
    "attempts_used_up": "The message was not taken, however often it was tried.",
}
"""What `reason` says where a message did not arrive: refused for good, or returned. With its meaning. It may grow, and
other things can be a reason too."""

DATA_BY_TYPE: dict[str, type[BaseModel]] = {
    "convive.user.created.v1": UserCreated,
    "convive.user.updated.v1": UserCreated,
    "convive.user.removed.v1": UserRemoved,
    "convive.account.redeemed.v1": AccountRedeemed,
    "convive.account.signed_in.v1": AccountSignedIn,
    "convive.cabinet.updated.v1": CabinetState,
    "convive.dossier.updated.v1": DossierState,
    "convive.invitation.resend_requested.v1": InvitationRequest,
    "convive.invitation.revoke_requested.v1": InvitationRequest,
    **{f"convive.invitation.{fact}.v1": InvitationState for fact in INVITATION_FACTS},
    "convive.invitation.erased.v1": InvitationErased,
}
"""Every type there is, with the model of its data."""


def invitation_id(source: str, subject: str) -> str:
    """The id of the invitation that a `user.created` from `source` about `subject` leads to (RFC 9562 version 5).

    A publisher can work it out before it publishes; the same person announced twice is the same invitation.
    """
    # As `uuid.uuid5`, without the objects between: every event asks for one.
    name = hashlib.sha1(_namespace(source) + subject.encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[name[16]]
    return f"{name[:8]}-{name[8:12]}-5{name[13:16]}-{variant}{name[17:20]}-{name[20:32]}"


_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}


@lru_cache(maxsize=100)
def _namespace(source: str) -> bytes:
    return uuid5(NAMESPACE_URL, source).bytes
