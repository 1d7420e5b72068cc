"""`/v1/cabinets/{id}/staff`: the people who act for a firm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.addresses import Email, Name
from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import Body, ListOf, ListQuery, Timestamp, invalid, json_body, not_found, parse_query
from convive_kit.routes import Route
from directory.api.callers import CALLER, own_cabinet_id, path_id
from directory.api.idempotency import HEADER, key_of
from directory.i18n import Language
from directory.model.account import Account, StaffPlace
from directory.staff import Staff
from directory.store.protocol import Store


class NewColleague(Body):
    email: Annotated[Email, Field(description="Their login.")]
    first_name: Name
    last_name: Name
    locale: Annotated[Language, Field(description="Of the letter to them.")] = "fr"
    password: Annotated[
        str | None,
        Field(
            max_length=4096,
            description="For a new account, from the administration alone, which vouches for the address. Without it, "
            "the place counts once a link sent to the address was used.",
        ),
    ] = None


class Colleague(BaseModel):
    account_id: UUID
    email: str
    first_name: str
    last_name: str
    since: Timestamp
    active: Annotated[bool, Field(description="Whether the address is shown to be theirs, so that the place counts.")]

    @staticmethod
    def of(account: Account, place: StaffPlace) -> Colleague:
        return Colleague(
            account_id=UUID(account.account_id),
            email=account.email,
            first_name=place.first_name,
            last_name=place.last_name,
            since=place.since,
            active=place.cabinet_id in account.firms,
        )


class StaffRoutes:
    def __init__(self, store: Store, staff: Staff) -> None:
        self._store = store
        self._staff = staff

    def routes(self) -> list[Route]:
        every, one = "/v1/cabinets/{id}/staff", "/v1/cabinets/{id}/staff/{account_id}"
        return [
            Route("POST", every, self.add, "Give somebody a place at a cabinet", NewColleague, response=Colleague,
                  status=201, auth="firm", problems=(403, 404, 409), headers=HEADER),
            Route("GET", every, self.list, "The staff, by e-mail address", query=ListQuery, response=ListOf[Colleague],
                  auth="firm", problems=(403, 404)),
            Route("DELETE", one, self.remove, "End somebody's place at a cabinet, at once", status=204, auth="firm",
                  problems=(403, 404)),
        ]  # fmt: skip

    async def add(self, request: web.Request) -> BaseModel:
        """Without a password, they are written to. The same again changes nothing; other names replace those before."""
        id = await self._cabinet_id(request)
        body = await json_body(request, NewColleague)
        if body.password is not None and CALLER in request:
            raise invalid("password", "Leave it out: your colleague chooses one by the link that is sent to them.")
        who = (id, body.email, body.first_name, body.last_name)
        if body.password is not None:
            account = await self._staff.add(*who, body.password)
        else:
            account = await self._staff.invite(*who, language=body.locale, key=key_of(request))
        return _colleagues([account], id)[0]

    async def list(self, request: web.Request) -> BaseModel:
        id = await self._cabinet_id(request)
        query = parse_query(request, ListQuery)
        after = decode_cursor(query.cursor, str)[0] if query.cursor else ""
        found = await self._staff.of(id, after=after, limit=query.limit + 1)
        page = found[: query.limit]
        more = encode_cursor(page[-1].id) if len(found) > len(page) else None
        return ListOf[Colleague](items=_colleagues(page, id), next_cursor=more)

    async def remove(self, request: web.Request) -> web.Response:
        if not await self._staff.remove(await self._cabinet_id(request), path_id(request, "account")):
            raise not_found("member of the staff")
        return web.Response(status=204)

    async def _cabinet_id(self, request: web.Request) -> str:
        id = own_cabinet_id(request)
        if await self._store.cabinet(id) is None:
            raise not_found("cabinet")
        return id


def _colleagues(accounts: Sequence[Account], cabinet_id: str) -> list[Colleague]:
    return [Colleague.of(account, place) for account in accounts if (place := account.place_at(cabinet_id))]
