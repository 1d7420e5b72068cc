"""The two languages people are written to in, and which of them a reader gets."""

from __future__ import annotations

import gettext
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Locale: TypeAlias = Literal["fr", "en"]

LOCALES: tuple[Locale, ...] = ("fr", "en")
DOMAIN = "invitation"
CATALOGUES = Path(__file__).parent / "locale"

# Somebody whose language nobody knows: the firms are French, their readers mostly too.
FALLBACK: Locale = "fr"

_RANGE = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9-]{1,40})?\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?$")


def msgid(text: str) -> str:
    """Marks a sentence for translation where it is written; it is translated where it is read."""
    return text


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence that is translated where it is read; `text` is its msgid. `str()` is English."""

    text: str
    values: Mapping[str, object]

    def said(self, locale: Locale) -> str:
        """In a language of ours."""
        return translations(locale).gettext(self.text) % self.values

    def __str__(self) -> str:
        return self.said("en")


def phrase(text: str, **values: object) -> Phrase:
    """A sentence with what stands in it, marked for translation."""
    return Phrase(text, values)


@cache
def translations(locale: Locale) -> gettext.NullTranslations:
    """The catalogue of a language, compiled in memory from its `.po` file. English is what the code is written in."""
    if locale == "en":
        return gettext.NullTranslations()
    compiled = BytesIO()
    with (CATALOGUES / locale / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as lines:
        write_mo(compiled, read_po(lines, locale=locale))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def supported(tag: str | None) -> Locale | None:
    """The language of ours that a tag such as `fr-CA` asks for."""
    language = (tag or "").replace("_", "-").partition("-")[0].lower()
    return language if language in LOCALES else None


def choose_locale(
    *, asked: str | None = None, invitation: str | None = None, accept_language: str | None = None
) -> Locale:
    """What the reader asked for (`?lang=`), else the invitation's language, else what the browser prefers."""
    return supported(asked) or supported(invitation) or _preferred(accept_language) or FALLBACK


def _preferred(accept_language: str | None) -> Locale | None:
    best: Locale | None = None
    best_weight = 0.0
    # A header can be as long as the server lets it be; nobody lists twenty languages.
    for entry in (accept_language or "").split(",", 20)[:20]:
        match = _RANGE.match(entry)
        locale = supported(match[1]) if match else None
        if match and locale:
            weight = float(match[2]) if match[2] else 1.0
            if weight > best_weight:
                best, best_weight = locale, weight
    return best
