"""Which of the two languages a reader gets."""

from __future__ import annotations

from typing import cast

from aiohttp import web
from babel.core import negotiate_locale

from directory.i18n import LANGUAGES, Language, msgid, translations

__all__ = ["COOKIE", "LANGUAGES", "Language", "language_of", "msgid", "translations"]

COOKIE = "convive_language"


def language_of(request: web.Request) -> Language:
    """What the reader chose (`?lang=`, remembered in a cookie), else what the browser prefers, else French."""
    for chosen in (request.query.get("lang"), request.cookies.get(COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    preferred = negotiate_locale(_accepted(request.headers.get("Accept-Language", "")), LANGUAGES, sep="-")
    return cast("Language", preferred or "fr")


def _accepted(header: str) -> list[str]:
    """The tags of an Accept-Language header, the most wanted first (RFC 9110, 12.5.4)."""
    weighted: list[tuple[float, str]] = []
    for entry in header[:400].split(",")[:20]:
        tag, _, weight = entry.partition(";")
        try:
            q = float(weight.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if q > 0 and tag.strip().replace("-", "").isalnum():
            weighted.append((-q, tag.strip()))
    return [tag for _, tag in sorted(weighted, key=lambda pair: pair[0])]
