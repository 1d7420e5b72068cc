"""`/ops/bulk`: one action on all that a filter means, begun in two steps (a look, then the deed), followed, paused,
aborted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, time
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from pydantic import Field, ValidationError

from convive_kit.http import Problem, field_errors, form_body, from_pairs
from convive_kit.routes import Route
from invitation.console.forms import Form, Reason
from invitation.console.frame import Frame, said, see_other
from invitation.ops.bulk import BulkApi, NewBulk
from invitation.ops.selection import Criteria
from invitation.store.bulk import Action

PATH = "/ops/bulk"
ONE = f"{PATH}/{{id}}"
_LISTED = 50
_END_OF_DAY = time(23, 59, 59)


class _NewBulk(Form):
    query: Annotated[str, Field(max_length=8000)] = ""
    action: Action
    channel: str | None = None
    until: date | None = None
    rate: float | None = None
    reason: Annotated[Reason, Field(min_length=1)]
    go: bool = False
    """Otherwise it is only counted."""


class BulkPages:
    """See the module."""

    def __init__(self, frame: Frame, bulk: BulkApi) -> None:
        self._frame = frame
        self._bulk = bulk

    def routes(self) -> list[Route]:
        """The operations, one of them, and how one is begun."""
        looks = ((PATH, self._list, "reader"), (f"{PATH}/new", self._new, "writer"), (ONE, self._show, "reader"))
        acts = ((PATH, self._begin), *((f"{ONE}/{step}", self._step(step)) for step in ("pause", "resume", "abort")))
        return [
            *(Route("GET", path, show, query=None, auth=f"console_{role}", documented=False)
              for path, show, role in looks),
            *(Route("POST", path, act, query=None, auth="console_writer", documented=False) for path, act in acts),
        ]  # fmt: skip

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return self._frame.page(request, "bulk.html", runs=await self._bulk.latest(_LISTED))

    async def _new(self, request: web.Request) -> web.StreamResponse:
        return self._form(request, request.query_string)

    def _form(self, request: web.Request, query: str, problem: Problem | None = None) -> web.Response:
        pairs = parse_qsl(query)
        return self._frame.page(
            request,
            "bulk_new.html",
            status=problem.status if problem else 200,
            query=urlencode(pairs),
            pairs=pairs,
            problem=problem,
            said=said(problem) if problem else "",
        )

    async def _begin(self, request: web.Request) -> web.StreamResponse:
        query = ""
        try:
            form = await form_body(request, _NewBulk)
            query = form.query
            bulk = await self._bulk.begin(request, _wanted(form))
        except Problem as problem:
            if problem.status != 422:
                raise
            return self._form(request, query or str((await request.post()).get("query", "")), problem)
        # What was kept of the filter holds no name and no address: the deed after the look needs all of it.
        more = f"?{urlencode({'query': query})}" if bulk.dry_run else ""
        return see_other(f"{PATH}/{bulk.id}{more}")

    async def _show(self, request: web.Request) -> web.StreamResponse:
        run = await self._bulk.one(request)
        # What has been taken so far: all of the set at the end.
        behind = run.done + run.failed + sum(run.skipped.values())
        return self._frame.page(request, "bulk_run.html", run=run, behind=behind, query=request.query.get("query", ""))

    def _step(self, step: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def take(request: web.Request) -> web.StreamResponse:
            return see_other(f"{PATH}/{(await self._bulk.take(request, step)).id}")

        return take


def _wanted(form: _NewBulk) -> NewBulk:
    """What the form asks for, as the API takes it; 422 naming the field."""
    given: dict[str, Any] = form.model_dump(include={"action", "channel", "rate", "reason"}, exclude_none=True)
    if form.until is not None:
        given["until"] = datetime.combine(form.until, _END_OF_DAY, UTC)
    try:
        return NewBulk(**given, filter=from_pairs(parse_qsl(form.query), Criteria), dry_run=not form.go)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise Problem(422, "invalid_fields", errors=field_errors(faults)) from None
