"""The two languages people are addressed in."""

from __future__ import annotations

import gettext
from datetime import datetime
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Literal, TypeAlias

from babel.dates import format_datetime, get_timezone
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

Language: TypeAlias = Literal["fr", "en"]

LANGUAGES: tuple[Language, ...] = ("fr", "en")
_CATALOGUES = Path(__file__).parent / "locale"


def msgid(text: str) -> str:
    """Marks a sentence for translation where it is written; it is translated where it is read."""
    return text


@cache
def translations(language: Language) -> gettext.NullTranslations:
    """The catalogue, compiled in memory from its `.po` file. English is what the code is written in."""
    if language == "en":
        return gettext.NullTranslations()
    compiled = BytesIO()
    with (_CATALOGUES / language / "LC_MESSAGES" / "directory.po").open("rb") as lines:
        write_mo(compiled, read_po(lines, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def moment(at: datetime, language: Language) -> str:
    """A time as people read it, in that of Paris."""
    return format_datetime(at, "d\u00a0MMMM y, HH:mm", tzinfo=get_timezone("Europe/Paris"), locale=language)
