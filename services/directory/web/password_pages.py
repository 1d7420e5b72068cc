"""A forgotten password: asking for a link, and what the link opens."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.http import client_address, form_body
from convive_kit.passwords import LONGEST, SHORTEST, Reason
from convive_kit.routes import Route
from directory.model.account import Account
from directory.model.refusals import PasswordLinkOver, PasswordLinkUsed
from directory.password_words import WHY_NOT
from directory.resets import Resets, UnknownLink, WeakPassword
from directory.settings import DirectorySettings
from directory.web.frame import Frame, page, see_other
from directory.web.language import language_of, msgid
from directory.web.visitors import Visitors

# The heading of the page, and what to do.
_USED = (
    msgid("This link was used already"),
    msgid(
        "A new password has been chosen since this link was sent. If it was you, sign in with it. If it was not, ask"
        " for a new link at once."
    ),
)
_OVER = {
    "expired": (
        msgid("This link has expired"),
        msgid(
            "For your safety a link to a new password works for a short time only. Ask for a new one: it takes a"
            " moment."
        ),
    ),
    "superseded": (
        msgid("A newer link is waiting for you"),
        msgid("Since this message, another one was sent to you. Please open the link in the newest message."),
    ),
}
_UNKNOWN = (
    msgid("This link does not work"),
    msgid(
        "Perhaps it was cut: some mail programs break long links in two. Copy the whole link, to its last character,"
        " into the address bar, or ask for a new one."
    ),
)


class ForgottenForm(BaseModel):
    email: Annotated[str, Field(max_length=320)] = ""


class PasswordForm(BaseModel):
    password: Annotated[str, Field(max_length=4096)] = ""


class PasswordPages:
    def __init__(self, frame: Frame, visitors: Visitors, resets: Resets, settings: DirectorySettings) -> None:
        self._frame = frame
        self._visitors = visitors
        self._resets = resets
        self._settings = settings

    def routes(self) -> list[Route]:
        return [
            page("GET", "/forgotten-password", self.forgotten),
            page("POST", "/forgotten-password", self.ask),
            page("GET", "/forgotten-password/sent", self.sent),
            page("GET", "/new-password/{token}", self.new_password),
            page("POST", "/new-password/{token}", self.choose),
        ]

    async def forgotten(self, request: web.Request) -> web.Response:
        return self._frame.page(request, "forgotten.html")

    async def ask(self, request: web.Request) -> web.Response:
        self._frame.refuse_foreign(request)
        form = await form_body(request, ForgottenForm)
        address = client_address(request, self._settings.trusted_proxies)
        await self._resets.ask(form.email, language_of(request), address)
        return see_other("/forgotten-password/sent")

    async def sent(self, request: web.Request) -> web.Response:
        return self._frame.page(request, "forgotten_sent.html")

    async def new_password(self, request: web.Request) -> web.Response:
        """What the link opens. Looking changes nothing: mail scanners look too."""
        try:
            account = await self._resets.look(request.match_info["token"])
        except (UnknownLink, PasswordLinkUsed, PasswordLinkOver) as dead:
            return self._dead(request, dead)
        return self._form(request, account)

    async def choose(self, request: web.Request) -> web.Response:
        self._frame.refuse_foreign(request)
        form = await form_body(request, PasswordForm)
        token = request.match_info["token"]
        try:
            account = await self._resets.choose(token, form.password, language_of(request))
        except WeakPassword as weak:
            return self._form(request, await self._resets.look(token), weak.reasons)
        except (UnknownLink, PasswordLinkUsed, PasswordLinkOver) as dead:
            return self._dead(request, dead)
        response = see_other("/sign-in?reason=password-changed")
        # Signed in by nobody but themselves, with the new password (OWASP, Forgot Password Cheat Sheet); but known.
        self._visitors.remember(request, response, account.account_id, account.credential_version)
        return response

    def _form(self, request: web.Request, account: Account, reasons: Sequence[Reason] = ()) -> web.Response:
        return self._frame.page(
            request,
            "new_password.html",
            status=HTTPStatus.UNPROCESSABLE_ENTITY if reasons else HTTPStatus.OK,
            account=account,
            reasons=[WHY_NOT[reason] for reason in reasons],
            shortest=SHORTEST,
            longest=LONGEST,
        )

    def _dead(self, request: web.Request, dead: UnknownLink | PasswordLinkUsed | PasswordLinkOver) -> web.Response:
        match dead:
            case UnknownLink():
                status, (heading, advice) = HTTPStatus.NOT_FOUND, _UNKNOWN
            case PasswordLinkUsed():
                status, (heading, advice) = HTTPStatus.CONFLICT, _USED
            case PasswordLinkOver():
                status, (heading, advice) = HTTPStatus.GONE, _OVER[dead.about["reason"]]
        return self._frame.page(request, "password_link_dead.html", status=status, heading=heading, advice=advice)
