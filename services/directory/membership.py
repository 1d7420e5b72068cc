"""What takes more than one document: adding, editing and removing members, and archiving a dossier.

Each step is one write that may be repeated, and the first of them says what remains to be done: a crash in between
leaves work that a sweeper finishes, never something half true.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from convive_contracts import DIRECTORY_SOURCE
from convive_kit.addresses import NoMobile, can_receive_sms
from convive_kit.errors import Retry
from convive_kit.group_commit import DuplicateKey, VersionConflict
from directory.model.account import Account, StaffPlace
from directory.model.cabinet import Cabinet
from directory.model.change import Change
from directory.model.dossier import Dossier, search_key
from directory.model.member import Member
from directory.model.refusals import DossierArchived, EmailTaken, FieldRefused, MemberGone
from directory.model.roles import ROLES, refuse_unassignable
from directory.store.protocol import Store, settle

log = structlog.stdlib.get_logger(__name__)

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A person's place in a dossier, with the names around it."""

    member: Member
    dossier: Dossier
    cabinet: Cabinet


class Membership:
    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        *,
        retired: Collection[str] = (),
        patience: timedelta = timedelta(seconds=30),
    ) -> None:
        """`retired`: roles given to nobody new. `patience`: how long unfinished work is left to the request that began
        it."""
        self._store = store
        self._retired = retired
        self._now = now
        self._patience = patience

    def may_be_given(self, role: str) -> bool:
        """Whether somebody who does not have that role can be given it."""
        return role in ROLES and role not in self._retired

    async def open_dossier(
        self, opening: Change[Dossier], cabinet: Cabinet, members: Sequence[Change[Member]]
    ) -> tuple[Dossier, list[Member]]:
        """Save a new dossier and add the members written with it; raises `DuplicateKey` when it is there already, and
        `FieldRefused` for a retired role."""
        for number, change in enumerate(members):
            refuse_unassignable(change.after.role, self._retired, field=f"members.{number}.role")
        dossier = await self._store.save(opening)
        return await self.finish(dossier, cabinet), await self.members_named(members)

    async def members_named(self, members: Sequence[Change[Member]]) -> list[Member]:
        """Those members as they are now, in that order."""
        found = await asyncio.gather(*(self._store.member(change.after.id) for change in members))
        return [member for member in found if member and not member.removed_at]

    async def finish(self, dossier: Dossier, cabinet: Cabinet) -> Dossier:
        """Add every member that was named at the creation, or remove every member of an archived dossier."""
        if dossier.archived_at:
            await self._remove_all(dossier.id)
        else:
            for start in range(0, len(dossier.members_to_add), _PAGE):
                page = dossier.members_to_add[start : start + _PAGE]
                await asyncio.gather(*(self._add(Member.added(fields, dossier, cabinet)) for fields in page))
        if (change := dossier.finished()) is None:
            return dossier
        try:
            return await self._store.save(change)
        except VersionConflict:
            # Renamed or archived meanwhile: whoever comes next starts from what is true then.
            return await self._store.dossier(dossier.id) or dossier

    async def _add(self, change: Change[Member]) -> None:
        try:
            await self._store.save(change)
        except DuplicateKey:
            pass  # added before
        except EmailTaken:
            log.warning("member.added_by_somebody_else", dossier=change.after.dossier_id)

    async def add(self, change: Change[Member], *, just_read: bool = False) -> Member:
        """Save a new member; raises `DuplicateKey`, `EmailTaken`, `DossierArchived` when that came between, or
        `FieldRefused` for a retired role.

        `just_read`: the dossier was read in this very request. Archived in the moment since, it is the sweeper that
        removes the member: its last pass (see `archive`) comes later than a request can take. Whoever has held the
        dossier for longer is told, by another look at it.
        """
        refuse_unassignable(change.after.role, self._retired)
        member = await self._store.save(change)
        if just_read:
            return member
        dossier = await self._store.dossier(member.dossier_id)
        if dossier and dossier.archived_at:
            await self.remove(member.id)
            raise DossierArchived
        return member

    async def edit(self, member: Member, fields: Mapping[str, Any], dossier: Dossier, cabinet: Cabinet) -> Member:
        """Other names, role, options or addresses; raises the model's refusals."""
        if "email_key" in fields and member.account_id is None and member.email_key:
            account = await self._store.account(member.email_key)
            if account and account.holds(member):
                # Redeemed, but a crash kept the member from being told.
                await self.attach(member.id, account, signed_in=False)
        now = self._now()

        def decide(current: Member) -> Change[Member] | None:
            if fields.get("role", current.role) != current.role:
                refuse_unassignable(fields["role"], self._retired)
            if current.invite_by == "sms" and current.account_id is None:
                _refuse_landline(fields.get("phone"), field="phone")
            return current.edited(fields, dossier, cabinet, now)

        return await settle(self._store, self._loader(member.id), decide)

    async def invite(self, member_id: str, channel: str, requested_by: str | None, *, key: str | None = None) -> Member:
        """Send a (new) link; with a key, once for it."""
        now = self._now()

        def decide(member: Member) -> Change[Member] | None:
            if key is not None and key == member.invite_key and member.removed_at is None:
                return None
            if channel == "sms":
                _refuse_landline(member.phone, field="invite_by")
            return member.invite(channel, now, requested_by, key)

        return await settle(self._store, self._loader(member_id), decide)

    async def remove(self, member_id: str) -> None:
        now = self._now()
        await settle(self._store, self._loader(member_id), lambda member: member.remove(now))

    async def archive(self, dossier: Dossier) -> None:
        """End a dossier and the access of all its members.

        A member added in this very moment may be missed by the pass below, so the dossier stays unfinished and the
        sweeper passes once more.
        """
        now = self._now()

        async def load() -> Dossier:
            return await self._store.dossier(dossier.id) or dossier

        await settle(self._store, load, lambda current: current.archive(now))
        await self._remove_all(dossier.id)

    async def _remove_all(self, dossier_id: str) -> None:
        while members := await self._store.members_of(dossier_id, after=None, limit=_PAGE):
            await asyncio.gather(*(self.remove(member.id) for member in members))

    async def attach(self, member_id: str, account: Account, *, signed_in: bool) -> Member:
        """Tell a member that its account has redeemed, or signed in since; raises `MemberGone`."""

        def decide(member: Member) -> Change[Member] | None:
            if not account.holds(member):
                raise MemberGone
            return member.attach(account.account_id, signed_in=signed_in)

        return await settle(self._store, self._loader(member_id), decide)

    async def attach_all(self, account: Account) -> None:
        """After a sign-in: every membership of this person has been signed in to since it was accepted."""

        async def one(member_id: str) -> None:
            with suppress(MemberGone):  # removed since
                await self.attach(member_id, account, signed_in=True)

        own = [r.member_id for r in account.redemptions.values() if r.source == DIRECTORY_SOURCE]
        await asyncio.gather(*map(one, own))

    async def places(self, account: Account) -> list[Place]:
        """The dossiers this person has a place in, by name."""
        own = [r.member_id for r in account.redemptions.values() if r.source == DIRECTORY_SOURCE]
        members = [m for m in await asyncio.gather(*map(self._store.member, own)) if m and account.holds(m)]
        dossiers = await asyncio.gather(*(self._store.dossier(member.dossier_id) for member in members))
        cabinets = await asyncio.gather(*(self._store.cabinet(member.cabinet_id) for member in members))
        places = [
            Place(member, dossier, cabinet)
            for member, dossier, cabinet in zip(members, dossiers, cabinets, strict=True)
            if dossier and cabinet and not dossier.archived_at
        ]
        return sorted(places, key=lambda place: (place.dossier.name_key, place.dossier.id))

    async def firms(self, account: Account) -> list[tuple[Cabinet, StaffPlace]]:
        """The firms this person works for, by name."""
        found = [(await self._store.cabinet(id), place) for id, place in account.firms.items()]
        known = [(cabinet, place) for cabinet, place in found if cabinet]
        return sorted(known, key=lambda one: (search_key(one[0].name), one[0].id))

    async def run(self, *, every: float = 10.0) -> None:
        """Finish what crashes left, until cancelled."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.sweep()
            except Retry as away:
                log.warning("membership.sweep_paused", cause=away.slug)

    async def sweep(self) -> int:
        """Finish the dossiers whose work has waited too long; returns how many."""
        unfinished = await self._store.unfinished_dossiers(self._now() - self._patience, limit=100)
        for dossier in unfinished:
            if cabinet := await self._store.cabinet(dossier.cabinet_id):
                await self.finish(dossier, cabinet)
                log.info("dossier.finished", dossier=dossier.id)
        return len(unfinished)

    def _loader(self, member_id: str) -> Callable[[], Awaitable[Member]]:
        async def load() -> Member:
            if member := await self._store.member(member_id):
                return member
            raise MemberGone

        return load


def _refuse_landline(phone: str | None, *, field: str) -> None:
    if phone is not None and not can_receive_sms(phone):
        raise FieldRefused(NoMobile.message(), field=field)
