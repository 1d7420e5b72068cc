"""The two languages of the pages, and which of them a reader gets."""

from __future__ import annotations

import gettext
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias, cast

from aiohttp import web
from babel.core import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Language: TypeAlias = Literal["fr", "en"]

LANGUAGES: tuple[Language, ...] = ("fr", "en")
COOKIE = "convive_language"
_CATALOGUES = Path(__file__).parents[1] / "locale"


def msgid(text: str) -> str:
    """Marks a sentence for translation where it is written; it is translated where it is read."""
    return text


def translations(language: Language) -> gettext.NullTranslations:
    """The catalogue, compiled in memory from its `.po` file. English is what the code is written in."""
    if language == "en":
        return gettext.NullTranslations()
    compiled = BytesIO()
    with (_CATALOGUES / language / "LC_MESSAGES" / "directory.po").open("rb") as lines:
        write_mo(compiled, read_po(lines, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


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
