"""`/v1/dossiers`: a cabinet's client files."""

from __future__ import annotations

from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import ListOf, ListQuery, Timestamp, json_body, json_response, parse_query
from convive_kit.routes import Route
from directory.access import CABINET_HEADER
from directory.admission import Admission, DossierPatch, NewDossier
from directory.api.callers import CALLER, Callers
from directory.api.idempotency import HEADER, key_of
from directory.api.member_models import MemberOut
from directory.membership import Membership
from directory.model.dossier import Dossier, search_key
from directory.store.protocol import Store, settle

_WHOSE = {CABINET_HEADER: "The cabinet's id, needed from a person who works for several."}


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
    def __init__(self, store: Store, membership: Membership, admission: Admission, callers: Callers) -> None:
        self._store = store
        self._membership = membership
        self._admission = admission
        self._callers = callers

    def routes(self) -> list[Route]:
        every, one = "/v1/dossiers", "/v1/dossiers/{id}"
        return [
            Route("POST", every, self.create, "Open a dossier", NewDossier, response=CreatedDossier, status=201,
                  auth="cabinet", problems=(403, 404), headers=HEADER | _WHOSE),
            Route("GET", every, self.list, "The dossiers that are not archived, by name", query=DossierQuery,
                  response=ListOf[DossierOut], auth="cabinet", problems=(403, 404), headers=_WHOSE),
            Route("GET", one, self.read, "One dossier", response=DossierOut, auth="cabinet", problems=(403, 404)),
            Route("PATCH", one, self.edit, "Rename a dossier", DossierPatch, response=DossierOut, auth="cabinet",
                  problems=(403, 404, 409)),
            Route("DELETE", one, self.archive, "Archive a dossier: revokes its invitations and ends all access",
                  status=204, auth="cabinet", problems=(403, 404)),
        ]  # fmt: skip

    async def create(self, request: web.Request) -> web.Response:
        cabinet = await self._callers.cabinet(request)
        body = await json_body(request, NewDossier)
        invited_by = request[CALLER].full_name(cabinet.id)
        dossier, added = await self._admission.open_dossier(cabinet, body, key=key_of(request), invited_by=invited_by)
        created = CreatedDossier(**DossierOut.of(dossier).model_dump(), members=[MemberOut.of(m) for m in added])
        return json_response(created, 201, {"Location": f"/v1/dossiers/{dossier.id}"})

    async def list(self, request: web.Request) -> BaseModel:
        cabinet = await self._callers.cabinet(request)
        query = parse_query(request, DossierQuery)
        after = None
        if query.cursor:
            key, id = decode_cursor(query.cursor, str, str)
            after = (key, id)
        found = await self._store.dossiers_of(
            cabinet.id, prefix=search_key(query.q), after=after, limit=query.limit + 1
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
        return (await self._callers.own_ground(request)).dossier
