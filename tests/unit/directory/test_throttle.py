"""An attacker is slowed down; the owner of the account comes in."""

from __future__ import annotations

from collections import Counter

import pytest

from convive_kit.http import Problem
from convive_kit.rate_limit import parse
from directory.browsers import Browser, KnownBrowsers, named
from directory.model.account import Account
from directory.throttle import Throttle
from tests.unit.directory.making import an_account

GECKO, KIT = "Gecko/20100101", "AppleWebKit/605.1.15 (KHTML, like Gecko)"
KNOWN = KnownBrowsers(["a key that signs", "an older key"])


class Counts:
    """The kit's limiter in memory, with a clock to set forward."""

    def __init__(self) -> None:
        self.seconds = 0
        self._hits: Counter[tuple[str, str, int]] = Counter()

    async def hit(self, name: str, key: str, limit: str) -> int:
        window = parse(limit).get_expiry()
        slot = (name, key, self.seconds // window)
        self._hits[slot] += 1
        return 0 if self._hits[slot] <= parse(limit).amount else window - self.seconds % window

    async def take_back(self, name: str, key: str, limit: str) -> None:
        self._hits[name, key, self.seconds // parse(limit).get_expiry()] -= 1


class Door:
    def __init__(self) -> None:
        self.counts = Counts()
        self.account = an_account()
        self._throttle = Throttle(self.counts, KNOWN, per_account="20/15minute", per_address="300/15minute")

    async def guess(self, browser: Browser, account: Account | None = None) -> int:
        """How long a wrong password has to wait; 0 when it was tried."""
        try:
            await self._throttle.sign_in(self.account.id, account or self.account, browser)
        except Problem as problem:
            return int(problem.headers["Retry-After"])
        return 0

    async def sign_in(self, browser: Browser) -> int:
        """The same for the right one."""
        try:
            attempt = await self._throttle.sign_in(self.account.id, self.account, browser)
        except Problem as problem:
            return int(problem.headers["Retry-After"])
        await self._throttle.was_right(attempt)
        return 0

    def known(self, account: Account | None = None) -> Browser:
        account = account or self.account
        return Browser("192.0.2.1", known=KNOWN.remember("", account.account_id, account.credential_version))

    async def attack(self, addresses: int = 50, tries: int = 20) -> int:
        """Wrong passwords from many addresses in turn; how many were tried."""
        strangers = [Browser(f"203.0.113.{number}") for number in range(addresses)]
        return [await self.guess(stranger) for _ in range(tries) for stranger in strangers].count(0)


async def test_an_owner_at_a_known_browser_comes_in_while_fifty_addresses_guess() -> None:
    door = Door()
    tried = await door.attack()
    assert tried <= 20 + 4
    assert await door.sign_in(door.known()) == 0
    # From the very address that the attack came from.
    assert await door.sign_in(Browser("203.0.113.1", known=door.known().known)) == 0


async def test_an_owner_at_a_new_browser_waits_a_minute_at_most() -> None:
    door = Door()
    await door.attack()
    wait = await door.sign_in(Browser("192.0.2.1"))
    assert 0 < wait <= 60
    door.counts.seconds += 60
    assert await door.sign_in(Browser("192.0.2.2")) == 0


async def test_nobody_is_locked_out_for_ever() -> None:
    door = Door()
    one = Browser("192.0.2.1")
    assert [await door.guess(one) for _ in range(12)].count(0) == 10
    assert 0 < await door.sign_in(one) <= 900
    door.counts.seconds += 900
    assert await door.sign_in(one) == 0


async def test_a_known_browser_that_guesses_is_limited_and_keeps_nobody_else_out() -> None:
    door = Door()
    stolen = door.known()
    assert [await door.guess(stolen) for _ in range(25)].count(0) == 20
    assert await door.sign_in(door.known()) == 0
    assert await door.sign_in(Browser("192.0.2.9")) == 0


async def test_right_passwords_are_not_counted() -> None:
    door = Door()
    assert {await door.sign_in(Browser("192.0.2.1")) for _ in range(50)} == {0}


async def test_a_browser_known_before_the_password_changed_is_a_stranger_again() -> None:
    door = Door()
    before = door.known()
    door.account = door.account.sign_out_everywhere().after
    await door.attack()
    assert await door.sign_in(before) > 0


async def test_one_address_cannot_try_all_accounts() -> None:
    counts = Counts()
    throttle = Throttle(counts, KNOWN, per_account="20/15minute", per_address="300/15minute")
    for number in range(300):
        await throttle.sign_in(f"p{number}@example.com", None, Browser(f"2001:db8::{number:x}"))
    with pytest.raises(Problem):
        await throttle.sign_in("one.more@example.com", None, Browser("2001:db8::1"))


def test_a_device_cookie_cannot_be_made_up_or_used_for_another_account() -> None:
    account, other = an_account(), an_account()
    cookie = KNOWN.remember("", account.account_id, 1)
    assert KNOWN.device(cookie, account)
    assert KNOWN.device(cookie, other) is None
    assert KNOWN.device(cookie, None) is None
    elsewhere = KnownBrowsers(["another key"]).remember("", account.account_id, 1)
    for forged in ("", cookie[:-1], f"x{cookie}", "nonsense", "a" * 5000, elsewhere):
        assert KNOWN.device(forged, account) is None
    assert KnownBrowsers(["new", "a key that signs"]).device(cookie, account), "keys rotate"


def test_a_browser_is_known_to_several_accounts() -> None:
    accounts = [an_account() for _ in range(7)]
    cookie = ""
    for account in [*accounts, accounts[-1]]:
        cookie = KNOWN.remember(cookie, account.account_id, 1)
    assert [KNOWN.device(cookie, account) is not None for account in accounts] == [False] * 2 + [True] * 5


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) {GECKO} Firefox/140.0", "Firefox, Windows"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) {KIT} Version/18.5 Safari/604.1", "Safari, iPhone"),
        (f"Mozilla/5.0 (Windows NT 10.0) {KIT} Chrome/137.0 Safari/537.36 Edg/137.0", "Edge, Windows"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {KIT} Chrome/137.0 Mobile Safari/537.36", "Chrome, Android"),
        ("Python/3.11 aiohttp/3.12", ""),
        ("", ""),
        ("<script>" * 9000, ""),
    ],
)
def test_a_browser_is_named_and_nothing_else_is_kept_of_it(user_agent: str, name: str) -> None:
    assert named(user_agent) == name
