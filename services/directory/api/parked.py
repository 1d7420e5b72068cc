"""`/internal/v1/parked`: the directory's parked messages, for the operators' list that the invitation service shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, Field

from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import ListOf, ListQuery, Timestamp, not_found, parse_query
from convive_kit.routes import Route
from directory.store.parked import ParkedMessages


class ParkedView(BaseModel):
    id: str = Field(validation_alias="_id")
    queue: str
    routing_key: str
    slug: str
    reason: str
    fingerprint: str
    status: str
    count: int
    size: int
    sha256: str
    message_id: str | None
    first_seen: Timestamp
    last_seen: Timestamp


class Header(BaseModel):
    name: str
    value: str


def _text(body: object) -> object:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else body


class ParkedDetail(ParkedView):
    content_type: str | None
    exchange: str
    headers: list[Header]
    body: Annotated[str, BeforeValidator(_text)]


class Parked:
    def __init__(self, messages: ParkedMessages) -> None:
        self._messages = messages

    def routes(self) -> list[Route]:
        every = "/internal/v1/parked"
        return [
            Route("GET", every, self.list, "Parked messages, the one seen last first", query=ListQuery,
                  response=ListOf[ParkedView], auth="service"),
            Route("GET", f"{every}/{{id}}", self.read, "One parked message", response=ParkedDetail, auth="service",
                  problems=(404,)),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, ListQuery)
        after = None
        if query.cursor:
            at, id = decode_cursor(query.cursor, datetime, str)
            after = (at, id)
        found = await self._messages.latest(after=after, limit=query.limit + 1)
        items = [ParkedView.model_validate(document) for document in found[: query.limit]]
        more = encode_cursor(items[-1].last_seen, items[-1].id) if len(found) > len(items) else None
        return ListOf[ParkedView](items=items, next_cursor=more)

    async def read(self, request: web.Request) -> BaseModel:
        document = await self._messages.one(request.match_info["id"])
        if document is None:
            raise not_found("parked message")
        return ParkedDetail.model_validate(document)
