"""Guessing a password is slowed down; the owner of the account is not locked out by it.

After OWASP, "Slow Down Online Guessing Attacks with Device Cookies"
(https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies). A browser that has signed in
to an account carries a signed cookie that says so, and its wrong passwords are counted by themselves. All others are
strangers:

- a stranger's address has a limit of its own, to whatever accounts, and a small one to each account;
- when strangers together have used up what an account allows, an address that has not tried yet still may, once, and a
  few of those a minute. So an attack from however many addresses becomes slow, and an owner at a new browser waits a
  minute, or asks for a link to a new password, which makes the browser known.

Right passwords are not counted. What is counted ends with its window: nothing locks for ever. What this does not stop:
somebody with very many addresses can keep strangers waiting, the owner at a new browser among them; and can try some
5,000 passwords a day on one account, which a password that was accepted here withstands.

Unknown accounts are counted like known ones.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from convive_kit.errors import Retry
from convive_kit.rate_limit import address_bucket, too_many_requests
from directory.browsers import Browser, KnownBrowsers
from directory.model.account import Account

_PER_STRANGER = "10/15minute"
_FIRST = "1/15minute"
_SLOWLY = "4/minute"


class Limits(Protocol):
    """What is needed of the kit's limiter."""

    async def hit(self, name: str, key: str, limit: str) -> int: ...

    async def take_back(self, name: str, key: str, limit: str) -> None: ...


@dataclass(slots=True)
class Attempt:
    """What was counted, to be taken back when the password was right."""

    counted: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])


class Throttle:
    def __init__(self, limits: Limits, known: KnownBrowsers, *, per_account: str, per_address: str) -> None:
        """`per_account` and `per_address` limit wrong passwords, such as "20/15minute"."""
        self._limits = limits
        self._known = known
        self._per_account = per_account
        self._per_address = per_address

    async def sign_in(self, email_key: str, account: Account | None, browser: Browser) -> Attempt:
        """Let an attempt to sign in go on, and count it as a wrong one until `was_right`; raises a 429 problem."""
        attempt = Attempt()
        if device := self._known.device(browser.known, account):
            await self._admit(attempt, "sign-in.known", f"{email_key} {device}", self._per_account)
            return attempt
        address = address_bucket(browser.address)
        stranger = f"{email_key} {address}"
        await self._admit(attempt, "sign-in.address", address, self._per_address)
        await self._admit(attempt, "sign-in.stranger", stranger, _PER_STRANGER)
        wait = await self._hit(attempt, "sign-in.account", email_key, self._per_account)
        tried = await self._hit(attempt, "sign-in.first", stranger, _FIRST)
        if wait and tried:
            raise too_many_requests(wait)
        if wait:
            await self._admit(attempt, "sign-in.slowly", email_key, _SLOWLY)
        return attempt

    async def link(self, account: Account, invitation_id: str) -> Attempt:
        """As `sign_in`, for the password that a link asks for: counted apart, or whoever holds a link could keep its
        owner from signing in."""
        attempt = Attempt()
        await self._admit(attempt, "link.stranger", f"{account.id} {invitation_id}", _PER_STRANGER)
        await self._admit(attempt, "link.account", account.id, self._per_account)
        return attempt

    async def was_right(self, attempt: Attempt) -> None:
        """It was no guess after all. Where that cannot be noted it counts as one, until its window ends."""
        with suppress(Retry):
            await asyncio.gather(*(self._limits.take_back(*counted) for counted in attempt.counted))

    async def _admit(self, attempt: Attempt, name: str, key: str, limit: str) -> None:
        if wait := await self._hit(attempt, name, key, limit):
            raise too_many_requests(wait)

    async def _hit(self, attempt: Attempt, name: str, key: str, limit: str) -> int:
        wait = await self._limits.hit(name, key, limit)
        attempt.counted.append((name, key, limit))
        return wait
