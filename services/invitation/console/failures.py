"""`/ops/failures`: what could not be handled, by what it has in common, and what may be done about it.

A message holds names and addresses: what stands in it is shown for a reason, which is recorded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from aiohttp import web
from pydantic import Field

from convive_contracts.envelope import LARGEST_MESSAGE
from convive_kit.http import Problem, form_body, from_pairs
from convive_kit.parked_routes import Act, Edit, ParkedDetail, ParkedQuery, ParkedRoutes
from convive_kit.routes import Route
from invitation.console.forms import Form, Reason
from invitation.console.frame import Frame, said, see_other
from invitation.console.picture import trend
from invitation.ops.auditing import Auditing
from invitation.ops.replay_api import NewReplay, ReplayApi
from invitation.ops.statistics import Stats

PATH = "/ops/failures"
ONE = f"{PATH}/messages/{{id}}"
RUN = "/ops/replays/{id}"
_Given = Annotated[Reason, Field(min_length=1)]


class _Act(Form):
    reason: Reason | None = None


class _Why(Form):
    reason: _Given


class _Edit(_Why):
    body: Annotated[str, Field(max_length=LARGEST_MESSAGE)] = ""


class _Group(_Why):
    fingerprint: Annotated[str, Field(min_length=1, max_length=200)]
    go: bool = False
    """Otherwise it is only counted."""


class Failures:
    """See the module."""

    def __init__(
        self,
        frame: Frame,
        parked: ParkedRoutes,
        replays: ReplayApi,
        stats: Stats,
        auditing: Auditing,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._frame = frame
        self._parked = parked
        self._replays = replays
        self._stats = stats
        self._auditing = auditing
        self._now = now

    def routes(self) -> list[Route]:
        """The groups, their messages, and replays of whole groups."""
        forms = (
            (f"{ONE}/show", self._open),
            (f"{ONE}/replay", self._form(self._replay)),
            (f"{ONE}/edit", self._form(self._edit)),
            (f"{ONE}/discard", self._form(self._discard)),
        )
        looks = ((PATH, self._groups), (f"{PATH}/messages", self._list), (ONE, self._show), (RUN, self._run),
                 *((path, self._back) for path, _ in forms))  # fmt: skip
        acts = (*forms, (f"{PATH}/replay", self._replay_group), (f"{RUN}/abort", self._abort))
        return [
            *(Route("GET", path, show, query=None, auth="console_reader", documented=False) for path, show in looks),
            *(Route("POST", path, act, query=None, auth="console_writer", documented=False) for path, act in acts),
        ]

    # --- groups and their messages --------------------------------------------------------------------------------

    async def _groups(self, request: web.Request) -> web.StreamResponse:
        groups = await self._parked.groups()
        today = self._now().date()
        return self._frame.page(
            request,
            "failures.html",
            groups=[(group, trend({day.day: day.messages for day in group.per_day}, today)) for group in groups],
            reasons=(await self._stats.latest()).reasons,
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        query = from_pairs(list(request.query.items()), ParkedQuery)
        page = await self._parked.page(query)
        kept = [("status", query.status), *(("fingerprint", one) for one in query.fingerprint)]
        more = urlencode([*kept, ("limit", str(query.limit)), ("cursor", page.next_cursor)]) if page.next_cursor else ""
        return self._frame.page(
            request,
            "parked_messages.html",
            query=query,
            fingerprint=query.fingerprint[0] if query.fingerprint else "",
            items=page.items,
            goes_on=f"{PATH}/messages?{more}" if more else None,
        )

    # --- one message ----------------------------------------------------------------------------------------------

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return self._message(request, await self._parked.one(request), done=request.query.get("done", ""))

    async def _back(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther(f"{PATH}/messages/{request.match_info['id']}")

    def _message(
        self,
        request: web.Request,
        message: ParkedDetail,
        *,
        done: str = "",
        problem: Problem | None = None,
        opened: bool = False,
    ) -> web.Response:
        return self._frame.page(
            request,
            "parked_message.html",
            status=problem.status if problem else 200,
            message=message,
            address=f"{PATH}/messages/{message.id}",
            done=done,
            problem=problem,
            said=said(problem) if problem else "",
            opened=opened,
        )

    async def _open(self, request: web.Request) -> web.StreamResponse:
        message = await self._parked.one(request)
        try:
            why = await form_body(request, _Why)
        except Problem as problem:
            return self._message(request, message, problem=problem)
        async with self._auditing.witness(request, "parked.revealed", f"parked:{message.id}", why.reason):
            return self._message(request, message, opened=True)

    def _form(
        self, act: Callable[[web.Request], Awaitable[tuple[str, str]]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def carry_out(request: web.Request) -> web.StreamResponse:
            try:
                id, done = await act(request)
            except Problem as problem:
                if problem.status not in (409, 422):
                    raise
                return self._message(request, await self._parked.one(request), problem=problem)
            return see_other(f"{PATH}/messages/{id}?done={done}")

        return carry_out

    async def _replay(self, request: web.Request) -> tuple[str, str]:
        form = await form_body(request, _Act)
        return (await self._parked.replay(request, Act(reason=form.reason))).id, "replayed"

    async def _edit(self, request: web.Request) -> tuple[str, str]:
        form = await form_body(request, _Edit)
        # A form sends line ends as CRLF, whatever they were.
        body = form.body.replace("\r\n", "\n")
        return (await self._parked.edit(request, Edit(body=body, reason=form.reason))).id, "edited"

    async def _discard(self, request: web.Request) -> tuple[str, str]:
        form = await form_body(request, _Why)
        return (await self._parked.discard(request, Act(reason=form.reason))).id, "discarded"

    # --- a whole group --------------------------------------------------------------------------------------------

    async def _replay_group(self, request: web.Request) -> web.StreamResponse:
        form = await form_body(request, _Group)
        which = {"fingerprint": [form.fingerprint]}
        wanted = NewReplay.model_validate(
            {"from": "parked", "filter": which, "dry_run": not form.go, "reason": form.reason}
        )
        return see_other(RUN.format(id=(await self._replays.begin(request, wanted)).id))

    async def _run(self, request: web.Request) -> web.StreamResponse:
        run = await self._replays.one(request)
        fingerprints = run.filter.get("fingerprint", ())
        return self._frame.page(
            request, "replay.html", run=run, fingerprint=fingerprints[0] if len(fingerprints) == 1 else ""
        )

    async def _abort(self, request: web.Request) -> web.StreamResponse:
        return see_other(RUN.format(id=(await self._replays.abort(request)).id))
