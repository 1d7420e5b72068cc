"""`/v1/tokens`: who else may operate, and how far."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, StringConstraints

from convive_kit.cursors import key_in, page_of
from convive_kit.http import Body, ListOf, ListQuery, Timestamp, json_body, not_found, parse_query
from convive_kit.routes import Route
from invitation.ops.auditing import Auditing
from invitation.ops.callers import CALLER
from invitation.store.tokens import OpsToken, OpsTokens, Role

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]


class NewToken(Body):
    name: Name
    role: Role


class TokenView(BaseModel):
    id: str
    name: str
    role: Role
    created_at: Timestamp
    created_by: str
    revoked_at: Timestamp | None
    revoked_by: str | None


class CreatedToken(TokenView):
    token: str


class TokensApi:
    """Makes, lists and revokes ops tokens."""

    def __init__(
        self, tokens: OpsTokens, auditing: Auditing, *, now: Callable[[], datetime], revoked: Callable[[], None]
    ) -> None:
        """`revoked` is called when a token has ended."""
        self._tokens = tokens
        self._auditing = auditing
        self._now = now
        self._revoked = revoked

    def routes(self) -> list[Route]:
        """The calls under `/v1/tokens`."""
        return [
            Route("POST", "/v1/tokens", self._create, "A new ops token; it is shown this once", body=NewToken,
                  response=CreatedToken, status=201, auth="ops_admin"),
            Route("GET", "/v1/tokens", self._list, "Ops tokens, newest first", query=ListQuery,
                  response=ListOf[TokenView], auth="ops_admin"),
            Route("DELETE", "/v1/tokens/{id}", self.revoke, "Revoke it", response=TokenView, auth="ops_admin",
                  problems=(404,)),
        ]  # fmt: skip

    async def create(self, request: web.Request, wanted: NewToken) -> CreatedToken:
        """A new token, with its text, which is kept nowhere."""
        async with self._auditing.witness(request, "token.create", f"token:{wanted.name}") as record:
            text, token = await self._tokens.create(wanted.name, wanted.role, request[CALLER].actor, self._now())
            record.after = {"id": token.id, "role": token.role}
        return CreatedToken(token=text, **_fields(token))

    async def page(self, query: ListQuery) -> ListOf[TokenView]:
        """A page of tokens, newest first. Raises a `Problem` for a cursor that is none."""
        found = await self._tokens.list(limit=query.limit + 1, after=key_in(query.cursor))
        return page_of(
            ListOf[TokenView],
            found,
            query.limit,
            view=lambda token: TokenView(**_fields(token)),
            key=lambda token: (token.created_at, token.id),
        )

    async def revoke(self, request: web.Request) -> TokenView:
        """End the token of the path; 404 where there is none."""
        id = request.match_info["id"]
        async with self._auditing.witness(request, "token.revoke", f"token:{id}") as record:
            token = await self._tokens.revoke(id, request[CALLER].actor, self._now())
            if token is None:
                raise not_found("token")
            record.after = {"name": token.name, "role": token.role}
        self._revoked()
        return TokenView(**_fields(token))

    async def _create(self, request: web.Request) -> BaseModel:
        return await self.create(request, await json_body(request, NewToken))

    async def _list(self, request: web.Request) -> BaseModel:
        return await self.page(parse_query(request, ListQuery))


def _fields(token: OpsToken) -> dict[str, Any]:
    return {name: getattr(token, name) for name in TokenView.model_fields}
