"""The people who work for a firm: each has an account like everybody else, with a place in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import uuid4

from convive_kit.addresses import email_key
from convive_kit.group_commit import DuplicateKey, VersionConflict
from directory.i18n import Language
from directory.idempotency import id_for
from directory.letters.letters import Letter, Letters
from directory.letters.stationery import Written
from directory.model.account import Account, StaffPlace
from directory.model.change import Change
from directory.model.refusals import AccountExists
from directory.password_links import PasswordLinks
from directory.passwords import Passwords, refuse_unfit
from directory.store.protocol import Crowded, Store, settle
from directory.throttle import Limits

INVITED = "staff_invited"
"""The kind of letter."""

_TRIES = 12
_LETTERS_PER_ACCOUNT = "5/hour"
_LINK_LIFE = timedelta(days=14)


class Staff:
    def __init__(
        self, store: Store, passwords: Passwords, letters: Letters, limits: Limits, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._letters = letters
        self._limits = limits
        self._now = now

    async def invite(
        self, cabinet_id: str, email: str, first_name: str, last_name: str, *, language: Language, key: str | None
    ) -> Account:
        """Give somebody a place at a firm, which counts once the address is shown to be theirs, and write to them: once
        for each key, and a few times an hour. Otherwise the same again changes nothing, another name changes the name.
        """
        account = await self.add(cabinet_id, email, first_name, last_name, language=language)
        if not await self._limits.hit("staff.letter", account.id, _LETTERS_PER_ACCOUNT):
            await self._letters.write(
                INVITED,
                account.id,
                # Whoever gets no answer asks again: there is no crash between the place and the letter.
                id=f"staff.{id_for(key, cabinet_id, f'staff/{account.account_id}')}",
                language=language,
                data={"cabinet_id": cabinet_id},
            )
        return account

    async def add(
        self,
        cabinet_id: str,
        email: str,
        first_name: str,
        last_name: str,
        password: str | None = None,
        *,
        language: Language = "fr",
    ) -> Account:
        """Give somebody a place at a firm and write to nobody.

        With a password, which whoever runs this installation vouches for, a new account can sign in at once; one that
        exists keeps its own, and `AccountExists` is raised where it is not verified. Raises `FieldRefused` for an unfit
        password.
        """
        place = StaffPlace(
            cabinet_id=cabinet_id, first_name=first_name, last_name=last_name, language=language, since=self._now()
        )
        password_hash = None
        for _ in range(_TRIES):
            account = await self._store.account(email_key(email))
            if account is None:
                if password is not None and password_hash is None:
                    refuse_unfit(password)
                    password_hash = await self._passwords.hash(password)
                account = Account(
                    id=email_key(email),
                    account_id=str(uuid4()),
                    email=email,
                    password_hash=password_hash,
                    verified=password is not None,
                )
            elif password is not None and not account.verified:
                raise AccountExists
            change = account.join_staff(place)
            if change is None:
                return account
            try:
                return await self._store.save(change)
            except (VersionConflict, DuplicateKey):
                continue
        raise Crowded

    async def of(self, cabinet_id: str, *, after: str = "", limit: int = 200) -> list[Account]:
        return await self._store.staff_of(cabinet_id, after=after, limit=limit)

    async def remove(self, cabinet_id: str, account_id: str) -> bool:
        """End somebody's place at a firm, at once; False when they had none."""
        found = await self._store.account_with_id(account_id)
        if found is None or found.place_at(cabinet_id) is None:
            return False

        async def load() -> Account:
            return await self._store.account(found.id) or found

        def decide(account: Account) -> Change[Account] | None:
            return account.leave_staff(cabinet_id)

        account = await settle(self._store, load, decide)
        if not account.is_of_use:
            with suppress(VersionConflict):  # something is still to be announced, or it came to be of use
                await self._store.close(account)
        return True


class StaffLetters:
    """Says what stands in the letter to a new colleague."""

    def __init__(self, store: Store, links: PasswordLinks, base_url: str) -> None:
        self._store = store
        self._links = links
        self._base_url = base_url

    async def invited(self, letter: Letter) -> Written | None:
        """The writer: with a link to a password for whoever has to show that the address is theirs, otherwise with the
        way to sign in; None when the place is gone again."""
        account = await self._store.account(letter.to)
        cabinet = await self._store.cabinet(letter.data["cabinet_id"])
        place = account.place_at(cabinet.id) if account and cabinet else None
        if account is None or cabinet is None or place is None:
            return None
        values = {"first_name": place.first_name, "cabinet": cabinet.name, "account_exists": account.verified}
        if account.verified:
            return Written(account.email, {**values, "link": f"{self._base_url}/sign-in"})
        offered = await self._links.offer(account.id, life=_LINK_LIFE)
        return Written(account.email, {**values, "link": offered.url}) if offered else None
