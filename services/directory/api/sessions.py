"""`/v1/sessions` and `/v1/me`: signing in, and what one sees then."""

from __future__ import annotations

from typing import Annotated, Self
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field, model_validator

from convive_contracts import DIRECTORY_SOURCE
from convive_kit.auth import bearer_token, secret_hash
from convive_kit.http import Body, ListOf, Network, Timestamp, client_address, json_body, not_found
from convive_kit.routes import Route
from directory.api.callers import CALLER
from directory.browsers import Browser
from directory.entrance import Entrance, login_key
from directory.membership import Membership, Place
from directory.model.account import Account, Redemption, Session
from directory.model.roles import capabilities


class NewSession(Body):
    """Either e-mail and password, or the one-time code of a handoff."""

    email: Annotated[str, Field(max_length=320)] | None = None
    password: Annotated[str, Field(max_length=4096)] | None = None
    code: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        by_password = self.email is not None and self.password is not None and self.code is None
        by_code = self.code is not None and self.email is None and self.password is None
        if not by_password and not by_code:
            raise ValueError("Give `email` and `password`, or `code` alone.")
        return self


class CreatedSession(BaseModel):
    token: str
    expires_at: Timestamp


class SessionView(BaseModel):
    """`browser` names a program and a system, or is empty."""

    id: str
    browser: str
    created_at: Timestamp
    last_seen_at: Timestamp
    current: bool

    @staticmethod
    def of(session: Session, current: str) -> SessionView:
        return SessionView(
            id=session.id,
            browser=session.browser,
            created_at=session.created_at,
            last_seen_at=session.seen_at or session.created_at,
            current=session.id == current,
        )


class Named(BaseModel):
    id: UUID
    name: str


class DossierPlace(Named):
    cabinet: Named
    member_id: UUID
    first_name: str
    last_name: str
    role: str
    own_expense_reports: bool
    capabilities: dict[str, bool]

    @staticmethod
    def of(place: Place) -> DossierPlace:
        member = place.member
        return DossierPlace(
            id=UUID(place.dossier.id),
            name=place.dossier.name,
            cabinet=Named(id=UUID(place.cabinet.id), name=place.cabinet.name),
            member_id=UUID(member.id),
            first_name=member.first_name,
            last_name=member.last_name,
            role=member.role,
            own_expense_reports=member.own_expense_reports,
            capabilities=capabilities(member.role, own_expense_reports=member.own_expense_reports),
        )


class Grant(BaseModel):
    """A place in a dossier of another publisher's, which knows best what it means."""

    source: str
    member_id: str
    dossier: dict[str, str]
    cabinet: dict[str, str]
    role: str
    own_expense_reports: bool

    @staticmethod
    def of(redemption: Redemption) -> Grant:
        return Grant(
            source=redemption.source,
            member_id=redemption.member_id,
            dossier={"id": redemption.dossier_id, "name": redemption.dossier_name},
            cabinet={"id": redemption.cabinet_id, "name": redemption.cabinet_name},
            role=redemption.role,
            own_expense_reports=redemption.own_expense_reports,
        )


class Firm(Named):
    first_name: str
    last_name: str


class Me(BaseModel):
    account_id: UUID
    email: str
    verified: bool
    cabinets: Annotated[list[Firm], Field(description="Those whose staff I am.")]
    dossiers: list[DossierPlace]
    grants: list[Grant]


class Sessions:
    def __init__(self, entrance: Entrance, membership: Membership, trusted_proxies: tuple[Network, ...]) -> None:
        self._entrance = entrance
        self._membership = membership
        self._trusted_proxies = trusted_proxies

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/v1/sessions", self.create, "Sign in", NewSession, response=CreatedSession, status=201,
                  problems=(401, 429)),
            Route("GET", "/v1/sessions", self.list, "Where I am signed in", response=ListOf[SessionView], auth="person",
                  problems=(403,)),
            Route("DELETE", "/v1/sessions", self.end_all, "Sign out everywhere", status=204, auth="person",
                  problems=(403,)),
            Route("DELETE", "/v1/sessions/current", self.end, "Sign out", status=204, auth="person", problems=(403,)),
            Route("DELETE", "/v1/sessions/{id}", self.end_one, "End a session of mine", status=204, auth="person",
                  problems=(403, 404)),
            Route("GET", "/v1/me", self.me, "Who I am, and my dossiers", response=Me, auth="person", problems=(403,)),
        ]  # fmt: skip

    async def create(self, request: web.Request) -> BaseModel:
        """401 says the same for an unknown e-mail address and for a wrong password."""
        body = await json_body(request, NewSession)
        address = client_address(request, self._trusted_proxies)
        browser = Browser(address, request.headers.get("User-Agent", ""))
        if body.code is not None:
            signed_in = await self._entrance.sign_in_with_code(body.code, browser)
        else:
            signed_in = await self._entrance.sign_in(login_key(body.email or ""), body.password or "", browser)
        return CreatedSession(token=signed_in.token, expires_at=signed_in.session.expires_at)

    async def end(self, request: web.Request) -> web.Response:
        await self._entrance.sign_out(bearer_token(request) or "")
        return web.Response(status=204)

    async def list(self, request: web.Request) -> BaseModel:
        """The latest first; `last_seen_at` is right to the hour."""
        current = secret_hash(bearer_token(request) or "")
        sessions = await self._entrance.sessions(_person(request))
        return ListOf[SessionView](items=[SessionView.of(session, current) for session in sessions])

    async def end_one(self, request: web.Request) -> web.Response:
        if not await self._entrance.end(_person(request), request.match_info["id"]):
            raise not_found("session")
        return web.Response(status=204)

    async def end_all(self, request: web.Request) -> web.Response:
        """This session ends too, and so do codes and links to a new password."""
        await self._entrance.sign_out_everywhere(_person(request))
        return web.Response(status=204)

    async def me(self, request: web.Request) -> BaseModel:
        account = _person(request)
        places = await self._membership.places(account)
        foreign = [r for r in account.redemptions.values() if r.source != DIRECTORY_SOURCE]
        return Me(
            account_id=UUID(account.account_id),
            email=account.email,
            verified=account.verified,
            cabinets=[
                Firm(id=UUID(cabinet.id), name=cabinet.name, first_name=place.first_name, last_name=place.last_name)
                for cabinet, place in await self._membership.firms(account)
            ],
            dossiers=[DossierPlace.of(place) for place in places],
            grants=[Grant.of(redemption) for redemption in foreign],
        )


def _person(request: web.Request) -> Account:
    account = request[CALLER].account
    assert account is not None, "the route's guard lets people in alone"  # noqa: S101
    return account
