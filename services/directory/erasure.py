"""What the directory keeps of a person: shown when they ask for it, erased when the invitation service says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from convive_contracts import InvitationErased
from convive_kit.addresses import email_key
from convive_kit.group_commit import VersionConflict
from convive_kit.parked import ParkedMessages
from directory.letters.letters import Letters
from directory.model.account import Account
from directory.model.member import Member
from directory.store.imports import Imports
from directory.store.protocol import Crowded, Store, settle

_TRIES = 12
_SECRETS = {"password_hash", "handoffs", "password_link"}


class Erasure:
    """Every step may be repeated, and the member, who leads to the rest, goes last."""

    def __init__(
        self, store: Store, imports: Imports, letters: Letters, parked: ParkedMessages, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._letters = letters
        self._imports = imports
        self._parked = parked
        self._now = now

    async def erase(self, fact: InvitationErased) -> None:
        """Erase the member of an invitation, what their account has of it, and, with the last of it, the account and
        its sessions. Members of other publishers have an account here and no more."""
        member = await self._store.member(fact.member_id)
        if member is not None and member.invitation_id != fact.invitation_id:
            member = None  # another publisher's member, who happens to have this id
        if member is None and fact.account_id:
            await self._let_go(await self._store.account_with_id(fact.account_id), fact.invitation_id)
        async for message in self._parked.mentioning(fact.member_id, fact.invitation_id):
            await self._parked.erased(message.id, "system", self._now())
        if member is not None:
            await self.forget(member)

    async def forget(self, member: Member) -> None:
        """Erase a member and what their account has of it: the account itself with its sessions, when that was all."""
        account = await self._store.account(email_key(member.email)) if member.email else None
        await self._let_go(account, member.invitation_id)
        if member.email:
            await self._imports.forget(member.cabinet_id, email_key(member.email))
        await settle(self._store, self._loader(member), lambda current: current.erase(self._now()))

    async def kept_of(self, email: str | None, member_ids: Sequence[str]) -> dict[str, Any]:
        """All that is kept of an address and of these members; of passwords and codes only that there are any."""
        account = await self._store.account(email_key(email)) if email else None
        own = {redemption.member_id for redemption in account.redemptions.values()} if account else set[str]()
        members = [await self._store.member(id) for id in sorted({*member_ids, *own})]
        words = [word for word in (email, *member_ids) if word]
        parked = [message async for message in self._parked.mentioning(*words)] if words else []
        sessions = await self._store.sessions_of(account.id) if account else []
        return {
            "account": account
            and {**account.model_dump(exclude=_SECRETS), "has_password": bool(account.password_hash)},
            "sessions": [session.model_dump(include={"created_at", "expires_at"}) for session in sessions],
            "members": [member.model_dump() for member in members if member is not None],
            "import_rows": await self._imports.rows_of(email_key(email)) if email else [],
            "parked_messages": [
                {"id": message.id, "body": message.fields["body"].decode("utf-8", "replace")} for message in parked
            ],
        }

    async def _let_go(self, account: Account | None, invitation_id: str) -> None:
        for _ in range(_TRIES):
            change = account and account.let_go(invitation_id)
            if account is None or change is None:
                return
            try:
                if change.after.is_of_use:
                    await self._store.save(change)
                else:
                    # Before what leads to them is gone.
                    await self._letters.forget(account.email)
                    await self._letters.forget(account.id)
                    await self._store.close(account)
            except VersionConflict:
                account = await self._store.account(account.id)
            else:
                return
        raise Crowded

    def _loader(self, member: Member) -> Any:
        async def load() -> Member:
            return await self._store.member(member.id) or member

        return load
