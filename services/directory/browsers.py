"""Where an attempt comes from: an address, a program, and whether it has signed in to that account before."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData

from directory.model.account import Account
from directory.signing import signed

_ACCOUNTS_KEPT = 5
_LONGEST_COOKIE = 2000

# The first that is found counts: most programs also claim to be some of those below them.
_FAMILIES = (
    ("Edge", r"Edg(?:e|A|iOS)?/"),
    ("Opera", r"OPR/"),
    ("Samsung Internet", r"SamsungBrowser/"),
    ("Firefox", r"(?:Firefox|FxiOS)/"),
    ("Chrome", r"(?:Chrome|CriOS|HeadlessChrome)/"),
    ("Safari", r"Version/[\d.]+ .*Safari/"),
)
_SYSTEMS = (
    ("iPhone", r"iPhone"),
    ("iPad", r"iPad"),
    ("Android", r"Android"),
    ("Windows", r"Windows"),
    ("macOS", r"Mac OS X|Macintosh"),
    ("ChromeOS", r"CrOS"),
    ("Linux", r"Linux"),
)


@dataclass(frozen=True, slots=True)
class Browser:
    """`address` is a network address; `known` is what its cookie says of the accounts it has signed in to."""

    address: str = ""
    user_agent: str = ""
    known: str = ""


def named(user_agent: str) -> str:
    """The program and the system in their own names, such as "Firefox, Windows", all that is kept of a User-Agent;
    empty for anything else than a browser."""
    text = user_agent[:500]
    found = [next((name for name, pattern in table if re.search(pattern, text)), "") for table in (_FAMILIES, _SYSTEMS)]
    return ", ".join(name for name in found if name) if found[0] else ""


class KnownBrowsers:
    """Device cookies: each names the accounts that somebody has signed in to with that browser, under an HMAC."""

    def __init__(self, keys: Sequence[str]) -> None:
        """The first key signs, the others still verify."""
        self._signer = signed(keys, "browser")

    def remember(self, cookie: str, account_id: str, credential_version: int) -> str:
        """The cookie of a browser with which somebody has just signed in to that account."""
        others = [entry for entry in self._entries(cookie) if entry[0] != account_id]
        entries = [*others, (account_id, credential_version, secrets.token_urlsafe(9))]
        return self._signer.dumps(entries[-_ACCOUNTS_KEPT:])

    def device(self, cookie: str, account: Account | None) -> str | None:
        """The name of this browser among those known to the account; None for any other, and for all of them once the
        password was changed or everybody signed out: who signed in before may not have been its owner."""
        if account is None:
            return None
        wanted = (account.account_id, account.credential_version)
        return next((entry[2] for entry in self._entries(cookie) if entry[:2] == wanted), None)

    def _entries(self, cookie: str) -> list[tuple[str, int, str]]:
        if not 0 < len(cookie) <= _LONGEST_COOKIE:
            return []
        try:
            entries: Any = self._signer.loads(cookie)
        except BadData:
            return []
        return [(account_id, version, name) for account_id, version, name in entries]
