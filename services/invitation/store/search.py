"""Finding people by how their name or address begins.

Each invitation keeps the folded phrases that may be searched, and the short beginnings of them in an index that goes
on in order of time. So a page of matches, newest first, is read straight from the index; what is left of a longer
beginning is compared in the documents it leads to.
"""

from __future__ import annotations

from collections.abc import Sequence

from convive_kit.text import search_key
from invitation.lifecycle.invitation import Invitee

LENGTHS = (2, 5, 12)
"""Of the beginnings kept: about one person in a hundred shares the first, with a first name alone many share the
second, and hardly any the last, which reaches into the other name."""


def phrases(invitee: Invitee) -> list[str]:
    """What may be searched: the name in both orders, and the address."""
    first, last = search_key(invitee.first_name), search_key(invitee.last_name)
    found = (f"{first} {last}".strip(), f"{last} {first}".strip(), search_key(invitee.email))
    return [phrase for phrase in dict.fromkeys(found) if phrase]


def beginnings(of: Sequence[str]) -> list[str]:
    """What of these phrases is kept in the index."""
    return sorted({phrase[:length] for phrase in of for length in LENGTHS if len(phrase) >= length})


def indexed_part(begins: str) -> str | None:
    """The part of a folded beginning to look for in the index; None when it is too short for it."""
    length = max((length for length in LENGTHS if length <= len(begins)), default=None)
    return None if length is None else begins[:length]
