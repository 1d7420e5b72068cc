"""`/v1/cabinets`: the firms, how they show themselves, and their API keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from uuid import UUID, uuid4

from aiohttp import web
from pydantic import BaseModel, Field

from convive_contracts.events import Policies, Short
from convive_kit.addresses import Name
from convive_kit.auth import ApiKey, new_api_key, secret_hash
from convive_kit.http import Body, Timestamp, json_body, not_found
from convive_kit.routes import Route
from directory.api.callers import own_cabinet_id, path_id
from directory.cabinet_requests import CabinetPatch
from directory.model.cabinet import ApiKey as KeptKey
from directory.model.cabinet import Cabinet
from directory.store.protocol import Store, settle


class NewCabinet(Body):
    name: Name
    phone: Annotated[Short | None, Field(description="As people read it in mails, in any notation.")] = None


class CabinetOut(BaseModel):
    id: UUID
    name: str
    phone: str | None
    colour: str | None
    reply_to: str | None
    sms_sender: str | None
    policies: Annotated[Policies, Field(description="null: Convive's own choice.")]
    created_at: Timestamp

    @staticmethod
    def of(cabinet: Cabinet) -> CabinetOut:
        return CabinetOut.model_validate(cabinet.model_dump())


class CreatedCabinet(BaseModel):
    id: UUID
    name: str
    phone: str | None
    api_key: Annotated[str, Field(description="Shown this once.")]


class CreatedKey(BaseModel):
    id: str
    api_key: Annotated[str, Field(description="Shown this once.")]


class Cabinets:
    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def routes(self) -> list[Route]:
        create, one = "/v1/cabinets", "/v1/cabinets/{id}"
        keys, key = f"{one}/keys", f"{one}/keys/{{key}}"
        return [
            Route("POST", create, self.create, "Create a cabinet", NewCabinet, response=CreatedCabinet, status=201,
                  auth="admin"),
            Route("GET", one, self.read, "A cabinet, and how it shows itself", response=CabinetOut, auth="firm",
                  problems=(403, 404)),
            Route("PATCH", one, self.edit, "Its name, face and policies", CabinetPatch, response=CabinetOut,
                  auth="firm", problems=(403, 404)),
            Route("POST", keys, self.add_key, "Make another API key", response=CreatedKey, status=201, auth="admin",
                  problems=(404,)),
            Route("DELETE", keys, self.revoke_keys, "Revoke every API key", status=204, auth="admin", problems=(404,)),
            Route("DELETE", key, self.revoke_keys, "Revoke one API key", status=204, auth="admin", problems=(404,)),
        ]  # fmt: skip

    async def create(self, request: web.Request) -> BaseModel:
        body = await json_body(request, NewCabinet)
        id = uuid4()
        key = new_api_key(id)
        await self._store.save(Cabinet.found(str(id), body.name, body.phone, self._kept(key)))
        return CreatedCabinet(id=id, name=body.name, phone=body.phone, api_key=key.text())

    async def read(self, request: web.Request) -> BaseModel:
        return CabinetOut.of(await self._load(own_cabinet_id(request)))

    async def edit(self, request: web.Request) -> BaseModel:
        """Mails and pages show it within seconds; links that are out already keep their expiry."""
        id = own_cabinet_id(request)
        fields = (await json_body(request, CabinetPatch)).fields()
        return CabinetOut.of(await settle(self._store, lambda: self._load(id), lambda cabinet: cabinet.edited(fields)))

    async def add_key(self, request: web.Request) -> BaseModel:
        """Keys made before keep working until they are revoked, so a key can be exchanged without a gap."""
        id = path_id(request, "cabinet")
        key = new_api_key(UUID(id))
        kept = self._kept(key)
        await settle(self._store, lambda: self._load(id), lambda cabinet: cabinet.add_key(kept))
        return CreatedKey(id=key.key_id, api_key=key.text())

    async def revoke_keys(self, request: web.Request) -> web.Response:
        id, key_id, now = path_id(request, "cabinet"), request.match_info.get("key"), self._now()
        cabinet = await self._load(id)
        if key_id and key_id not in {key.id for key in cabinet.keys}:
            raise not_found("key")
        await settle(self._store, lambda: self._load(id), lambda cabinet: cabinet.revoke_keys(key_id, now))
        return web.Response(status=204)

    async def _load(self, id: str) -> Cabinet:
        if cabinet := await self._store.cabinet(id):
            return cabinet
        raise not_found("cabinet")

    def _kept(self, key: ApiKey) -> KeptKey:
        return KeptKey(id=key.key_id, hash=secret_hash(key.secret), created_at=self._now())
