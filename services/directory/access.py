"""Who acts, and what of whose they may touch. Other tenants' ids answer as if there were nothing."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from aiohttp import web

from convive_kit.errors import NotAllowed
from convive_kit.http import invalid, not_found
from directory.model.account import Account
from directory.model.cabinet import Cabinet
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.model.roles import capabilities
from directory.store.protocol import Store

CABINET_HEADER = "X-Convive-Cabinet"


class NotForYou(NotAllowed):
    """Your role does not allow this."""

    slug = "not_for_your_role"


@dataclass(frozen=True, slots=True)
class Caller:
    """A cabinet (by its API key) or a person (by their session), never both."""

    cabinet: Cabinet | None = None
    account: Account | None = None

    def acts_for(self, cabinet_id: str) -> bool:
        """Whether this is that cabinet, or one of its staff."""
        if self.cabinet:
            return self.cabinet.id == cabinet_id
        return self.account is not None and cabinet_id in self.account.firms

    def named(self, cabinet_id: str) -> str:
        """Whoever acts for that cabinet, for the record."""
        return f"staff:{self.account.account_id}" if self.account else f"cabinet:{cabinet_id}"

    def full_name(self, cabinet_id: str) -> str | None:
        """Whoever acts for that cabinet, as those who are invited read it; None for a program."""
        return self.account.firms[cabinet_id].full_name if self.account else None


@dataclass(frozen=True, slots=True)
class Ground:
    """The dossier an act is about, and, where it is not its cabinet that acts, the member who does."""

    dossier: Dossier
    cabinet: Cabinet
    caller: Caller
    member: Member | None

    @property
    def named(self) -> str:
        """Whoever acts, for the record."""
        return f"member:{self.member.id}" if self.member else self.caller.named(self.cabinet.id)

    @property
    def full_name(self) -> str | None:
        """Whoever acts, as those who are invited read it; None for a program."""
        return self.member.full_name if self.member else self.caller.full_name(self.cabinet.id)


class Access:
    def __init__(self, store: Store) -> None:
        self._store = store

    async def cabinet(self, caller: Caller, chosen: str | None = None) -> Cabinet:
        """The cabinet a caller acts for; `chosen` says which where a person works for several."""
        if caller.cabinet and chosen in (None, caller.cabinet.id):
            return caller.cabinet
        firms = list(caller.account.firms) if caller.account else []
        if caller.account and not firms:
            raise NotForYou
        if chosen is None and len(firms) > 1:
            raise invalid(CABINET_HEADER, "You work for several firms: give the id of one in this header.")
        cabinet = await self._store.cabinet(chosen or firms[0]) if chosen in (None, *firms) else None
        if cabinet is None:
            raise not_found("cabinet")
        return cabinet

    async def ground(self, caller: Caller, dossier_id: str, capability: str | None = "manage_users") -> Ground:
        """A dossier, for its cabinet, or for a member with that capability (None: for any member)."""
        return await self.ground_of(caller, await self._store.dossier(dossier_id), capability)

    async def ground_of(
        self, caller: Caller, dossier: Dossier | None, capability: str | None = "manage_users"
    ) -> Ground:
        """As `ground`, of a dossier that was read just now."""
        cabinet = await self._cabinet_of(dossier, caller) if dossier else None
        if dossier is None or cabinet is None:
            raise not_found("dossier")
        if caller.acts_for(cabinet.id):
            return Ground(dossier, cabinet, caller, None)
        account = caller.account
        member = await self._store.member_with_email(dossier.id, account.id) if account else None
        if account is None or member is None or dossier.archived_at or not account.holds(member):
            raise not_found("dossier")
        granted = capabilities(member.role, own_expense_reports=member.own_expense_reports)
        if capability and not granted[capability]:
            raise NotForYou
        return Ground(dossier, cabinet, caller, member)

    async def _cabinet_of(self, dossier: Dossier, caller: Caller) -> Cabinet | None:
        # A caller with a key was read with this very request.
        if caller.cabinet and caller.cabinet.id == dossier.cabinet_id:
            return caller.cabinet
        return await self._store.cabinet(dossier.cabinet_id)

    async def own_ground(self, caller: Caller, dossier_id: str) -> Ground:
        """A dossier, for its cabinet alone."""
        return self.for_its_cabinet(await self.ground(caller, dossier_id, capability=None))

    @staticmethod
    def for_its_cabinet(ground: Ground) -> Ground:
        """That ground, where it is not a member who acts."""
        if ground.member:
            raise NotForYou
        return ground

    async def member(self, ground: Ground, member_id: str) -> Member:
        """A member who has a place in that dossier."""
        member = await self._store.member(member_id)
        if member is None or member.dossier_id != ground.dossier.id or member.removed_at:
            raise not_found("member")
        return member


def path_id(request: web.Request, what: str) -> str:
    """The id of `what` in the path (`{id}`, or `{member_id}`), in the form ids are kept in."""
    text = request.match_info.get(f"{what}_id") or request.match_info["id"]
    try:
        return str(UUID(text))
    except ValueError:
        raise not_found(what) from None
