"""`/v1/password-resets`: a forgotten password, for programs."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.http import Body, Network, Problem, client_address, json_body, not_found
from convive_kit.routes import Route
from directory.i18n import Language
from directory.password_words import WHY_NOT
from directory.resets import Resets, UnknownLink, WeakPassword


class Forgotten(Body):
    email: Annotated[str, Field(max_length=320)]
    language: Language = "fr"


class NewPassword(Body):
    password: Annotated[str, Field(max_length=4096)]
    language: Language = "fr"


class PasswordChosen(BaseModel):
    account_id: UUID


class PasswordResets:
    def __init__(self, resets: Resets, trusted_proxies: tuple[Network, ...]) -> None:
        self._resets = resets
        self._trusted_proxies = trusted_proxies

    def routes(self) -> list[Route]:
        path = "/v1/password-resets"
        return [
            Route("POST", path, self.ask, "Have a link to a new password mailed", Forgotten, status=202,
                  problems=(429,)),
            Route("POST", f"{path}/{{token}}", self.choose, "Choose the password", NewPassword,
                  response=PasswordChosen, problems=(404, 409, 410, 429)),
        ]  # fmt: skip

    async def ask(self, request: web.Request) -> web.Response:
        """202 whether or not there is an account."""
        body = await json_body(request, Forgotten)
        await self._resets.ask(body.email, body.language, client_address(request, self._trusted_proxies))
        return web.Response(status=202)

    async def choose(self, request: web.Request) -> BaseModel:
        """Once: every session ends, and the person signs in with the new password. 409: used. 410: expired or
        superseded."""
        body = await json_body(request, NewPassword)
        try:
            account = await self._resets.choose(request.match_info["token"], body.password, body.language)
        except UnknownLink:
            raise not_found("link") from None
        except WeakPassword as weak:
            raise Problem(
                422,
                "weak_password",
                errors=[{"field": "password", "message": WHY_NOT[reason]} for reason in weak.reasons],
                reasons=[reason.value for reason in weak.reasons],
            ) from None
        return PasswordChosen(account_id=UUID(account.account_id))
