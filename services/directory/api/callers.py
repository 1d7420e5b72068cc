"""Who calls, and what of theirs they may touch. Other tenants' ids answer as if there were nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from aiohttp import web
from pydantic import SecretStr

from convive_kit.auth import bearer_token, holder_of, parse_api_key, same_secret, secret_hash, unauthorized
from convive_kit.errors import NotAllowed
from convive_kit.http import not_found
from convive_kit.routes import Guard
from directory.entrance import Entrance
from directory.model.account import Account
from directory.model.cabinet import Cabinet
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.model.roles import capabilities
from directory.store.protocol import Store


class NotForYou(NotAllowed):
    """Your role does not allow this."""

    slug = "not_for_your_role"


@dataclass(frozen=True, slots=True)
class Caller:
    """A cabinet (by its API key) or a person (by their session), never both."""

    cabinet: Cabinet | None = None
    account: Account | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """The dossier a call is about, and, where the caller is one of its members, who they are there."""

    dossier: Dossier
    cabinet: Cabinet
    caller: Member | None

    @property
    def named(self) -> str:
        """The caller, for the record."""
        return f"member:{self.caller.id}" if self.caller else f"cabinet:{self.cabinet.id}"


CALLER = web.RequestKey("caller", Caller)


class Callers:
    """The guards of the route table, and the checks that need the thing asked for."""

    def __init__(self, store: Store, entrance: Entrance, *, admin_token: SecretStr, service_token: SecretStr) -> None:
        self._store = store
        self._entrance = entrance
        cabinet = self._check(cabinets=True, people=False)
        self.guards = (
            Guard("admin", "The administration token of this installation.", holder_of(admin_token)),
            Guard("service", "The token the two services share.", holder_of(service_token)),
            Guard("cabinet", "A cabinet's API key.", cabinet),
            Guard("firm", "A cabinet's API key, for itself, or the administration token.", _or(admin_token, cabinet)),
            Guard(
                "asker",
                "A cabinet's API key, for its own dossiers, or the token the two services share.",
                _or(service_token, cabinet),
            ),
            Guard("person", "A session token.", self._check(cabinets=False, people=True)),
            Guard("user", "A cabinet's API key, or a session token.", self._check(cabinets=True, people=True)),
        )

    def _check(self, *, cabinets: bool, people: bool) -> Callable[[web.Request], Awaitable[None]]:
        async def check(request: web.Request) -> None:
            token = bearer_token(request)
            caller = Caller()
            if token is not None:
                if token.startswith("cvk_"):
                    caller = Caller(cabinet=await self.cabinet_of(token))
                else:
                    caller = Caller(account=await self._entrance.who(token))
            if caller == Caller():
                raise unauthorized()
            if (caller.cabinet and not cabinets) or (caller.account and not people):
                raise NotForYou
            request[CALLER] = caller

        return check

    async def cabinet_of(self, key_text: str) -> Cabinet | None:
        """The cabinet whose live API key this is."""
        parts = parse_api_key(key_text)
        cabinet = await self._store.cabinet(str(parts.cabinet_id)) if parts else None
        key = cabinet.live_key(parts.key_id) if cabinet and parts else None
        return cabinet if key and parts and same_secret(secret_hash(parts.secret), key.hash) else None

    async def ground(self, request: web.Request, capability: str | None = "manage_users") -> Ground:
        """The dossier of the path, for its cabinet, or for a member with that capability (None: for any member)."""
        caller = request[CALLER]
        dossier = await self._store.dossier(path_id(request, "dossier"))
        if dossier is None or (caller.cabinet and dossier.cabinet_id != caller.cabinet.id):
            raise not_found("dossier")
        cabinet = caller.cabinet or await self._store.cabinet(dossier.cabinet_id)
        member = None
        if caller.account:
            member = await self._store.member_with_email(dossier.id, caller.account.id)
            if member is None or dossier.archived_at or not caller.account.holds(member):
                raise not_found("dossier")
            granted = capabilities(member.role, own_expense_reports=member.own_expense_reports)
            if capability and not granted[capability]:
                raise NotForYou
        if cabinet is None:
            raise not_found("dossier")
        return Ground(dossier, cabinet, member)

    async def member(self, request: web.Request, ground: Ground) -> Member:
        """The member of the path, who must have a place in that dossier."""
        member = await self._store.member(path_id(request, "member"))
        if member is None or member.dossier_id != ground.dossier.id or member.removed_at:
            raise not_found("member")
        return member

    async def place(self, member_id: str) -> tuple[Member, Dossier, Cabinet]:
        """A member of any cabinet, with the dossier and the cabinet they belong to."""
        member = await self._store.member(member_id)
        dossier = await self._store.dossier(member.dossier_id) if member else None
        cabinet = await self._store.cabinet(member.cabinet_id) if member else None
        if member is None or dossier is None or cabinet is None:
            raise not_found("member")
        return member, dossier, cabinet


def _or(token: SecretStr, check: Callable[[web.Request], Awaitable[None]]) -> Callable[[web.Request], Awaitable[None]]:
    """Lets in whoever holds `token`, without a caller in the request, and whoever `check` lets in."""

    async def either(request: web.Request) -> None:
        if not same_secret(bearer_token(request) or "", token.get_secret_value()):
            await check(request)

    return either


def path_id(request: web.Request, what: str) -> str:
    """The id of `what` in the path (`{id}`, or `{member_id}`), in the form ids are kept in."""
    text = request.match_info.get(f"{what}_id") or request.match_info["id"]
    try:
        return str(UUID(text))
    except ValueError:
        raise not_found(what) from None
