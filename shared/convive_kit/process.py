"""The life of a process: start in order, notice what dies, drain in reverse order on SIGTERM."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any, NoReturn

import uvloop
from aiohttp import web

from convive_kit.logs import get_logger

log = get_logger(__name__)

EXIT_CLEAN, EXIT_CRASHED = 0, 1
_YOUNG_OBJECTS = 100_000


class Process:
    """What `main` starts its parts with. Whatever is started later is stopped earlier."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        """Set as soon as the process is asked to end; streams watch it so that they do not hold up the drain."""
        self.crashed = False
        self.ending: str | None = None
        """The part that is being stopped."""
        self._stops: list[tuple[str, Callable[[], Awaitable[object]]]] = []

    def on_stop(self, name: str, stop: Callable[[], Awaitable[object]]) -> None:
        """Awaits `stop()` when the process ends, before what was registered earlier."""
        self._stops.append((name, stop))

    def spawn(self, name: str, work: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
        """Runs `work` until the process ends, and cancels it then. If it raises, or returns before its time, the
        process logs that and ends with an error: nothing dies silently."""
        task: asyncio.Task[object] = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._task_ended)

        async def cancel() -> None:
            task.cancel()
            await asyncio.wait([task])

        self.on_stop(name, cancel)
        return task

    async def serve(
        self, app: web.Application, host: str, port: int, *, shutdown_timeout: float = 3, backlog: int = 1024
    ) -> int:
        """Serves `app` and answers its port (useful with port 0). On stop: no new connections, then at most
        `shutdown_timeout` seconds for the requests under way."""
        runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            # Longer than the idle time of the usual load balancers, so that it is they who close.
            keepalive_timeout=75,
            shutdown_timeout=shutdown_timeout,
        )
        self.on_stop("http", runner.cleanup)
        await runner.setup()
        await web.TCPSite(runner, host, port, backlog=backlog).start()
        bound = int(runner.addresses[0][1])
        log.info("http.listening", port=bound)
        return bound

    def _task_ended(self, task: asyncio.Task[object]) -> None:
        if self.stopping.is_set() or task.cancelled():
            return
        self.crashed = True
        self.stopping.set()
        log.error("process.task_died", task=task.get_name(), exc_info=task.exception())

    async def stop(self) -> None:
        """Stops everything in reverse order; one part that fails to stop does not keep the others running."""
        while self._stops:
            name, stop = self._stops.pop()
            self.ending = name
            try:
                await stop()
            except Exception:
                self.crashed = True
                log.exception("process.stop_failed", part=name)


def run(main: Callable[[Process], Awaitable[None]], *, grace: timedelta = timedelta(seconds=10)) -> NoReturn:
    """Runs `main(process)`, which starts the parts and returns; then waits for SIGTERM or SIGINT, and drains within
    `grace`. Exits with 0 after a clean drain, 1 after a crash or a drain that took too long, and at once, with
    128 + the signal, on a second signal."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = runner.run(_live(main, grace.total_seconds()))
    raise SystemExit(code)


async def _live(main: Callable[[Process], Awaitable[None]], grace: float) -> int:
    process = Process()
    loop = asyncio.get_running_loop()

    def asked_to_end(number: signal.Signals) -> None:
        if process.stopping.is_set():
            log.warning("process.killed", signal=number.name)
            sys.stdout.flush()
            os._exit(128 + number)
        log.info("process.stopping", signal=number.name)
        process.stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_end, number)

    starting = asyncio.ensure_future(main(process))
    stopping = asyncio.ensure_future(process.stopping.wait())
    # A signal may come while main still waits for the database: then the start is given up.
    await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    try:
        await starting
        # What is there by now stays: a full collection would look at all of it each time, and hold everybody up for
        # some 70 ms (measured with a hundred thousand objects).
        gc.collect()
        gc.freeze()
        # A young collection every 700 allocations looks, again and again, at the same hundreds of messages in hand, all
        # of which together are fewer objects than this; hardly anything leaves garbage in circles.
        gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
        gc.enable()
        log.info("process.started")
        await stopping
    except BaseException as error:
        # Cancelled is what a start is when the process was asked to end; anything else is a failure.
        if not (isinstance(error, asyncio.CancelledError) and process.stopping.is_set()):
            process.crashed = True
            log.exception("process.start_failed")
    process.stopping.set()
    try:
        async with asyncio.timeout(grace):
            await process.stop()
    except TimeoutError:
        log.error("process.drain_timed_out", seconds=grace, part=process.ending)
        # What did not let itself be cancelled now would not later: the event loop would wait for it for ever.
        sys.stdout.flush()
        os._exit(EXIT_CRASHED)
    log.info("process.stopped")
    return EXIT_CRASHED if process.crashed else EXIT_CLEAN
