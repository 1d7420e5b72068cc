"""What a link's steps are sent and what they answer; the same fields as JSON or as a form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from convive_kit.http import Timestamp, form_body, json_body
from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.lifecycle.states import State
from invitation.pages.context import Firm, Other, Outcome

Model = TypeVar("Model", bound=BaseModel)
MOST_OTHERS = 50
"""Invitations that can be accepted beside one."""
Typed = Annotated[str, Field(min_length=1, max_length=4096)]
"""A password as typed; the policy judges its length in characters, this only bounds the work."""


class _Form(BaseModel):
    """Browsers and their extensions add fields: what is unknown is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class Open(_Form):
    proof: Literal["input"] = Field(description="The page saw input that the browser vouches for.")


class Password(_Form):
    password: Typed


InvitationId = Annotated[str, Field(max_length=64)]


class Accept(_Form):
    password: Typed | None = Field(default=None, description="The account's password; or send its session.")
    also: list[InvitationId] = Field(
        default=[],
        max_length=MOST_OTHERS,
        description="Other open invitations of the same person to accept, from `others`; with a session alone.",
    )


class Decline(_Form):
    reason: Literal["wrong_person", "unknown_firm", "not_wanted"] | None = None


class Nothing(_Form):
    proof: str | None = None


class Named(BaseModel):
    name: str


class OtherView(BaseModel):
    """Another open invitation of the person who is signed in."""

    id: str
    cabinet: Named
    dossier: Named
    role: str

    @staticmethod
    def of(other: Other) -> OtherView:
        return OtherView(
            id=other.id, cabinet=Named(name=other.cabinet), dossier=Named(name=other.dossier), role=other.role
        )


class InvitationView(BaseModel):
    state: State
    cabinet: Named
    dossier: Named
    first_name: str
    role: str
    account: Literal["new", "existing"]
    expires_at: Timestamp | None
    others: list[OtherView] = Field(
        default=[], description="Told to the invited person alone, signed in with a verified address."
    )

    @staticmethod
    def of(
        invitation: Invitation,
        invitee: Invitee,
        firm: Firm,
        account: Literal["new", "existing"],
        others: Sequence[Other] = (),
    ) -> InvitationView:
        return InvitationView(
            state=invitation.state,
            cabinet=Named(name=firm.cabinet),
            dossier=Named(name=firm.dossier),
            first_name=invitee.first_name,
            role=invitee.role,
            account=account,
            expires_at=invitation.expires_at,
            others=[OtherView.of(other) for other in others],
        )


class StateView(BaseModel):
    state: State


class Redirect(StateView):
    next: str = Field(description="The directory's address that signs the person in, within a minute.")


class AlsoAccepted(BaseModel):
    id: str
    outcome: Outcome


class Accepted(Redirect):
    also: list[AlsoAccepted] = Field(default=[], description="What became of each of the other invitations.")


async def read(request: web.Request, model: type[Model]) -> Model:
    """The body as JSON or as a form; 422 names what does not fit."""
    if request.content_type == "application/x-www-form-urlencoded":
        return await form_body(request, model)
    return await json_body(request, model)
