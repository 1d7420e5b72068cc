"""What may be asked for of members, over HTTP and on pages alike: what is refused, and with which words."""

from __future__ import annotations

from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from convive_contracts.events import Channel, InviteBy, Role, Short
from convive_kit.addresses import Email, Name, Phone, a_mobile, email_key
from convive_kit.http import Body


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        raise ValueError("Give a time zone of the IANA database, such as Europe/Paris.") from None
    return name


Locale = Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*$", max_length=35, examples=["fr"])]
TimeZone = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_+\-/]+$", max_length=64, examples=["Europe/Paris"]), AfterValidator(_known_zone)
]
Flag = Annotated[bool, Field(strict=True)]


class NewMember(Body):
    first_name: Name
    last_name: Name
    email: Annotated[Email, Field(description="Their login.", examples=["jeanne@example.com"])]
    employee_code: Short | None = None
    role: Role = "standard_user"
    own_expense_reports: Flag = False
    locale: Locale = "fr"
    time_zone: TimeZone = "Europe/Paris"
    # Before the phone, which is judged by it.
    invite_by: Annotated[InviteBy, Field(description="`none`: invite later.")] = "email"
    phone: Annotated[
        Phone | None,
        Field(
            validate_default=True,
            description="Needed to invite by SMS. E.164, or as it is dialled in France.",
            examples=["06 12 34 56 78"],
        ),
    ] = None

    @field_validator("phone")
    @classmethod
    def _needed_for_sms(cls, phone: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("invite_by") != "sms":
            return phone
        if phone is None:
            raise ValueError("A phone number is needed to invite by SMS, such as 06 12 34 56 78.")
        return a_mobile(phone)

    def fields(self) -> dict[str, Any]:
        """As the member's document keeps them."""
        return {**self.model_dump(), "email_key": email_key(self.email)}


class MemberPatch(Body):
    """A JSON merge patch. To invite somebody, or to invite them again, POST to `…/invitation` instead."""

    first_name: Name = ""
    last_name: Name = ""
    email: Email = ""
    employee_code: Short | None = None
    role: Role = "standard_user"
    own_expense_reports: Flag = False
    locale: Locale = "fr"
    time_zone: TimeZone = "Europe/Paris"
    phone: Phone | None = None

    def fields(self) -> dict[str, Any]:
        """What the caller set, as the member's document keeps it."""
        fields = self.model_dump(exclude_unset=True)
        return {**fields, "email_key": email_key(self.email)} if "email" in fields else fields


class InvitationRequest(Body):
    invite_by: Channel
