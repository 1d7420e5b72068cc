"""The operations API: what stands where and why, and the few things that may be done about it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web
from pydantic import BaseModel

from convive_kit.cursors import encode_cursor, key_in
from convive_kit.http import ListOf, json_body, parse_query
from convive_kit.routes import Route
from invitation.ops.acting import Acting
from invitation.ops.callers import CALLER
from invitation.ops.views import (
    Correct,
    Extend,
    InvitationDetail,
    InvitationQuery,
    InvitationView,
    Resend,
    Revoke,
    invitation_fields,
    step_view,
    view_of,
)
from invitation.store.protocol import Store


class OpsApi:
    """See CONTRACT's table in `docs/operations.md`."""

    def __init__(
        self,
        store: Store,
        acting: Acting,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._acting = acting
        self._now = now

    def routes(self) -> list[Route]:
        """The calls under `/v1`."""
        looks, acts = "ops_reader_or_cabinet", "ops_writer_or_cabinet"
        one = "/v1/invitations/{id}"
        actions = (
            ("resend", self._resend, "Send a new link", Resend),
            ("revoke", self._revoke, "Take the invitation back", Revoke),
            ("extend", self._extend, "Let the link work for longer", Extend),
            ("correct", self._correct, "Reach the person at another address or number", Correct),
        )
        return [
            Route(
                "GET",
                "/v1/invitations",
                self._list,
                "Invitations, newest first",
                query=InvitationQuery,
                response=ListOf[InvitationView],
                auth=looks,
            ),
            Route(
                "GET",
                one,
                self._detail,
                "One invitation with its history",
                response=InvitationDetail,
                auth=looks,
                problems=(404,),
            ),
            *(
                Route(
                    "POST",
                    f"{one}/{action}",
                    handler,
                    summary,
                    body,
                    response=InvitationView,
                    status=202,
                    auth=acts,
                    problems=(404, 409),
                )
                for action, handler, summary, body in actions
            ),
        ]

    # --- reading ---------------------------------------------------------------------------------------------------

    async def _list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, InvitationQuery)
        which = query.chosen(request[CALLER], self._now())
        if which is None:
            return ListOf[InvitationView](items=[])
        page = await self._store.find(
            which, limit=query.limit, after=key_in(query.cursor), newest_first=query.sort.startswith("-")
        )
        return ListOf[InvitationView](
            items=[view_of(invitation) for invitation in page.items],
            next_cursor=encode_cursor(*page.after) if page.after else None,
        )

    async def _detail(self, request: web.Request) -> BaseModel:
        invitation = await self._acting.theirs(request)
        history = await self._store.history(invitation.id)
        return InvitationDetail.model_validate(
            {**invitation_fields(invitation), "history": [step_view(step) for step in history]}
        )

    async def _resend(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Resend)
        invitation = await self._acting.theirs(request)
        return view_of(await self._acting.resend(request, invitation, body.channel, body.reason))

    async def _revoke(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Revoke)
        return view_of(await self._acting.revoke(request, await self._acting.theirs(request), body.reason))

    async def _extend(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Extend)
        return view_of(await self._acting.extend(request, await self._acting.theirs(request), body.until, body.reason))

    async def _correct(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Correct)
        invitation = await self._acting.theirs(request)
        return view_of(await self._acting.correct(request, invitation, body.fields(), body.reason))
