"""What every page of the console has around it: the way to the others, who is signed in, the language, and how a
refusal is shown. A page is a file of handlers with its templates, and a row in `NAV`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from aiohttp import web
from babel.dates import format_datetime
from jinja2 import Environment

from convive_kit.edge import REQUEST_ID
from convive_kit.http import Problem, form_body, rfc3339
from convive_kit.routes import Route
from convive_kit.static import static_files
from invitation import wording
from invitation.console import words
from invitation.console.forms import Form
from invitation.console.sessions import SESSION, SIGN_IN, Sessions
from invitation.i18n import LOCALES, Locale, choose_locale, msgid
from invitation.lifecycle.invitation import Invitation
from invitation.ops.callers import CALLER, Caller
from invitation.rendering import environment_of
from invitation.store.tokens import Role

ROOM = Path(__file__).parent
HOME = "/ops/invitations"
LANGUAGE = "convive_ops_language"
_A_YEAR = 366 * 24 * 3600

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the way between the pages; `role` is the least that sees it."""

    path: str
    word: str
    role: Role = "reader"


NAV = (
    Place("/ops", msgid("Overview")),
    Place("/ops/invitations", msgid("Invitations")),
    Place("/ops/failures", msgid("Failures")),
    Place("/ops/bulk", msgid("Bulk operations")),
    Place("/ops/surroundings", msgid("Surroundings")),
    Place("/ops/audit", msgid("Audit")),
    Place("/ops/tokens", msgid("Tokens"), "admin"),
)


@dataclass(frozen=True, slots=True)
class Here:
    """Where a page stands: what the frame around it needs to know."""

    locale: Locale
    path: str
    url: str
    caller: Caller | None
    form_token: str

    def may(self, role: Role) -> bool:
        return self.caller is not None and self.caller.may(role)

    @property
    def nav(self) -> list[Place]:
        return [place for place in NAV if self.may(place.role)]

    def is_at(self, place: Place) -> bool:
        return self.path == place.path or (place.path != "/ops" and self.path.startswith(f"{place.path}/"))


class _SignIn(Form):
    token: str = ""
    next: str = HOME


class Frame:
    """Renders pages, and serves what belongs to none of them."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._static = static_files(ROOM / "static", "/ops/static", also=["replacing.js"])
        self._environments = {locale: self._in(locale) for locale in LOCALES}

    def routes(self) -> list[Route]:
        """Signing in and out, the language, the files; no page is documented with the API."""
        rows = (
            ("GET", "/ops/static/{name}", self._file, None),
            ("GET", SIGN_IN, self._ask, None),
            ("POST", SIGN_IN, self._sign_in, None),
            ("POST", "/ops/sign-out", self._sign_out, "console_reader"),
            ("GET", "/ops/language/{locale}", self._speak, None),
        )
        return [
            Route(method, path, handler, query=None, auth=auth, documented=False)
            for method, path, handler, auth in rows
        ]

    def page(self, request: web.Request, template: str, *, status: int = 200, **context: Any) -> web.Response:
        """A page as HTML. What stands in it is for this operator, now, and kept by nobody."""
        here = self.here(request)
        html = self._environments[here.locale].get_template(template).render(here=here, **context)
        return web.Response(text=html, status=status, content_type="text/html", headers=HEADERS)

    def problem(self, request: web.Request, problem: Problem) -> web.Response:
        """What went wrong, as a page."""
        response = self.page(request, "problem.html", status=problem.status, problem=problem, said=said(problem),
                             request_id=request.get(REQUEST_ID, ""))  # fmt: skip
        response.headers.extend(problem.headers)
        return response

    def here(self, request: web.Request) -> Here:
        """Where this request stands."""
        session = request.get(SESSION)
        locale = choose_locale(
            asked=request.cookies.get(LANGUAGE), accept_language=request.headers.get("Accept-Language")
        )
        caller = request.get(CALLER)
        return Here(locale, request.path, request.path_qs, caller, session.form_token if session else "")

    # --- signing in and out ---------------------------------------------------------------------------------------

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        return self.page(request, "sign_in.html", next=_own(request.query.get("next", HOME)), wrong=False)

    async def _sign_in(self, request: web.Request) -> web.StreamResponse:
        given = await form_body(request, _SignIn)
        cookie = await self._sessions.sign_in(request, given.token)
        if cookie is None:
            return self.page(request, "sign_in.html", status=401, next=_own(given.next), wrong=True)
        response = see_other(_own(given.next))
        self._sessions.keep(response, cookie)
        return response

    async def _sign_out(self, request: web.Request) -> web.StreamResponse:
        response = see_other(SIGN_IN)
        await self._sessions.end(request, response)
        return response

    async def _speak(self, request: web.Request) -> web.StreamResponse:
        response = see_other(_own(request.query.get("back", HOME)))
        if (locale := request.match_info["locale"]) in LOCALES:
            response.set_cookie(LANGUAGE, locale, max_age=_A_YEAR, path="/ops", httponly=True, samesite="Lax")
        return response

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file = self._static.get(request.match_info["name"])
        if file is None:
            raise Problem(404)
        return file.response()

    def _in(self, locale: Locale) -> Environment:
        def moment(at: datetime) -> str:
            return format_datetime(at, "d MMM y, HH:mm:ss", locale=locale)

        context: Mapping[str, object] = {"states": words.STATES, "words": words, "LOCALES": LOCALES}
        filters: Mapping[str, object] = {
            "moment": moment,
            "exactly": rfc3339,
            "masked": wording.masked,
            "who": who,
            "initials": initials,
        }
        return environment_of(ROOM / "templates", locale, self._static, context, filters)


def said(problem: Problem) -> str:
    """What went wrong, in words of the console; a msgid."""
    return words.PROBLEMS.get(problem.slug, words.OTHER_PROBLEM)


def see_other(path: str) -> web.Response:
    """On to another page, after a form."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": path, "Cache-Control": "no-store"})


def who(invitation: Invitation) -> str:
    """The person's name."""
    invitee = invitation.invitee
    return f"{invitee.first_name} {invitee.last_name}" if invitee else ""


def initials(name: str) -> str:
    """`J.`: who knows the person knows whom it means."""
    return " ".join(f"{part[:1].upper()}." for part in wording.plain(name).replace("-", " ").split())


def _own(path: str) -> str:
    # Nobody is sent on to another site: `//host` and backslashes lead there too.
    plain = path == "/ops" or path.startswith(("/ops/", "/ops?"))
    return path if plain and "\\" not in path and path.isprintable() else HOME
