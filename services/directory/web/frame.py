"""What every page has around it: the letterhead, the language, the headers, the origin check, and how refusals look."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from convive_kit.http import Problem, problem_response
from convive_kit.routes import Handler, Route
from convive_kit.static import static_files
from directory.settings import DirectorySettings
from directory.web import wording
from directory.web.language import COOKIE as LANGUAGE_COOKIE
from directory.web.language import LANGUAGES, Language, language_of, msgid, translations

_ROOM = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Vary": "Accept-Language, Cookie",
    "X-Robots-Tag": "noindex, nofollow",
}

_PROBLEMS = {
    403: msgid("Your role does not allow this. The firm can change that."),
    404: msgid("There is no such page."),
    413: msgid("The file is too large: split it into several."),
    429: msgid("There were too many attempts. Please wait a few minutes, then try again."),
    503: msgid("We cannot do this at the moment. Please try again shortly."),
}
_FOREIGN_FORM = msgid("This form did not come from this site. Please open the page anew and try again.")
_OTHER_PROBLEM = msgid("Something went wrong. Please try again.")


HERE = web.RequestKey[Any]("here", object)
"""Where the visitor stands (`desk.Here`), for the ways to other pages around this one."""


class Frame:
    """Renders pages, and serves what belongs to none of them."""

    def __init__(self, settings: DirectorySettings) -> None:
        self._settings = settings
        self._secure = settings.directory_url.startswith("https://")
        self._static = static_files(_ROOM / "static", "/static", also=["replacing.js"])
        self._environments = {language: self._environment(language) for language in LANGUAGES}

    def routes(self) -> list[Route]:
        return [page("GET", "/static/{name}", self._file)]

    def page(self, request: web.Request, template: str, *, status: int = 200, **content: Any) -> web.Response:
        language = language_of(request)
        html = (
            self._environments[language]
            .get_template(template)
            .render(path=request.path, here=request.get(HERE), **content)
        )
        headers = {**_HEADERS, "Content-Language": language}
        response = web.Response(text=html, status=status, content_type="text/html", headers=headers)
        self.remember_language(request, response)
        return response

    def problem(self, request: web.Request, problem: Problem) -> web.StreamResponse:
        """A page for people, a problem document for programs."""
        for_programs = request.path.startswith(("/v1/", "/internal/"))
        if for_programs or "text/html" not in request.headers.get("Accept", ""):
            return problem_response(request, problem)
        explanation = _PROBLEMS.get(problem.status, _OTHER_PROBLEM)
        if problem.slug == "foreign_form":
            explanation = _FOREIGN_FORM
        page = self.page(request, "notice.html", status=problem.status, explanation=explanation)
        page.headers.update(problem.headers)
        return page

    def refuse_foreign(self, request: web.Request) -> None:
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

    def remember_language(self, request: web.Request, response: web.Response) -> None:
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

    async def _file(self, request: web.Request) -> web.Response:
        file = self._static.get(request.match_info["name"])
        if file is None:
            raise Problem(404)
        return file.response()

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
        names["static"] = {name: file.path for name, file in self._static.items()}
        filters: dict[str, Any] = environment.filters  # pyright: ignore
        filters["name"] = _isolated
        filters["address"] = _breakable
        filters["moment"] = partial(wording.moment, language=language)
        filters["day"] = partial(wording.day, language=language)
        filters["number"] = partial(format_decimal, locale=language)
        filters["phone"] = partial(wording.phone, language=language)
        return environment


def page(method: str, path: str, handler: Handler, auth: str | None = None) -> Route:
    """A row of the table of pages: with whatever query, for people others send there, and not documented."""
    return Route(method, path, handler, query=None, auth=auth, documented=False)


def see_other(path: str) -> web.Response:
    """On to another page."""
    return web.Response(status=303, headers={"Location": path})


def _breakable(email: str) -> Markup:
    """An address that, where it is too long for a line, breaks after its @."""
    local, _, domain = email.rpartition("@")
    return Markup("<bdi>{}@<wbr>{}</bdi>").format(local, domain)


def _isolated(text: str) -> Markup:
    """A name whose direction cannot disturb the sentence around it."""
    return Markup("<bdi>{}</bdi>").format(text)
