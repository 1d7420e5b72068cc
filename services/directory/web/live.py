"""`/clients/{id}/users/live`: tells an open list of users that something has changed; it then asks for itself anew."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from aiohttp import web
from aiohttp_sse import sse_response

from convive_contracts.events import InvitationState, UserCreated, UserRemoved
from convive_kit.errors import NotAllowed
from convive_kit.feed import Feed, Told, Waiting
from convive_kit.http import Problem
from convive_kit.routes import Route
from directory.store.protocol import Store
from directory.web.desk import Desk

FAMILIES = ("invitation", "user")
_LOOK_EVERY = 5.0
"""Seconds after which it is looked whether somebody still may listen."""
_ASK_EVERY = 0.2
"""Seconds after which it is looked again whether what was told has arrived here."""
_MOST_BEHIND = 100
_HEARTBEAT = 15.0


class Live:
    def __init__(self, feed: Feed, desk: Desk, store: Store) -> None:
        self._feed = feed
        self._desk = desk
        self._store = store

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/clients/{id}/users/live", self._tell, query=None, streams=("text/event-stream",),
                  documented=False),
        ]  # fmt: skip

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        ground = await self._desk.client(request)
        async with self._feed.listening() as waiting:
            async with sse_response(request, ping_interval=_HEARTBEAT, send_timeout=30) as response:
                async for _ in self._changes(request, waiting, ground.dossier.id):
                    await response.send("changed")
        return response

    async def _changes(self, request: web.Request, waiting: Waiting, dossier_id: str) -> AsyncGenerator[None]:
        """Comes once for what the list now shows otherwise. An invitation's event may be told here before the directory
        has taken it: so long the list would show nothing new."""
        behind: dict[str, int] = {}
        look_at = time.monotonic() + _LOOK_EVERY
        while True:
            told: Told | None = None
            try:
                async with asyncio.timeout(_ASK_EVERY if behind else _LOOK_EVERY):
                    told = await waiting.get()
                    if told is None:
                        return
            except TimeoutError:
                pass
            if time.monotonic() >= look_at:
                if not await self._still(request):
                    return
                look_at = time.monotonic() + _LOOK_EVERY
            changed = False
            match told.event.data if told else None:
                case InvitationState() as fact if fact.dossier_id == dossier_id and len(behind) < _MOST_BEHIND:
                    behind[fact.member_id] = max(fact.version, behind.get(fact.member_id, 0))
                case UserCreated() | UserRemoved() as user if user.dossier.id == dossier_id:
                    changed = True
                case _:
                    pass
            for member_id, version in [*behind.items()]:
                member = await self._store.member(member_id)
                if member is None or (member.invitation and member.invitation.version >= version):
                    del behind[member_id]
                    changed = True
            if changed:
                yield

    async def _still(self, request: web.Request) -> bool:
        try:
            await self._desk.client(request)
        except (Problem, NotAllowed, web.HTTPSeeOther):
            return False
        return True
