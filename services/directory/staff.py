"""The people who work for a firm: each has an account like everybody else, with a place in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from uuid import uuid4

from convive_kit.addresses import email_key
from convive_kit.group_commit import DuplicateKey, VersionConflict
from directory.model.account import Account, StaffPlace
from directory.model.change import Change
from directory.model.refusals import AccountExists
from directory.passwords import Passwords, refuse_unfit
from directory.store.protocol import Crowded, Store, settle

_TRIES = 12


class Staff:
    def __init__(self, store: Store, passwords: Passwords, now: Callable[[], datetime]) -> None:
        self._store = store
        self._passwords = passwords
        self._now = now

    async def add(
        self, cabinet_id: str, email: str, first_name: str, last_name: str, password: str | None = None
    ) -> Account:
        """Give somebody a place at a firm; the same again changes nothing, another name changes the name.

        With a password, which whoever runs this installation vouches for, a new account can sign in at once; one that
        exists keeps its own, and `AccountExists` is raised where it is not verified. Without one, the place counts from
        when the address is shown to be theirs. Raises `FieldRefused` for an unfit password.
        """
        place = StaffPlace(first_name=first_name, last_name=last_name, since=self._now())
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
            change = account.join_staff(cabinet_id, place)
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
        if found is None or cabinet_id not in found.staff:
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
