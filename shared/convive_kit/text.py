"""Text as people compare it."""

from __future__ import annotations

import unicodedata

_LIGATURES = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d"})


def search_key(text: str) -> str:
    """`text` without case, accents, ligatures and repeated spaces: what a search compares. Safe to repeat."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKD", text.casefold()).translate(_LIGATURES)
    return " ".join("".join(mark for mark in folded if not unicodedata.combining(mark)).split())
