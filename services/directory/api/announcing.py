"""`/v1/announcements`: the directory tells its present state anew, for whoever has lost what it told before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import Body, invalid, json_body
from convive_kit.routes import Route

Place: TypeAlias = tuple[str, str]
AnnounceSome: TypeAlias = Callable[[Place | None], Awaitable[tuple[str, int, Place | None]]]

_KINDS = ("cabinets", "dossiers", "members", "accounts")


class Going(Body):
    cursor: str | None = Field(default=None, max_length=1024, description="`next_cursor` of the call before.")


class Told(BaseModel):
    kind: str
    told: int
    next_cursor: str | None


class Announcing:
    def __init__(self, announce_some: AnnounceSome) -> None:
        self._announce_some = announce_some

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/announcements", self.announce, "Publish the present state of the next hundred documents",
                  Going, response=Told, auth="admin"),
        ]  # fmt: skip

    async def announce(self, request: web.Request) -> BaseModel:
        """Cabinets, dossiers, members, then accounts; go on with `next_cursor` until it is null. Who knows a state
        already changes nothing, so a call may be repeated."""
        cursor = (await json_body(request, Going)).cursor
        place = None
        if cursor is not None:
            kind, after = decode_cursor(cursor, str, str)
            if kind not in _KINDS:
                raise invalid("cursor", "This is not a cursor of this call; start without one.")
            place = (kind, after)
        kind, told, following = await self._announce_some(place)
        return Told(kind=kind, told=told, next_cursor=encode_cursor(*following) if following else None)
