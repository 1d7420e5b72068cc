"""Pages as HTML. Templates, catalogues and static files are read once, when the renderer is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import CodeType
from typing import Any, cast
from urllib.parse import urlsplit

from jinja2 import BytecodeCache, Environment, FileSystemLoader, StrictUndefined, Template
from jinja2.bccache import Bucket
from markupsafe import Markup

from invitation import wording
from invitation.i18n import LOCALES, Locale, translations
from invitation.pages.context import DeclineReason, Page, SignedIn, Visit
from invitation.pages.passwords import LONGEST, SHORTEST, Reason, explain

ROOM = Path(__file__).parent

# Not from `mimetypes`, which asks the machine.
_CONTENT_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the pages. `path` names its content, so it may be cached for ever."""

    path: str
    content_type: str
    body: bytes


class _Compiled(BytecodeCache):
    """What the templates compile to, the same for every language: much of a start is spent compiling."""

    def __init__(self) -> None:
        self._codes: dict[str, CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self._codes.get(bucket.key + bucket.checksum)

    def dump_bytecode(self, bucket: Bucket) -> None:
        if bucket.code is not None:
            self._codes[bucket.key + bucket.checksum] = bucket.code


_COMPILED = _Compiled()


class PageRenderer:
    def __init__(self, *, static_path: str = "/i/static") -> None:
        """`static_path` is where the files of `static` are served."""
        self.static = {file.name: _static(file, static_path) for file in sorted((ROOM / "static").iterdir())}
        self._templates = {locale: _templates(locale, self.static) for locale in LOCALES}

    def render(self, page: Page, visit: Visit) -> str:
        return self._templates[visit.locale][page.template].render(page=page, visit=visit, firm=page.firm)


def _templates(locale: Locale, static: Mapping[str, StaticFile]) -> dict[str, Template]:
    environment = Environment(
        loader=FileSystemLoader(ROOM / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        bytecode_cache=_COMPILED,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    catalogue = translations(locale)

    def say(message: str, **names: object) -> Markup:
        sentence = Markup.escape(catalogue.gettext(message))
        return sentence % names if names else sentence

    def count(one: str, many: str, number: int) -> Markup:
        return Markup.escape(catalogue.ngettext(one, many, number)) % {"num": number}

    def moment(at: datetime, time_zone: str) -> str:
        return wording.moment(at, time_zone=time_zone, locale=locale)

    def phone(number: str) -> wording.Phone:
        return wording.phone(number, locale)

    def why(reason: Reason) -> str:
        return explain(reason, locale)

    words: dict[str, Any] = {
        "_": say,
        "ngettext": count,
        "static": {name: file.path for name, file in static.items()},
        "wording": wording,
        "SignedIn": SignedIn,
        "DeclineReason": DeclineReason,
        "shortest": SHORTEST,
        "longest": LONGEST,
    }
    filters: dict[str, Any] = {
        "name": name,
        "masked": wording.masked,
        "moment": moment,
        "phone": phone,
        "explain": why,
    }
    untyped = cast("Any", environment)  # jinja2 leaves the types of its two tables open
    untyped.globals.update(words)
    untyped.filters.update(filters)
    return {template: environment.get_template(template) for template in environment.list_templates()}


def name(text: str) -> Markup:
    """A name whose direction cannot disturb the sentence around it."""
    return Markup("<bdi>{}</bdi>").format(wording.plain(text))


def security_headers(directory_url: str) -> dict[str, str]:
    """What goes with every page. `directory_url` is where an accepted invitation redirects to."""
    return {
        "Content-Security-Policy": "; ".join(
            (
                "default-src 'none'",
                "style-src 'self'",
                "script-src 'self'",
                "img-src 'self' data:",
                "connect-src 'self'",
                # Browsers check the redirect that answers a form too.
                f"form-action 'self' {_origin(directory_url)}",
                "base-uri 'none'",
                "frame-ancestors 'none'",
            )
        ),
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex, nofollow",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _static(file: Path, static_path: str) -> StaticFile:
    body = file.read_bytes()
    return StaticFile(f"{static_path}/{file.name}?v={sha256(body).hexdigest()[:12]}", _CONTENT_TYPES[file.suffix], body)
