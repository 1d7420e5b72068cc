"""`/v1/dossiers/{id}/members`: who has a place in a dossier."""

from __future__ import annotations

from datetime import datetime

from aiohttp import web
from pydantic import BaseModel

from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import ListOf, ListQuery, json_body, json_response, parse_query
from convive_kit.routes import Route
from directory.access import NotForYou
from directory.admission import Admission
from directory.api.callers import Callers
from directory.api.idempotency import HEADER, key_of
from directory.api.member_models import MemberOut
from directory.member_requests import InvitationRequest, MemberPatch, NewMember
from directory.membership import Membership
from directory.model.roles import capabilities
from directory.store.protocol import Store


class Permissions(BaseModel):
    role: str
    capabilities: dict[str, bool]


class Members:
    def __init__(self, store: Store, membership: Membership, admission: Admission, callers: Callers) -> None:
        self._store = store
        self._membership = membership
        self._admission = admission
        self._callers = callers

    def routes(self) -> list[Route]:
        every, one = "/v1/dossiers/{id}/members", "/v1/dossiers/{id}/members/{member_id}"
        return [
            Route("POST", every, self.create, "Add a member, and invite them", NewMember, response=MemberOut,
                  status=201, auth="user", problems=(403, 404, 409), headers=HEADER),
            Route("GET", every, self.list, "The members, in the order in which they were added", query=ListQuery,
                  response=ListOf[MemberOut], auth="user", problems=(403, 404)),
            Route("GET", one, self.read, "One member", response=MemberOut, auth="user", problems=(403, 404)),
            Route("PATCH", one, self.edit, "Correct or change a member", MemberPatch, response=MemberOut, auth="user",
                  problems=(403, 404, 409)),
            Route("DELETE", one, self.remove, "Remove a member: ends access and links", status=204, auth="user",
                  problems=(403, 404)),
            Route("POST", f"{one}/invitation", self.invite, "Invite somebody added with `none`, or send a new link",
                  InvitationRequest, response=MemberOut, status=202, auth="user", problems=(403, 404, 409),
                  headers=HEADER),
            Route("GET", f"{one}/permissions", self.permissions, "What a member may do", response=Permissions,
                  auth="user", problems=(403, 404)),
        ]  # fmt: skip

    async def create(self, request: web.Request) -> web.Response:
        ground = await self._callers.ground(request)
        body = await json_body(request, NewMember)
        member = await self._admission.add_member(ground, body, key=key_of(request))
        location = {"Location": f"/v1/dossiers/{ground.dossier.id}/members/{member.id}"}
        return json_response(MemberOut.of(member), 201, location)

    async def list(self, request: web.Request) -> BaseModel:
        ground = await self._callers.ground(request)
        query = parse_query(request, ListQuery)
        after = None
        if query.cursor:
            at, id = decode_cursor(query.cursor, datetime, str)
            after = (at, id)
        found = await self._store.members_of(ground.dossier.id, after=after, limit=query.limit + 1)
        page = found[: query.limit]
        more = encode_cursor(page[-1].created_at, page[-1].id) if len(found) > len(page) else None
        return ListOf[MemberOut](items=[MemberOut.of(member) for member in page], next_cursor=more)

    async def read(self, request: web.Request) -> BaseModel:
        return MemberOut.of(await self._callers.member(request, await self._callers.ground(request)))

    async def edit(self, request: web.Request) -> BaseModel:
        """Until the person has accepted, another e-mail or phone sends a new link there. After that the e-mail is their
        login and stays (409)."""
        ground = await self._callers.ground(request)
        member = await self._callers.member(request, ground)
        body = await json_body(request, MemberPatch)
        ground.dossier.refuse_archived()
        return MemberOut.of(await self._membership.edit(member, body.fields(), ground.dossier, ground.cabinet))

    async def remove(self, request: web.Request) -> web.Response:
        member = await self._callers.member(request, await self._callers.ground(request))
        await self._membership.remove(member.id)
        return web.Response(status=204)

    async def invite(self, request: web.Request) -> BaseModel:
        """409 names the `state` once the person is in."""
        ground = await self._callers.ground(request)
        member = await self._callers.member(request, ground)
        body = await json_body(request, InvitationRequest)
        ground.dossier.refuse_archived()
        return MemberOut.of(await self._membership.invite(member.id, body.invite_by, ground.named, key=key_of(request)))

    async def permissions(self, request: web.Request) -> BaseModel:
        ground = await self._callers.ground(request, capability=None)
        member = await self._callers.member(request, ground)
        if ground.member and ground.member.id != member.id:
            own = capabilities(ground.member.role, own_expense_reports=False)
            if not own["manage_users"]:
                raise NotForYou
        granted = capabilities(member.role, own_expense_reports=member.own_expense_reports)
        return Permissions(role=member.role, capabilities=granted)
