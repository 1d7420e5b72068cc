"""Who operates: the holder of the ops token sees everything, a cabinet's API key its own."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import web

from convive_kit.auth import bearer_token, parse_api_key, same_secret, secret_hash, unauthorized
from convive_kit.errors import NotAllowed
from convive_kit.routes import Guard
from invitation.directory import Directory

_REMEMBERED_FOR = 30.0
_MOST_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Caller:
    """`cabinet_id` is None for operators, who see every cabinet."""

    actor: str
    cabinet_id: str | None

    def sees(self, cabinet_id: str) -> bool:
        return self.cabinet_id in (None, cabinet_id)


CALLER = web.RequestKey("caller", Caller)
_OPERATOR = Caller("ops", None)


def actor_of(request: web.Request) -> str:
    """Who makes a guarded call, as histories name them."""
    return request[CALLER].actor


class Callers:
    """The guards of the operations API."""

    def __init__(self, directory: Directory, *, ops_token: str) -> None:
        self._directory = directory
        self._ops_token = ops_token
        self._keys: OrderedDict[str, tuple[float, str | None]] = OrderedDict()
        self.guards = (
            Guard("ops", "The ops token.", self._operator),
            Guard("ops_or_cabinet", "The ops token, or a cabinet's API key, which sees its own.", self._anyone_known),
        )

    async def _operator(self, request: web.Request) -> None:
        token = bearer_token(request)
        if token is None:
            raise unauthorized()
        if not same_secret(token, self._ops_token):
            if await self._cabinet_of(token) is not None:
                raise NotAllowed("This call needs the ops token.")
            raise unauthorized()
        request[CALLER] = _OPERATOR

    async def _anyone_known(self, request: web.Request) -> None:
        token = bearer_token(request)
        if token is None:
            raise unauthorized()
        if same_secret(token, self._ops_token):
            request[CALLER] = _OPERATOR
            return
        cabinet_id = await self._cabinet_of(token)
        if cabinet_id is None:
            raise unauthorized()
        request[CALLER] = Caller(f"cabinet:{cabinet_id}", cabinet_id)

    async def _cabinet_of(self, token: str) -> str | None:
        """Ask the directory, not more often than every half minute: so long may a revoked key still read here."""
        if parse_api_key(token) is None:
            return None
        hashed = secret_hash(token)
        known = self._keys.get(hashed)
        if known is not None and time.monotonic() - known[0] < _REMEMBERED_FOR:
            return known[1]
        cabinet_id = await self._directory.cabinet_of_key(token)
        self._keys[hashed] = (time.monotonic(), cabinet_id)
        if len(self._keys) > _MOST_REMEMBERED:
            self._keys.popitem(last=False)
        return cabinet_id
