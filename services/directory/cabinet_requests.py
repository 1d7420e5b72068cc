"""What may be asked of a cabinet: over HTTP, and in the forms of the firm's pages."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from convive_contracts.events import Policies, Short
from convive_kit.addresses import Email, Name, SmsSender
from convive_kit.http import Body
from directory.member_requests import Flag


def _without_accents(email: str) -> str:
    if not email.isascii():
        raise ValueError("Give an address in plain letters: not every mail program can answer to accents.")
    return email


class PoliciesPatch(Policies):
    """What is named changes; null goes back to Convive's own choice."""

    model_config = Body.model_config

    sms_after_bounce: Flag = False


class CabinetPatch(Body):
    """A JSON merge patch."""

    name: Name = ""
    phone: Annotated[Short | None, Field(description="As people read it in mails, in any notation.")] = None
    colour: Annotated[
        Annotated[str, Field(pattern=r"^#[0-9A-Fa-f]{6}$"), AfterValidator(str.lower)] | None,
        Field(
            description="Of the button and the line under its name, in mails and on link pages.", examples=["#17594a"]
        ),
    ] = None
    reply_to: Annotated[
        Annotated[Email, AfterValidator(_without_accents)] | None,
        Field(description="Where answers to its mails go; without it nobody reads them."),
    ] = None
    sms_sender: Annotated[SmsSender | None, Field(description="Whom its texts come from.")] = None
    policies: PoliciesPatch = PoliciesPatch()

    def fields(self) -> dict[str, Any]:
        """What the caller set."""
        return self.model_dump(exclude_unset=True)
