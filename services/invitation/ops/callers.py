"""Who operates: ops tokens see every cabinet and act as far as their role goes, a cabinet's API key sees its own."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web

from convive_kit.auth import bearer_token, parse_api_key, same_secret, secret_hash, unauthorized
from convive_kit.errors import NotAllowed
from convive_kit.routes import Guard
from invitation.directory import Directory
from invitation.store.tokens import ROLES, OpsTokens, Role

_REMEMBERED_FOR = 10.0
_MOST_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Caller:
    """`cabinet_id` is None for operators, who see every cabinet."""

    actor: str
    cabinet_id: str | None
    role: Role

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
            return Caller("ops", None, "admin")
        hashed = secret_hash(token)
        known = self._known.get(hashed)
        if known is not None and time.monotonic() - known[0] < _REMEMBERED_FOR:
            return known[1]
        if parse_api_key(token) is not None:
            cabinet_id = await self._directory.cabinet_of_key(token)
            caller = None if cabinet_id is None else Caller(f"cabinet:{cabinet_id}", cabinet_id, "writer")
        else:
            kept = await self._tokens.of(token)
            caller = None if kept is None else Caller(f"ops:{kept.name}", None, kept.role)
        self._known[hashed] = (time.monotonic(), caller)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return caller

    def forget(self) -> None:
        """A token was revoked: ask again from now on."""
        self._known.clear()
