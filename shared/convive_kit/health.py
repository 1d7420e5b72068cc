"""`/livez`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from pydantic import BaseModel

from convive_kit.errors import ConviveError
from convive_kit.http import json_response
from convive_kit.metrics import Metrics
from convive_kit.routes import Route

Check = Callable[[], Awaitable[object]]
"""Raises, or answers False, while the thing it looks at is unusable."""


class Live(BaseModel):
    status: Literal["alive"] = "alive"


class CheckResult(BaseModel):
    ok: bool
    ms: float
    error: str | None = None


class Ready(BaseModel):
    status: Literal["ready", "not_ready"]
    checks: dict[str, CheckResult]


def health_routes(checks: Mapping[str, Check], metrics: Metrics, *, limit: float = 2) -> list[Route]:
    """`checks` run at the same time, each for at most `limit` seconds."""

    async def livez(_: web.Request) -> Live:
        return Live()

    async def readyz(_: web.Request) -> web.Response:
        results = await asyncio.gather(*(_run(check, limit) for check in checks.values()))
        ok = all(result.ok for result in results)
        ready = Ready(status="ready" if ok else "not_ready", checks=dict(zip(checks, results, strict=True)))
        return json_response(ready, 200 if ok else 503)

    async def exposition(request: web.Request) -> web.Response:
        await metrics.readings.refresh()
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(metrics.registry), headers={"Content-Type": content_type})

    return [
        Route("GET", "/livez", livez, "Whether the process runs", response=Live, query=None),
        Route("GET", "/readyz", readyz, "Whether it can do its work, and if not, why", response=Ready, query=None),
        Route("GET", "/metrics", exposition, documented=False, query=None),
    ]


async def _run(check: Check, limit: float) -> CheckResult:
    started = time.perf_counter()
    error = None
    try:
        async with asyncio.timeout(limit):
            if await check() is False:
                error = "failed"
    except Exception as raised:
        # The kind only: messages of drivers contain URLs, and those contain passwords.
        error = raised.slug if isinstance(raised, ConviveError) else type(raised).__name__
    return CheckResult(ok=error is None, ms=round((time.perf_counter() - started) * 1000, 1), error=error)
