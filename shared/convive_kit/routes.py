"""The table of calls: what aiohttp serves and what the documentation says come from the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from aiohttp import web
from pydantic import BaseModel

from convive_kit.http import DECLARED_BODY, DECLARED_QUERY, NoQuery, json_response, parse_query

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
    documented: bool = True


def add_routes(
    app: web.Application, routes: Sequence[Route], guards: Sequence[Guard] = (), *, time_limit: timedelta
) -> None:
    """Serves `routes`. GET answers HEAD too. KeyError when a route names a guard that is not given."""
    checks = {guard.name: guard.check for guard in guards}
    for route in routes:
        check = checks[route.auth] if route.auth else None
        handler = _served(route, check, None if route.streams else time_limit.total_seconds())
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
        async with asyncio.timeout(limit):
            if check:
                await check(request)
            if route.query is NoQuery:
                parse_query(request, NoQuery)
            answer = await route.handler(request)
        return json_response(answer, route.status) if isinstance(answer, BaseModel) else answer

    return serve
