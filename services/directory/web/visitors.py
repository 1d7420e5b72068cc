"""Who is in front of the browser: the session in its cookie."""

from __future__ import annotations

from aiohttp import web

from directory.entrance import Entrance, SignedIn
from directory.model.account import Account
from directory.settings import DirectorySettings
from directory.web.frame import see_other

SESSION_COOKIE = "convive_session"


class Visitors:
    def __init__(self, entrance: Entrance, settings: DirectorySettings) -> None:
        self._entrance = entrance
        self._settings = settings
        self._secure = settings.directory_url.startswith("https://")

    async def account(self, request: web.Request) -> Account | None:
        """Whoever is signed in on this browser."""
        token = request.cookies.get(SESSION_COOKIE)
        return await self._entrance.who(token) if token else None

    async def let_in(self, request: web.Request, signed_in: SignedIn, to: str = "/") -> web.Response:
        """The answer that signs this browser in, and whoever was signed in on it before out."""
        if before := request.cookies.get(SESSION_COOKIE):
            await self._entrance.sign_out(before)
        response = see_other(to)
        response.set_cookie(
            SESSION_COOKIE,
            signed_in.token,
            max_age=int(self._settings.session_life.total_seconds()),
            path="/",
            domain=self._settings.cookie_domain or None,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    async def let_out(self, request: web.Request, response: web.Response) -> web.Response:
        """The same answer, which also signs this browser out."""
        if token := request.cookies.get(SESSION_COOKIE):
            await self._entrance.sign_out(token)
        response.del_cookie(SESSION_COOKIE, path="/", domain=self._settings.cookie_domain or None)
        return response
