"""Pages as HTML. Catalogues and static files are read once, when the renderer is made, a template when it is first
shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment

from convive_kit.passwords import LONGEST, SHORTEST, Reason
from convive_kit.static import StaticFile, static_files
from invitation import wording
from invitation.colours import Shades, palette
from invitation.i18n import LOCALES, Locale
from invitation.pages.context import DeclineReason, Page, SignedIn, Visit
from invitation.pages.passwords import explain
from invitation.rendering import environment_of

ROOM = Path(__file__).parent
_FILES = re.compile(r'<link [^>]*href="([^"]*)"[^>]*>|<script src="[^"]*"[^>]*></script>')
_COLOURS = re.compile(r"firm-([0-9a-f]{6})\.css")


class PageRenderer:
    def __init__(self, *, static_path: str = "/i/static") -> None:
        """`static_path` is where the files of `static` are served."""
        self.static = static_files(ROOM / "static", static_path)
        self._static_path = static_path
        self.environments = {locale: _environment(locale, self.static) for locale in LOCALES}

    def render(self, page: Page, visit: Visit) -> str:
        colour = page.firm.colour if page.firm else None
        colours = self.colours(f"firm-{colour[1:]}.css") if colour else None
        template = self.environments[visit.locale].get_template(page.template)
        return template.render(page=page, visit=visit, firm=page.firm, colours=colours.path if colours else None)

    def alone(self, page: Page, visit: Visit) -> str:
        """The same page with its style in it and without its script, to be shown where our files are not served."""

        def in_place(link: re.Match[str]) -> str:
            name = (link[1] or "").partition("?")[0].rpartition("/")[2]
            file = self.static.get(name) or self.colours(name)
            return f"<style>{file.body.decode()}</style>" if file and file.content_type == "text/css" else ""

        return _FILES.sub(in_place, self.render(page, visit))

    def colours(self, name: str) -> StaticFile | None:
        """The style sheet `firm-<rrggbb>.css`, which gives a page a firm's colour. A file, because no style stands in
        the page itself."""
        colour = _COLOURS.fullmatch(name)
        return _colours(colour[1], self._static_path) if colour else None


@lru_cache(maxsize=1024)
def _colours(colour: str, static_path: str) -> StaticFile:
    shades = palette(f"#{colour}")
    dark = f"@media (prefers-color-scheme: dark) {{ {_root(shades.dark)} }}"
    body = f"{_root(shades.light)}\n{dark}\n".encode()
    path = f"{static_path}/firm-{colour}.css?v={sha256(body).hexdigest()[:12]}"
    return StaticFile(path, "text/css", body)


def _root(shades: Shades) -> str:
    return (
        f":root {{ --accent: {shades.text}; --accent-strong: {shades.strong_text}; --fill: {shades.fill};"
        f" --fill-strong: {shades.strong_fill}; --on-fill: {shades.on_fill}; }}"
    )


def _environment(locale: Locale, static: Mapping[str, StaticFile]) -> Environment:
    def moment(at: datetime, time_zone: str) -> str:
        return wording.moment(at, time_zone=time_zone, locale=locale)

    def phone(number: str) -> wording.Phone:
        return wording.phone(number, locale)

    def why(reason: Reason) -> str:
        return explain(reason, locale)

    words: dict[str, Any] = {
        "wording": wording,
        "SignedIn": SignedIn,
        "DeclineReason": DeclineReason,
        "shortest": SHORTEST,
        "longest": LONGEST,
    }
    filters: dict[str, Any] = {"masked": wording.masked, "moment": moment, "phone": phone, "explain": why}
    return environment_of(ROOM / "templates", locale, static, words, filters)


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
