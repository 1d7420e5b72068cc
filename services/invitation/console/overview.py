"""`/ops`: the whole at a glance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from convive_kit.routes import Route
from invitation.console.frame import Frame
from invitation.console.picture import flow, trend
from invitation.ops.statistics import Stats
from invitation.store.processes import Processes

_DAYS = 30


class Overview:
    """See the module."""

    def __init__(self, frame: Frame, stats: Stats, processes: Processes, *, now: Callable[[], datetime]) -> None:
        self._frame = frame
        self._stats = stats
        self._processes = processes
        self._now = now
        self._picture = flow()

    def routes(self) -> list[Route]:
        """The page."""
        return [Route("GET", "/ops", self._show, query=None, auth="console_reader", documented=False)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        stats, processes = await asyncio.gather(self._stats.view(), self._processes.there(self._now()))
        providers: dict[str, bool] = {}
        for process in processes:
            for channel, answers in process.providers.items():
                providers[channel] = providers.get(channel, True) and answers
        days = {day.day: day.created for day in stats.per_day}
        return self._frame.page(
            request,
            "overview.html",
            stats=stats,
            providers=providers,
            picture=self._picture,
            days=trend(days, stats.as_of.date(), _DAYS),
        )
