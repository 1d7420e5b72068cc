"""How the handlers beside the product are served: aiohttp at the port they are told, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence

from aiohttp import web


async def serve(routes: Sequence[web.RouteDef]) -> None:
    """Serve these and `/readyz` at `BENCH_PORT`; returns once asked to end."""

    async def ready(_: web.Request) -> web.Response:
        return web.Response(body=b"")

    app = web.Application()
    app.add_routes([web.get("/readyz", ready), *routes])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["BENCH_PORT"]), backlog=1024).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()
