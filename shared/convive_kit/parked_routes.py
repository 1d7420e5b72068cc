"""The calls about parked messages, the same for one place or several: each service keeps its own, operators see all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, Protocol

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, Field

from convive_contracts.envelope import LARGEST_MESSAGE, EventError
from convive_kit.consuming import Incoming
from convive_kit.cursors import Key, key_in, page_of
from convive_kit.errors import Conflict, Reject
from convive_kit.http import Body, ListOf, ListQuery, Problem, Timestamp, invalid, json_body, not_found, parse_query
from convive_kit.parked import Group, Parked, ParkedMessages, Status
from convive_kit.routes import Route

Reason = Annotated[str, Field(min_length=1, max_length=500)]


class ParkedQuery(ListQuery):
    status: Status = "parked"
    fingerprint: list[Annotated[str, Field(max_length=200)]] = Field(default=[], description="Repeat it for OR.")
    group_by: Literal["fingerprint"] | None = Field(default=None, description="Groups instead of messages.")


class ParkedView(BaseModel):
    id: str
    queue: str
    routing_key: str
    slug: str
    reason: str
    fingerprint: str
    status: Status
    count: int
    size: int
    sha256: str
    message_id: str | None = None
    first_seen: Timestamp
    last_seen: Timestamp
    edited_from: str | None = None
    edited_to: str | None = None


class Header(BaseModel):
    name: str
    value: str


class Settled(BaseModel):
    at: Timestamp
    by: str
    reason: str | None = None


def _as_text(body: object) -> object:
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else body


class ParkedDetail(ParkedView):
    content_type: str | None = None
    exchange: str
    headers: list[Header]
    body: Annotated[str, BeforeValidator(_as_text)] = Field(
        description="As UTF-8, other bytes replaced; the first 64 KiB of an oversize message."
    )
    settled: Settled | None = None


class Day(BaseModel):
    day: date
    messages: int


class GroupView(BaseModel):
    fingerprint: str
    slug: str
    reason: str
    messages: int
    first_seen: Timestamp
    last_seen: Timestamp
    per_day: list[Day] = Field(default=[], description="How many came first on which day (UTC), oldest first.")


class Act(Body):
    reason: Reason | None = None
    by: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="Who asked, between services.")


class Edit(Act):
    body: Annotated[str, Field(max_length=LARGEST_MESSAGE)]
    content_type: Annotated[str, Field(max_length=200)] | None = None


class Record(Protocol):
    """Where an action says what came of it."""

    after: Mapping[str, Any] | None


Witness = Callable[[web.Request, str, str, str | None], AbstractAsyncContextManager[Record]]


@dataclass
class _NoRecord:
    after: Mapping[str, Any] | None = None


@asynccontextmanager
async def _nobody_watches(*_: object) -> AsyncGenerator[Record]:
    yield _NoRecord()


class Place(Protocol):
    """Somewhere messages are parked. None everywhere means: not here."""

    async def latest(self, query: ParkedQuery, after: Key | None, limit: int) -> Sequence[ParkedView]: ...

    async def groups(self) -> Sequence[GroupView]: ...

    async def one(self, id: str) -> ParkedDetail | None: ...

    async def replay(self, id: str, act: Act) -> ParkedDetail | None: ...

    async def edit(self, id: str, edit: Edit) -> ParkedDetail | None: ...

    async def discard(self, id: str, act: Act) -> ParkedDetail | None: ...


class OwnPlace:
    """The messages this service has parked."""

    def __init__(
        self,
        parked: ParkedMessages,
        *,
        handle: Callable[[Incoming, str, str], Awaitable[object]],
        now: Callable[[], datetime],
    ) -> None:
        """`handle(message, by, reason)` handles a message again, in-process, and raises what handling raises."""
        self._parked = parked
        self._handle = handle
        self._now = now

    async def latest(self, query: ParkedQuery, after: Key | None, limit: int) -> Sequence[ParkedView]:
        found = await self._parked.latest(limit=limit, after=after, status=query.status, fingerprints=query.fingerprint)
        return [ParkedView.model_validate({"id": parked.id, **parked.fields}) for parked in found]

    async def groups(self) -> Sequence[GroupView]:
        return [_group(group) for group in await self._parked.groups()]

    async def one(self, id: str) -> ParkedDetail | None:
        parked = await self._parked.one(id)
        return None if parked is None else _detail(parked)

    async def replay(self, id: str, act: Act) -> ParkedDetail | None:
        parked = await self._open(id)
        if parked is None:
            return None
        if not parked.is_whole:
            raise Problem(409, "not_whole", "Only the beginning of this message was kept: have it published again.")
        by, reason = act.by or "", act.reason or ""
        try:
            await self._handle(parked.message(), by, reason)
        except (Reject, EventError, Conflict) as refused:
            await self._parked.failed_again(id, refused, self._now())
            raise Problem(409, refused.slug, str(refused)) from None
        await self._parked.replayed(id, by, reason, self._now())
        return await self.one(id)

    async def edit(self, id: str, edit: Edit) -> ParkedDetail | None:
        parked = await self._open(id)
        if parked is None:
            return None
        body = edit.body.encode("utf-8", "surrogatepass")
        copy = await self._parked.edited(parked, body, edit.content_type, edit.by or "", self._now())
        return await self.one(copy)

    async def discard(self, id: str, act: Act) -> ParkedDetail | None:
        if await self._open(id) is None:
            return None
        await self._parked.discarded(id, act.by or "", act.reason, self._now())
        return await self.one(id)

    async def _open(self, id: str) -> Parked | None:
        parked = await self._parked.one(id)
        if parked is not None and parked.fields["status"] != "parked":
            status: str = parked.fields["status"]
            raise Problem(409, "already_settled", f"This message was {status}.", status_of_message=status)
        return parked


class ParkedRoutes:
    """Serves the parked messages of one place, or of several as one list."""

    def __init__(
        self,
        prefix: str,
        places: Sequence[Place],
        *,
        looks: str,
        acts: str,
        by: Callable[[web.Request], str] | None = None,
        witness: Witness = _nobody_watches,
    ) -> None:
        """`looks` and `acts` are the guards of reading and of acting. `by` tells who makes a call; without it the
        body's own `by` is believed. `witness(request, action, target, reason)` is around each action."""
        self._prefix = prefix
        self._places = places
        self._looks = looks
        self._acts = acts
        self._by = by
        self._witness = witness

    def routes(self) -> list[Route]:
        """The calls under the prefix."""
        one = f"{self._prefix}/{{id}}"

        def route(method: str, path: str, handler: Any, summary: str, **more: Any) -> Route:
            return Route(method, path, handler, summary, auth=self._looks if method == "GET" else self._acts, **more)

        detail: dict[str, Any] = {"response": ParkedDetail, "problems": (404, 409)}
        return [
            route("GET", self._prefix, self._list, "Messages that could not be handled, the one seen last first",
                  query=ParkedQuery, response=ListOf[ParkedView]),
            route("GET", one, self.one, "One of them, as it came", **detail),
            route("POST", f"{one}/replay", self._replay, "Handle it again", body=Act, **detail),
            route("PUT", one, self._edit, "Park a corrected copy; the original is kept", body=Edit, **detail),
            route("DELETE", one, self._discard, "Put it out of sight; it is kept", body=Act, **detail),
        ]  # fmt: skip

    # --- for whoever asks otherwise than by these calls -------------------------------------------------------------

    async def groups(self) -> Sequence[GroupView]:
        """What failed alike, the group seen last first."""
        groups = [group for place in await self._ask(lambda place: place.groups()) for group in place]
        return sorted(groups, key=lambda group: group.last_seen, reverse=True)

    async def page(self, query: ParkedQuery) -> ListOf[ParkedView]:
        """A page of messages. Raises a `Problem` for a cursor that is none."""
        after = key_in(query.cursor)
        # One more than asked for tells whether the list goes on.
        found = await self._ask(lambda place: place.latest(query, after, query.limit + 1))
        merged = sorted((view for place in found for view in place), key=_key, reverse=True)
        return page_of(ListOf[ParkedView], merged, query.limit, view=lambda view: view, key=_key)

    async def one(self, request: web.Request) -> ParkedDetail:
        """The message of the path, as it came; 404 where there is none."""
        return await self._first(lambda place: place.one(request.match_info["id"]))

    async def replay(self, request: web.Request, act: Act) -> ParkedDetail:
        """Handle it again. Raises a `Problem` (409) with the reason where that is refused again."""
        act = self._signed(request, act)
        return await self._do(request, "replay", act, lambda place, id: place.replay(id, act))

    async def edit(self, request: web.Request, edit: Edit) -> ParkedDetail:
        """Park a corrected copy, which is returned."""
        edit = self._signed(request, edit)
        if not edit.body.strip():
            raise invalid("body", "Give the whole message: to be rid of it, discard it.")
        return await self._do(request, "edit", edit, lambda place, id: place.edit(id, edit))

    async def discard(self, request: web.Request, act: Act) -> ParkedDetail:
        """Put it out of sight."""
        act = self._signed(request, act)
        return await self._do(request, "discard", act, lambda place, id: place.discard(id, act))

    # --- the calls ------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, ParkedQuery)
        return ListOf[GroupView](items=list(await self.groups())) if query.group_by else await self.page(query)

    async def _replay(self, request: web.Request) -> BaseModel:
        return await self.replay(request, await json_body(request, Act))

    async def _edit(self, request: web.Request) -> BaseModel:
        return await self.edit(request, await json_body(request, Edit))

    async def _discard(self, request: web.Request) -> BaseModel:
        return await self.discard(request, await json_body(request, Act))

    async def _do(
        self,
        request: web.Request,
        action: str,
        act: Act,
        what: Callable[[Place, str], Awaitable[ParkedDetail | None]],
    ) -> ParkedDetail:
        id = request.match_info["id"]
        async with self._witness(request, f"parked.{action}", f"parked:{id}", act.reason) as record:
            after = await self._first(lambda place: what(place, id))
            record.after = {"id": after.id, "status": after.status}
        return after

    def _signed(self, request: web.Request, act: Any) -> Any:
        return act if self._by is None else act.model_copy(update={"by": self._by(request)})

    async def _ask(self, question: Callable[[Place], Awaitable[Any]]) -> list[Any]:
        return list(await asyncio.gather(*(question(place) for place in self._places)))

    async def _first(self, question: Callable[[Place], Awaitable[ParkedDetail | None]]) -> ParkedDetail:
        for place in self._places:
            if (answer := await question(place)) is not None:
                return answer
        raise not_found("parked message")


def _key(view: ParkedView) -> Key:
    return view.last_seen, view.id


def _detail(parked: Parked) -> ParkedDetail:
    return ParkedDetail.model_validate({"id": parked.id, **parked.fields})


def _group(group: Group) -> GroupView:
    return GroupView(
        fingerprint=group.fingerprint,
        slug=group.slug,
        reason=group.reason,
        messages=group.messages,
        first_seen=group.first_seen,
        last_seen=group.last_seen,
        per_day=[Day(day=day.date(), messages=messages) for day, messages in group.per_day],
    )
