"""What a link's steps are sent and what they answer; the same fields as JSON or as a form."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from convive_kit.http import Timestamp, form_body, json_body
from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.lifecycle.states import State
from invitation.pages.context import Firm

Model = TypeVar("Model", bound=BaseModel)
Typed = Annotated[str, Field(min_length=1, max_length=4096)]
"""A password as typed; the policy judges its length in characters, this only bounds the work."""


class _Form(BaseModel):
    """Browsers and their extensions add fields: what is unknown is ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class Open(_Form):
    proof: Literal["input"] = Field(description="The page saw input that the browser vouches for.")


class Password(_Form):
    password: Typed


class Accept(_Form):
    password: Typed | None = Field(default=None, description="The account's password; or send its session.")


class Decline(_Form):
    reason: Literal["wrong_person", "unknown_firm", "not_wanted"] | None = None


class Nothing(_Form):
    proof: str | None = None


class Named(BaseModel):
    name: str


class InvitationView(BaseModel):
    state: State
    cabinet: Named
    dossier: Named
    first_name: str
    role: str
    account: Literal["new", "existing"]
    expires_at: Timestamp | None

    @staticmethod
    def of(invitation: Invitation, invitee: Invitee, firm: Firm, account: Literal["new", "existing"]) -> InvitationView:
        return InvitationView(
            state=invitation.state,
            cabinet=Named(name=firm.cabinet),
            dossier=Named(name=firm.dossier),
            first_name=invitee.first_name,
            role=invitee.role,
            account=account,
            expires_at=invitation.expires_at,
        )


class StateView(BaseModel):
    state: State


class Redirect(StateView):
    next: str = Field(description="The directory's address that signs the person in, within a minute.")


async def read(request: web.Request, model: type[Model]) -> Model:
    """The body as JSON or as a form; 422 names what does not fit."""
    if request.content_type == "application/x-www-form-urlencoded":
        return await form_body(request, model)
    return await json_body(request, model)
