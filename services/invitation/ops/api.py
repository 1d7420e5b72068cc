"""The operations API: what stands where and why, and the few things that may be done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from aiohttp import web
from pydantic import BaseModel

from convive_kit.cursors import encode_cursor, key_in
from convive_kit.http import ListOf, Problem, invalid, json_body, not_found, parse_query
from convive_kit.routes import Route
from invitation.lifecycle.invitation import Cause, Change, Invitation
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import Trigger, counts
from invitation.ops.auditing import Auditing, standing
from invitation.ops.callers import CALLER
from invitation.ops.views import (
    Extend,
    InvitationDetail,
    InvitationQuery,
    InvitationView,
    Resend,
    Revoke,
    in_time,
    invitation_fields,
    step_view,
    view_of,
)
from invitation.store.protocol import Store, decide_and_save

_ACTIONS = {Trigger.RESEND: "resend", Trigger.REVOKED: "revoke", Trigger.EXTENDED: "extend"}


class OpsApi:
    """See CONTRACT's table in `docs/operations.md`."""

    def __init__(
        self,
        store: Store,
        auditing: Auditing,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        due_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._auditing = auditing
        self._policy = policy
        self._now = now
        self._due_changed = due_changed

    def routes(self) -> list[Route]:
        """The calls under `/v1`."""
        looks, acts = "ops_reader_or_cabinet", "ops_writer_or_cabinet"
        one = "/v1/invitations/{id}"
        actions = (
            ("resend", self._resend, "Send a new link", Resend),
            ("revoke", self._revoke, "Take the invitation back", Revoke),
            ("extend", self._extend, "Let the link work for longer", Extend),
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
        invitation = await self._theirs(request)
        history = await self._store.history(invitation.id)
        return InvitationDetail.model_validate(
            {**invitation_fields(invitation), "history": [step_view(step) for step in history]}
        )

    # --- acting ----------------------------------------------------------------------------------------------------

    async def _resend(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Resend)
        invitation = await self._theirs(request)
        if body.channel == "sms" and (invitation.invitee is None or invitation.invitee.phone is None):
            raise invalid("channel", "This member has no phone number: give one first, or use email.")
        cause = self._cause(request, body.reason)
        return await self._act(
            request, invitation, Trigger.RESEND, lambda i: i.resent(body.channel, cause, self._policy), body.reason
        )

    async def _revoke(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Revoke)
        invitation = await self._theirs(request)
        cause = self._cause(request, body.reason)
        return await self._act(
            request, invitation, Trigger.REVOKED, lambda i: i.revoked("requested", cause), body.reason
        )

    async def _extend(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Extend)
        if wrong := in_time(body.until, self._now()):
            raise invalid("until", wrong)
        invitation = await self._theirs(request)
        cause = self._cause(request, None)
        return await self._act(request, invitation, Trigger.EXTENDED, lambda i: i.extended(body.until, cause))

    async def _act(
        self,
        request: web.Request,
        invitation: Invitation,
        trigger: Trigger,
        decide: Callable[[Invitation], Change | None],
        reason: str | None = None,
    ) -> InvitationView:
        def decide_if_it_counts(current: Invitation) -> Change | None:
            record.before = standing(current)
            # Whoever was added without an invitation has no link to extend.
            if not counts(trigger, current.state) or (trigger is Trigger.EXTENDED and current.link_sequence == 0):
                raise Problem(
                    409,
                    "wrong_state",
                    f"This cannot be done to an invitation that is {current.state.value}.",
                    state=current.state.value,
                )
            return decide(current)

        action = f"invitation.{_ACTIONS[trigger]}"
        async with self._auditing.witness(request, action, f"invitation:{invitation.id}", reason) as record:
            change = await decide_and_save(self._store, invitation.id, decide_if_it_counts)
            after = change.after if change else invitation
            record.after = standing(after)
        self._due_changed()
        return view_of(after)

    async def _theirs(self, request: web.Request) -> Invitation:
        """The invitation of the path, if the caller may see it; other firms' answer 404 like unknown ones."""
        invitation = await self._store.load(request.match_info["id"].lower())
        caller = request[CALLER]
        if invitation is None or not invitation.announced or invitation.invitee is None:
            raise not_found("invitation")
        if not caller.sees(invitation.invitee.cabinet_id):
            raise not_found("invitation")
        return invitation

    def _cause(self, request: web.Request, reason: str | None) -> Cause:
        detail: Mapping[str, str] | None = {"reason": reason} if reason else None
        return Cause(self._now(), request[CALLER].actor, detail=detail)
