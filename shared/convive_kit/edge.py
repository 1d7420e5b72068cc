"""The edge every request passes: its id, its log line, its metrics, its limits, and errors as problem documents."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from convive_kit import tracing
from convive_kit.docs_page import docs_routes
from convive_kit.errors import Conflict, ConviveError, NotAllowed, Reject, Retry
from convive_kit.health import Check, health_routes
from convive_kit.http import BODY_LIMIT, Problem, problem_response, too_large
from convive_kit.logs import get_logger
from convive_kit.metrics import Metrics
from convive_kit.openapi import About
from convive_kit.routes import Guard, Route, add_routes

log = get_logger(__name__)

REQUEST_ID = web.RequestKey("request_id", str)
Render = Callable[[web.Request, Problem], web.StreamResponse]

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/livez", "/readyz", "/metrics"})
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Each applies where the response does not set its own."""


def make_app(
    about: About,
    routes: Sequence[Route],
    *,
    guards: Sequence[Guard] = (),
    checks: Mapping[str, Check],
    metrics: Metrics,
    time_limit: timedelta,
    render: Render = problem_response,
) -> web.Application:
    """An application with the edge, `routes`, `/livez`, `/readyz`, `/metrics`, `/openapi.json` and `/docs`.

    `render` makes the answer to a problem; a service with pages passes its own, to answer people with a page.
    """
    app = web.Application(client_max_size=BODY_LIMIT, middlewares=[_observe(metrics), _answer_problems(render)])
    app.on_response_prepare.append(_set_headers)
    everything = [*routes, *health_routes(checks, metrics)]
    add_routes(app, [*everything, *docs_routes(about, everything, guards)], guards, time_limit=time_limit)
    return app


async def _set_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["X-Request-ID"] = request.get(REQUEST_ID) or uuid4().hex
    response.headers.popall("Server", None)
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def _observe(metrics: Metrics) -> Middleware:
    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if _SANE_ID.fullmatch(given) else uuid4().hex
        request[REQUEST_ID] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id, correlation_id=request_id)
        # The template and never the path: link tokens are in paths.
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unmatched"
        method = request.method if request.method in _METHODS else "other"
        started = time.perf_counter()
        status = 499  # the caller went away
        named = f"{method} {route}"
        with tracing.NO_SPAN if route in _QUIET else tracing.span(named, "server", parent=request.headers) as span:
            try:
                response = await handler(request)
                status = response.status
                return response
            except web.HTTPException as error:
                status = error.status
                raise
            finally:
                took = time.perf_counter() - started
                metrics.answered(method, route, str(status), took)
                span.set("http.request.method", method)
                span.set("http.route", route)
                span.set("http.response.status_code", status)
                if status >= 500:
                    span.failed(str(status))
                write = log.debug if route in _QUIET and status < 500 else log.info
                write("http.request", method=method, route=route, status=status, ms=round(took * 1000, 1))

    return observe


def _answer_problems(render: Render) -> Middleware:
    @web.middleware
    async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            return render(request, _from_aiohttp(error))
        except Exception as error:
            problem = as_problem(error)
            if request.writer.output_size > 0:
                # Part of the answer is on its way: all that is left to say is that it ends here.
                raise ConnectionResetError("the answer broke off") from error
            return render(request, problem)

    return answer_problems


def _from_aiohttp(error: web.HTTPException) -> Problem:
    if error.status == 413:
        return too_large(BODY_LIMIT)
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return Problem(error.status, headers=headers)


def as_problem(error: Exception) -> Problem:
    """What a caller is told of `error`. What we did not foresee is logged with its traceback and told to nobody."""
    match error:
        case Problem():
            return error
        case Retry():
            log.warning("http.try_again_later", slug=error.slug, exc_info=error.__cause__)
            return Problem(503, error.slug, error.detail, retry_after=error.after)
        case TimeoutError():
            log.warning("http.timed_out", exc_info=error)
            return Problem(503, Retry.slug, Retry.message(), retry_after=5)
        case Conflict():
            return Problem(409, error.slug, error.detail)
        case NotAllowed():
            return Problem(403, error.slug, error.detail)
        case Reject():
            return Problem(422, error.slug, error.detail)
        case ConnectionError():
            raise error
        case _:
            slug = error.slug if isinstance(error, ConviveError) else ""
            log.error("http.failed", slug=slug, exc_info=error)
            return Problem(500, slug)
