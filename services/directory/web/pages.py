"""The pages: sign in, sign out, the arrival from an invitation, and one's dossiers."""

from __future__ import annotations

from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from pydantic import BaseModel, Field

from convive_contracts import DIRECTORY_SOURCE
from convive_kit.http import Problem, client_address, form_body, problem_response
from convive_kit.routes import Route
from directory.entrance import Entrance, SignedIn, WrongCredentials, login_key
from directory.membership import Membership
from directory.model.account import Account
from directory.model.refusals import CodeSpent
from directory.model.roles import capabilities
from directory.settings import DirectorySettings
from directory.web import wording
from directory.web.language import COOKIE as LANGUAGE_COOKIE
from directory.web.language import LANGUAGES, Language, language_of, msgid, translations

SESSION_COOKIE = "convive_session"
HANDOFF_COOKIE = "convive_handoff"
_ROOM = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept-Language, Cookie",
    "X-Robots-Tag": "noindex, nofollow",
}
# Not from `mimetypes`, which asks the machine.
_CONTENT_TYPES = {".css": "text/css", ".svg": "image/svg+xml"}

REMARKS = {
    "signed-out": msgid("You are signed out."),
    "link-used": msgid("This sign-in link was used already or is too old. Please sign in with your password."),
    "link-elsewhere": msgid("This sign-in link belongs to another browser. Please sign in with your password."),
}
_PROBLEMS = {
    403: msgid("This form did not come from this site. Please open the page anew and try again."),
    404: msgid("There is no such page."),
    429: msgid("There were too many attempts. Please wait a few minutes, then try again."),
    503: msgid("We cannot do this at the moment. Please try again shortly."),
}
_OTHER_PROBLEM = msgid("Something went wrong. Please try again.")


class SignInForm(BaseModel):
    email: Annotated[str, Field(max_length=320)] = ""
    password: Annotated[str, Field(max_length=4096)] = ""


class Pages:
    def __init__(self, entrance: Entrance, membership: Membership, settings: DirectorySettings) -> None:
        self._entrance = entrance
        self._membership = membership
        self._settings = settings
        self._secure = settings.directory_url.startswith("https://")
        self._static = {file.name: file.read_bytes() for file in sorted((_ROOM / "static").iterdir())}
        self._environments = {language: self._environment(language) for language in LANGUAGES}

    def routes(self) -> list[Route]:
        pages = [
            Route("GET", "/", self.home),
            Route("GET", "/sign-in", self.sign_in_form),
            Route("POST", "/sign-in", self.sign_in),
            Route("GET", "/sign-out", self.home),  # somebody's reloaded page
            Route("POST", "/sign-out", self.sign_out),
            Route("GET", "/handoff", self.handoff),
            Route("GET", "/static/{name}", self.static),
        ]
        return [Route(p.method, p.path, p.handler, query=None, documented=False) for p in pages]

    async def home(self, request: web.Request) -> web.Response:
        account = await self._account(request)
        if account is None:
            return self._redirect("/sign-in")
        places = [
            {
                "dossier": place.dossier.name,
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
        return self._page(request, "home.html", account=account, places=places, grants=grants)

    async def sign_in_form(self, request: web.Request) -> web.Response:
        if await self._account(request):
            return self._redirect("/")
        remark = REMARKS.get(request.query.get("reason", ""))
        return self._page(request, "sign_in.html", remark=remark, wrong=False, email="")

    async def sign_in(self, request: web.Request) -> web.Response:
        self._refuse_foreign(request)
        form = await form_body(request, SignInForm)
        address = client_address(request, self._settings.trusted_proxies)
        try:
            signed_in = await self._entrance.sign_in(login_key(form.email), form.password, address)
        except WrongCredentials:
            page = self._page(request, "sign_in.html", remark=None, wrong=True, email=form.email)
            page.set_status(401)
            return page
        return await self._let_in(request, signed_in)

    async def sign_out(self, request: web.Request) -> web.Response:
        self._refuse_foreign(request)
        if token := request.cookies.get(SESSION_COOKIE):
            await self._entrance.sign_out(token)
        response = self._redirect("/sign-in?reason=signed-out")
        response.del_cookie(SESSION_COOKIE, path="/", domain=self._settings.cookie_domain or None)
        return response

    async def handoff(self, request: web.Request) -> web.Response:
        """Where an accepted invitation leads. The code counts only beside the cookie that came with it."""
        if request.method == "HEAD":  # a look must not use the code up
            return self._redirect("/sign-in")
        code = request.query.get("code", "")
        if not self._entrance.came_with(code, request.cookies.get(HANDOFF_COOKIE, "")):
            return self._redirect("/sign-in?reason=link-elsewhere")
        try:
            signed_in = await self._entrance.sign_in_with_code(code)
        except CodeSpent:
            # The back button, or a reload: the page itself knows whether somebody is signed in.
            return self._redirect("/sign-in?reason=link-used")
        response = await self._let_in(request, signed_in)
        response.del_cookie(HANDOFF_COOKIE, path="/", domain=self._settings.cookie_domain or None)
        self._remember_language(request, response)
        return response

    async def static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._static:
            raise Problem(404)
        return web.Response(
            body=self._static[name],
            content_type=_CONTENT_TYPES[Path(name).suffix],
            headers={"Cache-Control": "public, max-age=31536000, immutable"},
        )

    def problem(self, request: web.Request, problem: Problem) -> web.StreamResponse:
        """A page for people, a problem document for programs."""
        for_programs = request.path.startswith(("/v1/", "/internal/"))
        if for_programs or "text/html" not in request.headers.get("Accept", ""):
            return problem_response(request, problem)
        page = self._page(request, "notice.html", explanation=_PROBLEMS.get(problem.status, _OTHER_PROBLEM))
        page.set_status(problem.status)
        page.headers.update(problem.headers)
        return page

    async def _account(self, request: web.Request) -> Account | None:
        token = request.cookies.get(SESSION_COOKIE)
        return await self._entrance.who(token) if token else None

    async def _let_in(self, request: web.Request, signed_in: SignedIn) -> web.Response:
        # Whoever was signed in on this browser is not any more.
        if before := request.cookies.get(SESSION_COOKIE):
            await self._entrance.sign_out(before)
        response = self._redirect("/")
        response.set_cookie(
            SESSION_COOKIE,
            signed_in.token,
            max_age=int(self._settings.session_life.total_seconds()),
            path="/",
            domain=self._settings.cookie_domain or None,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    def _refuse_foreign(self, request: web.Request) -> None:
        """Refuse a form that another site has posted. Browsers send Origin with every POST; what sends none is no
        browser, and has no cookie to abuse."""
        origin = request.headers.get("Origin")
        if origin is None:
            if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
                raise Problem(403, "foreign_form")
            return
        # The public name, or the name this request was sent to: a proxy may hide one, no foreign page can forge both.
        own = {urlsplit(self._settings.directory_url).netloc, request.host}
        if urlsplit(origin).netloc not in own:
            raise Problem(403, "foreign_form")

    def _page(self, request: web.Request, template: str, **content: Any) -> web.Response:
        language = language_of(request)
        html = self._environments[language].get_template(template).render(path=request.path, **content)
        response = web.Response(text=html, content_type="text/html", headers={**_HEADERS, "Content-Language": language})
        self._remember_language(request, response)
        return response

    def _remember_language(self, request: web.Request, response: web.Response) -> None:
        """Keep what `?lang=` says for the pages to come."""
        language = request.query.get("lang")
        if language in LANGUAGES:
            response.set_cookie(
                LANGUAGE_COOKIE,
                language,
                max_age=31536000,
                path="/",
                secure=self._secure,
                httponly=True,
                samesite="Lax",
            )

    @staticmethod
    def _redirect(to: str) -> web.Response:
        return web.Response(status=303, headers={"Location": to})

    def _environment(self, language: Language) -> Environment:
        environment = Environment(
            loader=FileSystemLoader(_ROOM / "templates"),
            extensions=["jinja2.ext.i18n"],
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.install_gettext_translations(translations(language), newstyle=True)  # pyright: ignore
        names: dict[str, Any] = environment.globals  # pyright: ignore
        names["language"] = language
        names["static"] = {
            name: f"/static/{name}?v={sha256(content).hexdigest()[:12]}" for name, content in self._static.items()
        }
        filters: dict[str, Any] = environment.filters  # pyright: ignore
        filters["name"] = _isolated
        filters["address"] = _breakable
        filters["phone"] = partial(wording.phone, language=language)
        return environment


def _breakable(email: str) -> Markup:
    """An address that, where it is too long for a line, breaks after its @."""
    local, _, domain = email.rpartition("@")
    return Markup("<bdi>{}@<wbr>{}</bdi>").format(local, domain)


def _isolated(text: str) -> Markup:
    """A name whose direction cannot disturb the sentence around it."""
    return Markup("<bdi>{}</bdi>").format(text)
