"""`/v1/dossiers`: a cabinet's client files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid5

from aiohttp import web
from pydantic import BaseModel, Field

from convive_contracts.events import Short
from convive_kit.addresses import Name
from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.group_commit import DuplicateKey
from convive_kit.http import (
    Body,
    ListOf,
    ListQuery,
    Timestamp,
    invalid,
    json_body,
    json_response,
    not_found,
    parse_query,
)
from convive_kit.routes import Route
from directory.api.callers import CALLER, path_id
from directory.api.idempotency import HEADER, fingerprint, new_id
from directory.api.member_models import MemberOut
from directory.member_requests import NewMember
from directory.membership import Membership
from directory.model.cabinet import Cabinet
from directory.model.change import Change
from directory.model.dossier import Dossier, search_key
from directory.model.member import Member
from directory.model.refusals import FieldRefused, KeyReused
from directory.store.protocol import Store, settle

_MOST_MEMBERS = 1000


class NewDossier(Body):
    name: Name
    external_ref: Annotated[Short | None, Field(description="What this file is called in your own software.")] = None
    members: Annotated[list[NewMember], Field(max_length=_MOST_MEMBERS, description="Added, and invited, at once")] = []


class DossierPatch(Body):
    """A JSON merge patch."""

    name: Name = ""
    external_ref: Short | None = None


class DossierQuery(ListQuery):
    q: str = Field(default="", max_length=100, description="What the name starts with, whatever its case and accents.")


class DossierOut(BaseModel):
    id: UUID
    name: str
    external_ref: str | None
    created_at: Timestamp
    archived_at: Timestamp | None

    @staticmethod
    def of(dossier: Dossier) -> DossierOut:
        return DossierOut.model_validate(dossier.model_dump())


class CreatedDossier(DossierOut):
    members: list[MemberOut]


class Dossiers:
    def __init__(self, store: Store, membership: Membership, now: Callable[[], datetime]) -> None:
        self._store = store
        self._membership = membership
        self._now = now

    def routes(self) -> list[Route]:
        every, one = "/v1/dossiers", "/v1/dossiers/{id}"
        return [
            Route("POST", every, self.create, "Open a dossier", NewDossier, response=CreatedDossier, status=201,
                  auth="cabinet", problems=(403,), headers=HEADER),
            Route("GET", every, self.list, "The dossiers that are not archived, by name", query=DossierQuery,
                  response=ListOf[DossierOut], auth="cabinet", problems=(403,)),
            Route("GET", one, self.read, "One dossier", response=DossierOut, auth="cabinet", problems=(403, 404)),
            Route("PATCH", one, self.edit, "Rename a dossier", DossierPatch, response=DossierOut, auth="cabinet",
                  problems=(403, 404, 409)),
            Route("DELETE", one, self.archive, "Archive a dossier: revokes its invitations and ends all access",
                  status=204, auth="cabinet", problems=(403, 404)),
        ]  # fmt: skip

    async def create(self, request: web.Request) -> web.Response:
        cabinet = _cabinet(request)
        body = await json_body(request, NewDossier)
        print_ = fingerprint(body)
        opening, members = self._opening(new_id(request, cabinet.id, "dossiers"), body, cabinet, print_)
        try:
            dossier, added = await self._membership.open_dossier(opening, cabinet, members)
        except DuplicateKey:
            # This very call, made before, and perhaps cut off before its end.
            found = await self._store.dossier(opening.after.id)
            if found is None or found.request_hash != print_:
                raise KeyReused from None
            dossier = await self._membership.finish(found, cabinet) if not found.archived_at else found
            added = await self._membership.members_named(members)
        created = CreatedDossier(**DossierOut.of(dossier).model_dump(), members=[MemberOut.of(m) for m in added])
        return json_response(created, 201, {"Location": f"/v1/dossiers/{dossier.id}"})

    def _opening(
        self, id: str, body: NewDossier, cabinet: Cabinet, print_: str
    ) -> tuple[Change[Dossier], list[Change[Member]]]:
        now = self._now()
        members = [
            {
                **member.fields(),
                # From the dossier's id, so that nobody is added twice.
                "id": str(uuid5(UUID(id), f"member {number}")),
                # Listed in the order of the request.
                "created_at": now + timedelta(milliseconds=number),
            }
            for number, member in enumerate(body.members)
        ]
        _refuse_repeated_emails(members)
        opening = Dossier.opened(
            id,
            cabinet.id,
            body.name,
            now=now,
            external_ref=body.external_ref,
            members=tuple(members),
            request_hash=print_,
        )
        changes: list[Change[Member]] = []
        for number, member in enumerate(members):
            try:
                changes.append(Member.added(member, opening.after, cabinet))
            except FieldRefused as refusal:
                raise invalid(f"members.{number}.{refusal.about['field']}", refusal.detail) from None
        return opening, changes

    async def list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, DossierQuery)
        after = None
        if query.cursor:
            key, id = decode_cursor(query.cursor, str, str)
            after = (key, id)
        found = await self._store.dossiers_of(
            _cabinet(request).id, prefix=search_key(query.q), after=after, limit=query.limit + 1
        )
        page = found[: query.limit]
        more = encode_cursor(page[-1].name_key, page[-1].id) if len(found) > len(page) else None
        return ListOf[DossierOut](items=[DossierOut.of(dossier) for dossier in page], next_cursor=more)

    async def read(self, request: web.Request) -> BaseModel:
        return DossierOut.of(await self._load(request))

    async def edit(self, request: web.Request) -> BaseModel:
        await self._load(request)
        fields = (await json_body(request, DossierPatch)).model_dump(exclude_unset=True)
        return DossierOut.of(
            await settle(self._store, lambda: self._load(request), lambda dossier: dossier.edited(**fields))
        )

    async def archive(self, request: web.Request) -> web.Response:
        await self._membership.archive(await self._load(request))
        return web.Response(status=204)

    async def _load(self, request: web.Request) -> Dossier:
        dossier = await self._store.dossier(path_id(request, "dossier"))
        if dossier is None or dossier.cabinet_id != _cabinet(request).id:
            raise not_found("dossier")
        return dossier


def _cabinet(request: web.Request) -> Cabinet:
    cabinet = request[CALLER].cabinet
    assert cabinet is not None, "the route's guard lets cabinets in alone"  # noqa: S101
    return cabinet


def _refuse_repeated_emails(members: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for number, member in enumerate(members):
        if member["email_key"] in seen:
            raise invalid(f"members.{number}.email", "Another member of this request has this e-mail address.")
        seen.add(member["email_key"])
