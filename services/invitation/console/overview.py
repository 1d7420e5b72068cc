"""`/ops`: the whole at a glance."""

from __future__ import annotations

from aiohttp import web

from convive_kit.routes import Route
from invitation.console.frame import Frame
from invitation.console.picture import flow, trend
from invitation.ops.statistics import Stats

_DAYS = 30


class Overview:
    """See the module."""

    def __init__(self, frame: Frame, stats: Stats) -> None:
        self._frame = frame
        self._stats = stats
        self._picture = flow()

    def routes(self) -> list[Route]:
        """The page."""
        return [Route("GET", "/ops", self._show, query=None, auth="console_reader", documented=False)]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        stats = await self._stats.view()
        days = {day.day: day.created for day in stats.per_day}
        return self._frame.page(
            request,
            "overview.html",
            stats=stats,
            picture=self._picture,
            days=trend(days, stats.as_of.date(), _DAYS),
        )
