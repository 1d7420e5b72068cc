"""How long a text message is, as networks count and bill it (3GPP TS 23.038, TS 23.040 section 9.2.3.24.1).

A text is sent in the GSM 7 bit default alphabet where that has all its characters, else in UCS-2. A long one goes out
in several segments, each with a header that says where it belongs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Encoding = Literal["GSM-7", "UCS-2"]

# 3GPP TS 23.038 section 6.2.1: the default alphabet, without the escape at 0x1B.
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
# Section 6.2.1.1: an escape before each, so they count as two.
_EXTENSION = frozenset("\f^{}\\[~]|€")
# By encoding: units of a message that is alone, and of each segment of a longer one, beside its header of six octets.
_ALONE = {"GSM-7": 160, "UCS-2": 70}
_TOGETHER = {"GSM-7": 153, "UCS-2": 67}

# What cannot be taken apart into a letter and its accent.
_SPELT_OUT = str.maketrans(
    {
        **dict.fromkeys("’‘‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‹›", "'"),
        **dict.fromkeys("–—―−‐‑‒•·", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u200a\u202f\u2002\u2003\t", " "),
        "…": "...", "œ": "oe", "Œ": "OE", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th",
        "Þ": "Th", "ı": "i", "ħ": "h", "Ħ": "H", "ŋ": "n", "Ŋ": "N", "ẞ": "SS", "ĸ": "k", "ŧ": "t", "Ŧ": "T",
        "№": "No", "™": "TM", "©": "(c)", "®": "(r)", "º": "o", "ª": "a", "×": "x",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Segments:
    """How a text is sent. `characters` are units of the encoding: escapes and halves of surrogate pairs count."""

    encoding: Encoding
    characters: int
    segments: int


def segments(text: str) -> Segments:
    """How a text is sent, and in how many segments; an empty one in one."""
    encoding = encoding_of(text)
    return Segments(encoding, _units(text, encoding), len(list(parts(text))))


def encoding_of(text: str) -> Encoding:
    """The encoding a text needs."""
    return "GSM-7" if all(map(_in_gsm, text)) else "UCS-2"


def parts(text: str) -> Iterator[str]:
    """What stands in each segment. No escape and no surrogate pair is cut, so a segment may be a unit short."""
    encoding = encoding_of(text)
    if _units(text, encoding) <= _ALONE[encoding]:
        yield text
        return
    room, begin = _TOGETHER[encoding], 0
    for end, character in enumerate(text):
        room -= _units(character, encoding)
        if room < 0:
            yield text[begin:end]
            room, begin = _TOGETHER[encoding] - _units(character, encoding), end
    yield text[begin:]


def in_gsm(text: str) -> str | None:
    """The text in the default alphabet, or None where it has no such form.

    Characters it has are kept; typographic ones give way to typewriter ones, and letters lose the accents it lacks:
    "Garçon" becomes "Garcon", "Léger" stays. So a name in Latin letters never more than doubles the segments.
    """
    text = unicodedata.normalize("NFC", text)
    spelt = "".join(character if _in_gsm(character) else _without_accent(character) for character in text)
    return spelt if encoding_of(spelt) == "GSM-7" else None


def _without_accent(character: str) -> str:
    if character in ("\u200b", "\ufeff", "\u00ad") or unicodedata.combining(character):
        return ""
    letters = unicodedata.normalize("NFKD", character.translate(_SPELT_OUT))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


def _in_gsm(character: str) -> bool:
    return character in _BASIC or character in _EXTENSION


def _units(text: str, encoding: Encoding) -> int:
    if encoding == "GSM-7":
        return len(text) + sum(character in _EXTENSION for character in text)
    return len(text.encode("utf-16-be")) // 2
