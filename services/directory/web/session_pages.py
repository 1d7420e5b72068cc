"""Where one is signed in, and how to end that."""

from __future__ import annotations

from aiohttp import web

from convive_kit.routes import Route
from directory.entrance import Entrance
from directory.i18n import moment
from directory.web.frame import Frame, page, see_other
from directory.web.language import language_of
from directory.web.visitors import Visitors


class SessionPages:
    def __init__(self, frame: Frame, visitors: Visitors, entrance: Entrance) -> None:
        self._frame = frame
        self._visitors = visitors
        self._entrance = entrance

    def routes(self) -> list[Route]:
        return [
            page("GET", "/sessions", self.show),
            page("POST", "/sessions/end-all", self.end_all),
            page("POST", "/sessions/{id}/end", self.end),
        ]

    async def show(self, request: web.Request) -> web.Response:
        here = await self._visitors.session(request)
        if here is None:
            return see_other("/sign-in")
        account, current = here
        language = language_of(request)
        sessions = [
            {
                "id": session.id,
                "browser": session.browser,
                "since": moment(session.created_at, language),
                "seen": moment((session.seen_at or session.created_at).replace(minute=0), language),
                "current": session.id == current.id,
            }
            for session in await self._entrance.sessions(account)
        ]
        return self._frame.page(request, "sessions.html", account=account, sessions=sessions)

    async def end(self, request: web.Request) -> web.Response:
        self._frame.refuse_foreign(request)
        if account := await self._visitors.account(request):
            await self._entrance.end(account, request.match_info["id"])
        return see_other("/sessions")

    async def end_all(self, request: web.Request) -> web.Response:
        self._frame.refuse_foreign(request)
        if account := await self._visitors.account(request):
            await self._entrance.sign_out_everywhere(account)
        return await self._visitors.let_out(request, see_other("/sign-in?reason=signed-out-everywhere"))
