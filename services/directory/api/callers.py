"""Who calls, by their token, and what the calls need to know of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from aiohttp import web
from pydantic import SecretStr

from convive_kit.auth import bearer_token, holder_of, parse_api_key, same_secret, secret_hash, unauthorized
from convive_kit.http import Problem, not_found
from convive_kit.routes import Guard
from directory.access import CABINET_HEADER, Access, Caller, Ground, NotForYou, path_id
from directory.entrance import Entrance
from directory.model.cabinet import Cabinet
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.store.protocol import Store

CALLER = web.RequestKey("caller", Caller)
_DOSSIER = web.RequestKey("dossier", Dossier)
_DOSSIER_PATH = "/v1/dossiers/{id}"


class Callers:
    """The guards of the route table, and the checks that need the thing asked for.

    Where a cabinet is let in, so is a signed-in member of its staff."""

    def __init__(self, store: Store, entrance: Entrance, *, admin_token: SecretStr, service_token: SecretStr) -> None:
        self._store = store
        self._entrance = entrance
        self._access = Access(store)
        cabinet = self._check(self._is_cabinet)
        self.guards = (
            Guard("admin", "The administration token of this installation.", holder_of(admin_token)),
            Guard("service", "The token the two services share.", holder_of(service_token)),
            Guard("cabinet", "A cabinet's API key, or the session of one of its staff.", cabinet),
            Guard("firm", "As `cabinet`, for itself, or the administration token.", _or(admin_token, cabinet)),
            Guard(
                "asker",
                "A cabinet's API key, for its own dossiers, or the token the two services share.",
                _or(service_token, self._check(lambda caller: caller.cabinet is not None)),
            ),
            Guard("person", "A session token.", self._check(lambda caller: caller.account is not None)),
            Guard("user", "A cabinet's API key, or a session token.", self._check(lambda _: True)),
        )

    def _check(self, may: Callable[[Caller], bool]) -> Callable[[web.Request], Awaitable[None]]:
        async def check(request: web.Request) -> None:
            token = bearer_token(request)
            caller = Caller()
            # What only begins like a key costs no look at the database.
            if token is not None and (not token.startswith("cvk_") or parse_api_key(token)):
                # At the same time: who calls does not depend on what is asked for.
                caller, dossier = await asyncio.gather(self._caller(token), self._dossier_of(request))
                if dossier:
                    request[_DOSSIER] = dossier
            if caller == Caller():
                raise unauthorized()
            if not may(caller):
                raise NotForYou
            request[CALLER] = caller

        return check

    async def _caller(self, token: str) -> Caller:
        if token.startswith("cvk_"):
            return Caller(cabinet=await self.cabinet_of(token))
        return Caller(account=await self._entrance.who(token))

    async def _dossier_of(self, request: web.Request) -> Dossier | None:
        """The dossier of the path, if it names one that is there."""
        resource = request.match_info.route.resource
        if resource is None or not resource.canonical.startswith(_DOSSIER_PATH):
            return None
        with contextlib.suppress(Problem):  # no id: who calls is asked first, and the handler tells
            return await self._store.dossier(path_id(request, "dossier"))
        return None

    @staticmethod
    def _is_cabinet(caller: Caller) -> bool:
        return caller.cabinet is not None or (caller.account is not None and bool(caller.account.firms))

    async def cabinet_of(self, key_text: str) -> Cabinet | None:
        """The cabinet whose live API key this is."""
        parts = parse_api_key(key_text)
        cabinet = await self._store.cabinet(str(parts.cabinet_id)) if parts else None
        key = cabinet.live_key(parts.key_id) if cabinet and parts else None
        return cabinet if key and parts and same_secret(secret_hash(parts.secret), key.hash) else None

    async def cabinet(self, request: web.Request) -> Cabinet:
        """The cabinet of a call that names none: the caller's own."""
        return await self._access.cabinet(request[CALLER], request.headers.get(CABINET_HEADER))

    async def ground(self, request: web.Request, capability: str | None = "manage_users") -> Ground:
        """The dossier of the path, for its cabinet, or for a member with that capability (None: for any member)."""
        dossier = request.get(_DOSSIER) or await self._store.dossier(path_id(request, "dossier"))
        return await self._access.ground_of(request[CALLER], dossier, capability)

    async def own_ground(self, request: web.Request) -> Ground:
        """The dossier of the path, for its cabinet."""
        return self._access.for_its_cabinet(await self.ground(request, capability=None))

    async def member(self, request: web.Request, ground: Ground) -> Member:
        """The member of the path, who must have a place in that dossier."""
        return await self._access.member(ground, path_id(request, "member"))

    async def place(self, member_id: str) -> tuple[Member, Dossier, Cabinet]:
        """A member of any cabinet, with the dossier and the cabinet they belong to."""
        member = await self._store.member(member_id)
        dossier = await self._store.dossier(member.dossier_id) if member else None
        cabinet = await self._store.cabinet(member.cabinet_id) if member else None
        if member is None or dossier is None or cabinet is None:
            raise not_found("member")
        return member, dossier, cabinet


def own_cabinet_id(request: web.Request) -> str:
    """The cabinet of the path, where the caller acts for it or (without being one) administers all."""
    id, caller = path_id(request, "cabinet"), request.get(CALLER)
    if caller and not caller.acts_for(id):
        raise not_found("cabinet")
    return id


def _or(token: SecretStr, check: Callable[[web.Request], Awaitable[None]]) -> Callable[[web.Request], Awaitable[None]]:
    """Lets in whoever holds `token`, without a caller in the request, and whoever `check` lets in."""

    async def either(request: web.Request) -> None:
        if not same_secret(bearer_token(request) or "", token.get_secret_value()):
            await check(request)

    return either
