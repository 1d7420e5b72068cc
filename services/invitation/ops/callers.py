"""Who operates: ops tokens see every cabinet and act as far as their role goes, a cabinet's API key sees its own."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from convive_kit.auth import bearer_token, parse_api_key, same_secret, secret_hash, unauthorized
from convive_kit.errors import NotAllowed
from convive_kit.routes import Guard
from invitation.directory import Directory
from invitation.store.tokens import ROLES, OpsToken, OpsTokens, Role

_REMEMBERED_FOR = 10.0
_MOST_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Caller:
    """`cabinet_id` is None for operators, who see every cabinet; `token_id` names an operator's token."""

    actor: str
    cabinet_id: str | None
    role: Role
    token_id: str = ""

    def sees(self, cabinet_id: str) -> bool:
        return self.cabinet_id in (None, cabinet_id)

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


CALLER = web.RequestKey("caller", Caller)


def actor_of(request: web.Request) -> str:
    """Who makes a guarded call, as histories name them."""
    return request[CALLER].actor


class Callers:
    """The guards of the operations API."""

    def __init__(self, directory: Directory, tokens: OpsTokens, *, ops_token: str) -> None:
        """`ops_token` comes from the settings: the admin who is always there, and makes the other tokens."""
        self._directory = directory
        self._tokens = tokens
        self._ops_token = ops_token
        self._known: OrderedDict[str, tuple[float, Caller | None]] = OrderedDict()
        self.guards = (
            *(self._guard(role, cabinets=False) for role in ROLES),
            *(self._guard(role, cabinets=True) for role in ("reader", "writer")),
        )

    def _guard(self, role: Role, *, cabinets: bool) -> Guard:
        async def check(request: web.Request) -> None:
            caller = await self.of(request)
            if (caller.cabinet_id is not None and not cabinets) or not caller.may(role):
                raise NotAllowed(f"This call needs an ops token with the role {role}.")
            request[CALLER] = caller

        meaning = f"An ops token with at least the role {role}"
        return Guard(
            f"ops_{role}_or_cabinet" if cabinets else f"ops_{role}",
            f"{meaning}, or a cabinet's API key, which sees its own." if cabinets else f"{meaning}.",
            check,
            refusals=(401, 403),
        )

    async def of(self, request: web.Request) -> Caller:
        """Who calls. Raises `unauthorized()` for nobody that is known."""
        token = bearer_token(request)
        caller = None if token is None else await self.holder(token)
        if caller is None:
            raise unauthorized()
        return caller

    async def holder(self, token: str) -> Caller | None:
        """Who holds a token. Asked not more often than every few seconds: so long may a revoked one still work."""
        if same_secret(token, self._ops_token):
            return _FROM_THE_SETTINGS
        return await self._remembered(secret_hash(token), lambda: self._ask(token))

    async def operator(self, token_id: str) -> Caller | None:
        """Whose operator's token has this id, unless it is revoked. Asked as seldom as `holder`."""
        if token_id == _FROM_THE_SETTINGS.token_id:
            return _FROM_THE_SETTINGS
        return await self._remembered(f"id:{token_id}", lambda: self._ask_by_id(token_id))

    async def _ask(self, token: str) -> Caller | None:
        if parse_api_key(token) is None:
            return _operator(await self._tokens.of(token))
        cabinet_id = await self._directory.cabinet_of_key(token)
        return None if cabinet_id is None else Caller(f"cabinet:{cabinet_id}", cabinet_id, "writer")

    async def _ask_by_id(self, token_id: str) -> Caller | None:
        return _operator(await self._tokens.with_id(token_id))

    async def _remembered(self, key: str, ask: Callable[[], Awaitable[Caller | None]]) -> Caller | None:
        known = self._known.get(key)
        if known is not None and time.monotonic() - known[0] < _REMEMBERED_FOR:
            return known[1]
        caller = await ask()
        self._known[key] = (time.monotonic(), caller)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return caller

    def forget(self) -> None:
        """A token was revoked: ask again from now on."""
        self._known.clear()


_FROM_THE_SETTINGS = Caller("ops", None, "admin", "settings")


def _operator(token: OpsToken | None) -> Caller | None:
    return None if token is None else Caller(f"ops:{token.name}", None, token.role, token.id)
