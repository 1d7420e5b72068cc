"""A forgotten password: asked for, mailed as a link, chosen anew."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from convive_kit.addresses import BadEmail, email_key, normalise_email
from convive_kit.group_commit import VersionConflict
from convive_kit.passwords import Reason, judge
from convive_kit.rate_limit import address_bucket, too_many_requests
from directory.i18n import Language
from directory.letters.letters import Letters
from directory.membership import Membership
from directory.model.account import Account
from directory.password_links import PasswordLinks
from directory.passwords import Passwords
from directory.store.protocol import Crowded, Store
from directory.throttle import Limits

_TRIES = 12
_ASKED_PER_ADDRESS = "30/hour"
_LETTERS_PER_ACCOUNT = "5/hour"
_CHOSEN_PER_ACCOUNT = "30/hour"
# Longer than a request may take: by then the change has been made, or never will be.
_SURELY_DECIDED = timedelta(seconds=30)


class UnknownLink(Exception):
    """The link was not made by us, or its account is gone."""


class WeakPassword(Exception):
    """The password is too easy to guess."""

    def __init__(self, reasons: list[Reason]) -> None:
        super().__init__()
        self.reasons = reasons


class Resets:
    def __init__(
        self,
        store: Store,
        membership: Membership,
        links: PasswordLinks,
        passwords: Passwords,
        letters: Letters,
        limits: Limits,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._membership = membership
        self._links = links
        self._passwords = passwords
        self._letters = letters
        self._limits = limits
        self._now = now

    async def ask(self, email: str, language: Language, address: str) -> None:
        """Have a link mailed, if there is an account.

        Nobody learns here whether there is one, by the answer or by the time it takes: every address gets a letter, and
        the postman throws those away that are nobody's. Nobody can keep another from a link either: what is beyond the
        letters of an hour is not sent, but the link that was mailed stays good. Raises a 429 problem, of the caller's
        address alone.
        """
        if wait := await self._limits.hit("reset.address", address_bucket(address), _ASKED_PER_ADDRESS):
            raise too_many_requests(wait)
        try:
            key = email_key(normalise_email(email))
        except BadEmail:
            return
        if not await self._limits.hit("reset.account", key, _LETTERS_PER_ACCOUNT):
            await self._letters.write("password_reset", key, language=language)

    async def look(self, token: str) -> Account:
        """Whose password a link sets. Raises `UnknownLink`, `PasswordLinkUsed`, `PasswordLinkOver`."""
        account, sequence = await self._account(token)
        account.refuse_dead_link(sequence, self._now())
        return account

    async def choose(self, token: str, password: str, language: Language) -> Account:
        """Set the password, once: of two who hold the link, one does. Every session ends, the address counts as
        proved, and a letter tells its owner. Raises also `WeakPassword`, and a 429 problem."""
        account, sequence = await self._account(token)
        account.refuse_dead_link(sequence, self._now())
        if wait := await self._limits.hit("reset.choose", account.id, _CHOSEN_PER_ACCOUNT):
            raise too_many_requests(wait)
        if reasons := judge(password, names=await self._names(account)):
            raise WeakPassword(reasons)
        new_hash = await self._passwords.hash(password)
        for _ in range(_TRIES):
            change = account.choose_password(sequence, new_hash, self._now())
            version = change.after.credential_version
            await self._letters.write(
                "password_changed",
                account.id,
                id=f"changed.{account.account_id}.{version}",
                language=language,
                data={"credential_version": version},
                after=_SURELY_DECIDED,
            )
            try:
                return await self._store.save(change)
            except VersionConflict:
                account, _ = await self._account(token)
        raise Crowded

    async def _account(self, token: str) -> tuple[Account, int]:
        link = self._links.read(token)
        account = await self._store.account_with_id(link[0]) if link else None
        if link is None or account is None:
            raise UnknownLink
        return account, link[1]

    async def _names(self, account: Account) -> list[str]:
        """What an acquaintance would try."""
        places = await self._membership.places(account)
        people = [name for place in places for name in (place.member.first_name, place.member.last_name)]
        return [account.email, *people, *(redemption.cabinet_name for redemption in account.redemptions.values())]
