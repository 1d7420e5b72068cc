"""`/ops/invitations`: the list, with every filter in its address, so that a view is a link."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from pydantic import Field

from convive_kit.cursors import Key, encode_cursor, key_in
from convive_kit.http import Problem, form_body, from_pairs, invalid
from convive_kit.routes import Route
from invitation.console.forms import Form
from invitation.console.frame import Frame, said, see_other
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.states import State
from invitation.ops.callers import CALLER
from invitation.ops.export import Export
from invitation.ops.selection import Criteria
from invitation.ops.views import ExportQuery, InvitationQuery
from invitation.store.bookmarks import MOST, Bookmark, Bookmarks
from invitation.store.protocol import Store

PATH = "/ops/invitations"
SIZES = (25, 50, 100, 200)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_OF_A_PERSON = ("q", "email")
_OURS = ("before", "done")
"""What an address has beside the filters of the API."""

Pairs = list[tuple[str, str]]


class _NewView(Form):
    name: Annotated[str, Field(min_length=1, max_length=60)]
    query: Annotated[str, Field(max_length=4000)] = ""


class _Name(Form):
    name: Annotated[str, Field(max_length=60)]


@dataclass(frozen=True, slots=True)
class _Shown:
    """`before` and `after` are where the list goes on, either way."""

    items: Sequence[Invitation] = ()
    before: Key | None = None
    after: Key | None = None


class Listing:
    """See the module."""

    def __init__(
        self, frame: Frame, store: Store, export: Export, bookmarks: Bookmarks, *, now: Callable[[], datetime]
    ) -> None:
        self._frame = frame
        self._store = store
        self._export = export
        self._bookmarks = bookmarks
        self._now = now

    def routes(self) -> list[Route]:
        """The list, its export and the saved views. They come before `/ops/invitations/{id}`."""
        return [
            Route("GET", PATH, self._list, query=None, auth="console_reader", documented=False),
            Route("GET", f"{PATH}/export", self._export.carry_out, query=ExportQuery, auth="console_reader",
                  streams=("text/csv",), documented=False),
            Route("POST", "/ops/views", self._save_view, query=None, auth="console_reader", documented=False),
            Route("POST", "/ops/views/remove", self._remove_view, query=None, auth="console_reader", documented=False),
        ]  # fmt: skip

    async def _list(self, request: web.Request) -> web.StreamResponse:
        asked: Pairs = list(request.query.items())
        if (tidy := _tidied(asked)) != asked:
            # A form sends what was left empty too: the address keeps what means something.
            raise web.HTTPSeeOther(_address(tidy))
        ours = dict(pair for pair in asked if pair[0] in _OURS)
        asked = [pair for pair in asked if pair[0] not in _OURS]
        problem: Problem | None = None
        query = InvitationQuery()
        shown = _Shown()
        try:
            query = from_pairs(asked, InvitationQuery)
            shown = await self._page(request, query, key_in(ours.get("before")))
        except Problem as unfit:
            if unfit.status != 422:
                raise
            problem = unfit
        filters = [pair for pair in asked if pair[0] in Criteria.model_fields]
        kept = [*filters, *(pair for pair in asked if pair[0] in ("sort", "limit"))]
        return self._frame.page(
            request,
            "invitations.html",
            status=problem.status if problem else 200,
            problem=problem,
            said=said(problem) if problem else "",
            done=ours.get("done", ""),
            asked=_values(asked),
            query=query,
            items=shown.items,
            back=_address([*kept, ("before", encode_cursor(*shown.before))]) if shown.before else None,
            goes_on=_address([*kept, ("cursor", encode_cursor(*shown.after))]) if shown.after else None,
            exports={kind: _address([*filters, ("format", kind)], f"{PATH}/export") for kind in ("csv", "jsonl")},
            views=await self._bookmarks.of(request[CALLER].actor),
            viewed=urlencode(_impersonal(kept)),
            hides=_impersonal(kept) != kept,
            all_states=list(State),
            sizes=SIZES,
            live=_live(filters),
            filtered=urlencode(filters),
        )

    async def _page(self, request: web.Request, query: InvitationQuery, before: Key | None) -> _Shown:
        which = query.chosen(request[CALLER], self._now())
        if which is None:
            return _Shown()
        newest_first, after = query.sort.startswith("-"), key_in(query.cursor)
        if before is None:
            page = await self._store.find(which, limit=query.limit, after=after, newest_first=newest_first)
            first = (page.items[0].created_at, page.items[0].id) if page.items else after
            return _Shown(page.items, first if after else None, page.after)
        # The page before is what comes next the other way round.
        page = await self._store.find(which, limit=query.limit, after=before, newest_first=not newest_first)
        items = page.items[::-1]
        return _Shown(items, page.after, (items[-1].created_at, items[-1].id) if items else before)

    async def _save_view(self, request: web.Request) -> web.StreamResponse:
        view = await form_body(request, _NewView)
        pairs = _impersonal(parse_qsl(view.query))
        if not await self._bookmarks.save(request[CALLER].actor, Bookmark(view.name, urlencode(pairs))):
            raise invalid("name", f"You have {MOST} views: remove one first.")
        return see_other(_address([*pairs, ("done", "saved")]))

    async def _remove_view(self, request: web.Request) -> web.StreamResponse:
        await self._bookmarks.remove(request[CALLER].actor, (await form_body(request, _Name)).name)
        return see_other(f"{PATH}?done=removed")


def _tidied(asked: Pairs) -> Pairs:
    """Without what was left empty; a day means its beginning."""
    days = ("created_after", "created_before")
    return [
        (name, f"{value}T00:00:00Z" if name in days and _DAY.fullmatch(value) else value)
        for name, value in asked
        if value.strip()
    ]


def _address(pairs: Iterable[tuple[str, str]], path: str = PATH) -> str:
    query = urlencode(list(pairs))
    return f"{path}?{query}" if query else path


def _values(pairs: Pairs) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return values


def _impersonal(pairs: Sequence[tuple[str, str]]) -> Pairs:
    return [pair for pair in pairs if pair[0] not in _OF_A_PERSON]


def _live(filters: Pairs) -> str:
    # Whatever state it had, one that moves may come into the list or leave it: only the firm narrows what to hear.
    return _address([pair for pair in filters if pair[0] == "cabinet_id"], "/ops/live")
