"""Signing in and out, the arrival from an invitation, and one's files."""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field

from convive_contracts import DIRECTORY_SOURCE
from convive_kit.http import form_body
from convive_kit.routes import Route
from directory.entrance import Entrance, WrongCredentials, login_key
from directory.membership import Membership
from directory.model.member import Member
from directory.model.refusals import CodeSpent
from directory.model.roles import capabilities
from directory.settings import DirectorySettings
from directory.web import wording
from directory.web.frame import Frame, page, see_other
from directory.web.language import msgid
from directory.web.visitors import Visitors

HANDOFF_COOKIE = "convive_handoff"

REMARKS = {
    "signed-out": msgid("You are signed out."),
    "password-changed": msgid("Your new password is saved. Please sign in with it."),
    "signed-out-everywhere": msgid("You are signed out everywhere."),
    "link-used": msgid("This sign-in link was used already or is too old. Please sign in with your password."),
    "link-elsewhere": msgid("This sign-in link belongs to another browser. Please sign in with your password."),
}


class SignInForm(BaseModel):
    email: Annotated[str, Field(max_length=320)] = ""
    password: Annotated[str, Field(max_length=4096)] = ""
    # The page that was asked for before.
    next: Annotated[str, Field(max_length=2000)] = "/"


def _manages_users(member: Member) -> bool:
    return capabilities(member.role, own_expense_reports=False)["manage_users"]


class EntryPages:
    def __init__(
        self,
        frame: Frame,
        visitors: Visitors,
        entrance: Entrance,
        membership: Membership,
        settings: DirectorySettings,
    ) -> None:
        self._frame = frame
        self._visitors = visitors
        self._entrance = entrance
        self._membership = membership
        self._settings = settings

    def routes(self) -> list[Route]:
        return [
            page("GET", "/", self.start),
            page("GET", "/files", self.home),
            page("GET", "/firms", self.firms),
            page("GET", "/sign-in", self.sign_in_form),
            page("POST", "/sign-in", self.sign_in),
            page("GET", "/sign-out", self.start),  # somebody's reloaded page
            page("POST", "/sign-out", self.sign_out),
            page("GET", "/handoff", self.handoff),
        ]

    async def start(self, request: web.Request) -> web.Response:
        """Whoever works for a firm begins at its clients, everybody else at their own files."""
        account = await self._visitors.account(request)
        if account is None or not account.firms:
            return await self.home(request)
        return see_other(f"/firms/{next(iter(account.firms))}/clients" if len(account.firms) == 1 else "/firms")

    async def firms(self, request: web.Request) -> web.Response:
        account = await self._visitors.account(request)
        if account is None:
            return see_other("/sign-in")
        firms = [cabinet for cabinet, _ in await self._membership.firms(account)]
        return self._frame.page(request, "firms.html", account=account, firms=firms)

    async def home(self, request: web.Request) -> web.Response:
        account = await self._visitors.account(request)
        if account is None:
            return see_other("/sign-in")
        places = [
            {
                "dossier": place.dossier.name,
                "users": f"/clients/{place.dossier.id}/users" if _manages_users(place.member) else None,
                "cabinet": place.cabinet,
                "role": wording.role_words(place.member.role),
                "may": wording.may(
                    capabilities(place.member.role, own_expense_reports=place.member.own_expense_reports)
                ),
                "first_name": place.member.first_name,
            }
            for place in await self._membership.places(account)
        ]
        grants = [
            {"dossier": r.dossier_name, "cabinet": r.cabinet_name, "role": wording.role_words(r.role)}
            for r in account.redemptions.values()
            if r.source != DIRECTORY_SOURCE
        ]
        return self._frame.page(request, "home.html", account=account, places=places, grants=grants)

    async def sign_in_form(self, request: web.Request) -> web.Response:
        if await self._visitors.account(request):
            return see_other(own_path(request.query.get("next", "/")))
        remark = REMARKS.get(request.query.get("reason", ""))
        return self._frame.page(
            request, "sign_in.html", remark=remark, wrong=False, email="", next=own_path(request.query.get("next", "/"))
        )

    async def sign_in(self, request: web.Request) -> web.Response:
        self._frame.refuse_foreign(request)
        form = await form_body(request, SignInForm)
        browser = self._visitors.browser(request)
        try:
            signed_in = await self._entrance.sign_in(login_key(form.email), form.password, browser)
        except WrongCredentials:
            return self._frame.page(
                request, "sign_in.html", status=401, remark=None, wrong=True, email=form.email, next=own_path(form.next)
            )
        return await self._visitors.let_in(request, signed_in, to=own_path(form.next))

    async def sign_out(self, request: web.Request) -> web.Response:
        self._frame.refuse_foreign(request)
        return await self._visitors.let_out(request, see_other("/sign-in?reason=signed-out"))

    async def handoff(self, request: web.Request) -> web.Response:
        """Where an accepted invitation leads. The code counts only beside the cookie that came with it."""
        if request.method == "HEAD":  # a look must not use the code up
            return see_other("/sign-in")
        code = request.query.get("code", "")
        if not self._entrance.came_with(code, request.cookies.get(HANDOFF_COOKIE, "")):
            return see_other("/sign-in?reason=link-elsewhere")
        try:
            signed_in = await self._entrance.sign_in_with_code(code, self._visitors.browser(request))
        except CodeSpent:
            # The back button, or a reload: the page itself knows whether somebody is signed in.
            return see_other("/sign-in?reason=link-used")
        response = await self._visitors.let_in(request, signed_in)
        response.del_cookie(HANDOFF_COOKIE, path="/", domain=self._settings.cookie_domain or None)
        self._frame.remember_language(request, response)
        return response


def own_path(path: str) -> str:
    """The path of a page of ours, or the start: nobody is sent on to another site (`//host` and backslashes lead
    there too)."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain else "/"
