"""A small service on the kit, for the tests of its edge."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal
from uuid import UUID

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import Field, SecretStr

from convive_kit.addresses import Email, Name
from convive_kit.auth import holder_of
from convive_kit.edge import make_app
from convive_kit.errors import Conflict, NotAllowed, Retry
from convive_kit.http import (
    Body,
    ListOf,
    ListQuery,
    Problem,
    client_address,
    form_body,
    json_body,
    not_found,
    parse_query,
)
from convive_kit.metrics import Metrics
from convive_kit.openapi import About
from convive_kit.routes import Guard, Route

KEY = "a-key-for-tests"
GUARDS = [Guard("ops", "The operators' token.", holder_of(SecretStr(KEY)))]
ABOUT = About("Guests", "1.0.0", "Who comes to dinner.")


class Seat(Body):
    number: int = Field(ge=1, description="Counted from the door.")


class AddGuest(Body):
    """Somebody who is invited."""

    name: Name
    email: Email
    role: Literal["guest", "host"] = "guest"
    seats: list[Seat] = []


class PatchGuest(Body):
    name: Name = ""
    phone: str | None = None


class Guest(Body):
    id: UUID
    name: str


class GuestQuery(ListQuery):
    state: list[Literal["sent", "opened"]] | None = Field(default=None, description="Repeat for OR.")
    q: str | None = None


class TakenSeat(Conflict):
    """This seat is taken."""

    slug = "seat_taken"


class CellarFlooded(Retry):
    """The cellar is under water."""

    slug = "cellar_flooded"


async def add(request: web.Request) -> Guest:
    """Adds a guest."""
    body = await json_body(request, AddGuest)
    return Guest(id=UUID(int=1), name=body.name)


async def patch(request: web.Request) -> web.Response:
    body = await json_body(request, PatchGuest)
    return web.json_response(body.model_dump(exclude_unset=True))


async def guests(request: web.Request) -> web.Response:
    return web.json_response(parse_query(request, GuestQuery).model_dump())


async def one(request: web.Request) -> web.Response:
    if request.match_info["id"] == "none":
        raise not_found("guest")
    return web.json_response({"from": client_address(request, ())})


async def by_link(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def fail(request: web.Request) -> web.Response:
    how = request.match_info["how"]
    match how:
        case "conflict":
            raise TakenSeat
        case "retry":
            raise CellarFlooded(after=2.2)
        case "forbidden":
            raise NotAllowed("Only hosts may.")
        case "state":
            raise Problem(409, "already_active", "They came already.", state="active")
        case "slow":
            await asyncio.sleep(30)
        case "redirect":
            raise web.HTTPSeeOther("/elsewhere")
        case _:
            raise LookupError(f"jeanne@example.com asked for {how}")
    raise AssertionError(how)


async def form(request: web.Request) -> web.Response:
    return web.json_response((await form_body(request, AddGuest)).model_dump())


async def drifted(request: web.Request) -> web.Response:
    return web.json_response((await json_body(request, PatchGuest)).model_dump())


async def stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"data: 1\n\n")
    if request.match_info["how"] == "breaks":
        raise LookupError("in the middle")
    return response


ROUTES = [
    Route("POST", "/v1/guests", add, "Add a guest", body=AddGuest, response=Guest, status=201, problems=[409],
          auth="ops", headers={"Idempotency-Key": "The same key adds the guest once."}),
    Route("PATCH", "/v1/guests/{id}", patch, "Change a guest", body=PatchGuest, response=Guest),
    Route("GET", "/v1/guests", guests, "List guests", query=GuestQuery, response=ListOf[Guest]),
    Route("GET", "/v1/guests/{id}", one, "One guest", response=Guest, problems=[404]),
    Route("GET", "/i/{token}", by_link, query=None, documented=False),
    Route("POST", "/form", form, documented=False),
    Route("GET", "/fail/{how}", fail, documented=False),
    Route("GET", "/stream/{how}", stream, "Listen", streams=("text/event-stream",)),
    Route("POST", "/drifted", drifted, body=AddGuest, documented=False),
]  # fmt: skip


def client(**options: object) -> TestClient[web.Request, web.Application]:
    given: dict[str, object] = {
        "guards": GUARDS,
        "checks": {},
        "metrics": Metrics("sample"),
        "time_limit": timedelta(seconds=0.2),
    }
    return TestClient(TestServer(make_app(ABOUT, ROUTES, **(given | options))))  # pyright: ignore[reportArgumentType]
