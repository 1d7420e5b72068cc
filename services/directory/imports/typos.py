"""Addresses that are probably mistyped: the domain is nearly, but not quite, one that many people have. Pure.

A hint and no more: there are real domains that look like slips.
"""

from __future__ import annotations

from functools import lru_cache

_USUAL = (
    "gmail.com", "hotmail.com", "hotmail.fr", "outlook.com", "outlook.fr", "live.fr", "live.com", "yahoo.com",
    "yahoo.fr", "icloud.com", "orange.fr", "wanadoo.fr", "free.fr", "laposte.net", "sfr.fr", "neuf.fr", "bbox.fr",
    "numericable.fr", "protonmail.com", "aol.com", "gmx.fr",
)  # fmt: skip
# As near to one of those as a slip would be, and real.
_REAL = frozenset(
    ("mail.com", "email.com", "ymail.com", "gmx.com", "gmx.de", "gmx.net", "me.com", "free.com", "orange.com")
)
# The same providers elsewhere.
_ELSEWHERE = frozenset(("be", "ca", "ch", "de", "es", "eu", "ie", "it", "lu", "nl", "org", "net", "pt", "co.uk"))
_WITHOUT_OTHERS = frozenset(("gmail", "icloud", "laposte", "wanadoo"))
_SHORT = 9
"""Characters below which two slips make another word."""


@lru_cache(maxsize=4096)
def likely_domain(domain: str) -> str | None:
    """The domain that was probably meant instead of this one; None where it looks right."""
    domain = domain.lower()
    if domain in _USUAL or domain in _REAL:
        return None
    name, _, rest = domain.partition(".")
    if name in _WITHOUT_OTHERS:
        return next(usual for usual in _USUAL if usual.startswith(f"{name}."))
    if rest in _ELSEWHERE:
        return None
    near = min(_USUAL, key=lambda usual: _slips(domain, usual))
    return near if _slips(domain, near) <= (1 if len(near) < _SHORT else 2) else None


def _slips(typed: str, meant: str) -> int:
    """How many letters are missing, too many, wrong, or swapped with their neighbour (the distance of Damerau, "A
    technique for computer detection and correction of spelling errors", 1964)."""
    before: list[int] = []
    row = list(range(len(meant) + 1))
    for i, letter in enumerate(typed, 1):
        row_above, row = row, [i]
        for j, wanted in enumerate(meant, 1):
            cost = min(row_above[j] + 1, row[j - 1] + 1, row_above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == meant[j - 2] and typed[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = row_above
    return row[-1]
