"""The table of calls: what aiohttp serves and what the documentation says come from the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from aiohttp import web
from pydantic import BaseModel

from convive_kit.http import (
    BODY_LIMIT,
    DECLARED_BODY,
    DECLARED_QUERY,
    LARGEST_BODY,
    NoQuery,
    json_response,
    parse_query,
    too_large,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse | BaseModel]]


@dataclass(frozen=True, slots=True)
class Guard:
    """Who may make a call. `check` raises `unauthorized()`, or keeps what it learned in the request."""

    name: str
    description: str
    check: Callable[[web.Request], Awaitable[None]]
    refusals: Sequence[int] = (401,)
    """The statuses it refuses a call with."""


@dataclass(frozen=True, slots=True)
class Route:
    """One call. A handler answers with a response, or with a model that becomes JSON with `status`."""

    method: str
    path: str
    handler: Handler
    summary: str = ""
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = NoQuery
    """Unknown parameters are refused; None takes any, for pages that people reach by links others decorate."""
    response: type[BaseModel] | None = None
    status: int = 200
    auth: str | None = None
    """The name of the guard that is asked before the handler."""
    problems: Sequence[int] = ()
    """Statuses the handler answers with beside those that follow from `auth`, `body` and `query`."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Request headers the handler reads, with what they mean."""
    streams: Sequence[str] = ()
    """Media types of an answer that goes on as long as the caller listens: no time limit."""
    uploads: str | None = None
    """The media type of a body that is no JSON; the handler reads it with `upload`."""
    body_limit: int = BODY_LIMIT
    time_limit: timedelta | None = None
    """Where it is not the usual one."""
    documented: bool = True


def add_routes(
    app: web.Application, routes: Sequence[Route], guards: Sequence[Guard] = (), *, time_limit: timedelta
) -> None:
    """Serves `routes`. GET answers HEAD too. KeyError when a route names a guard that is not given."""
    checks = {guard.name: guard.check for guard in guards}
    for route in routes:
        check = checks[route.auth] if route.auth else None
        limit = (route.time_limit or time_limit).total_seconds()
        handler = _served(route, check, None if route.streams else limit)
        if route.method == "GET":
            app.router.add_get(route.path, handler, allow_head=True)
        else:
            app.router.add_route(route.method, route.path, handler)


def _served(
    route: Route, check: Callable[[web.Request], Awaitable[None]] | None, limit: float | None
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def serve(request: web.Request) -> web.StreamResponse:
        request[DECLARED_BODY] = route.body
        request[DECLARED_QUERY] = route.query
        request[LARGEST_BODY] = route.body_limit
        if (request.content_length or 0) > route.body_limit:
            raise too_large(route.body_limit)
        async with asyncio.timeout(limit):
            if check:
                await check(request)
            if route.query is NoQuery:
                parse_query(request, NoQuery)
            answer = await route.handler(request)
        return json_response(answer, route.status) if isinstance(answer, BaseModel) else answer

    return serve
