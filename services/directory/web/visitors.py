"""Who is in front of the browser: the session in its cookie."""

from __future__ import annotations

from aiohttp import web

from convive_kit.http import client_address
from directory.browsers import Browser, KnownBrowsers
from directory.entrance import Entrance, SignedIn
from directory.model.account import Account, Session
from directory.settings import DirectorySettings
from directory.web.frame import see_other

SESSION_COOKIE = "convive_session"
_KNOWN_FOR = 365 * 86400


class Visitors:
    def __init__(self, entrance: Entrance, known: KnownBrowsers, settings: DirectorySettings) -> None:
        self._entrance = entrance
        self._known = known
        self._settings = settings
        self._secure = settings.directory_url.startswith("https://")
        # Of this host alone, which no neighbour under the same domain can plant (RFC 6265bis, 4.1.3.2).
        self._known_cookie = "__Host-convive_known" if self._secure else "convive_known"

    def browser(self, request: web.Request) -> Browser:
        """Where this request comes from."""
        return Browser(
            address=client_address(request, self._settings.trusted_proxies),
            user_agent=request.headers.get("User-Agent", ""),
            known=request.cookies.get(self._known_cookie, ""),
        )

    async def account(self, request: web.Request) -> Account | None:
        """Whoever is signed in on this browser."""
        token = request.cookies.get(SESSION_COOKIE)
        return await self._entrance.who(token) if token else None

    async def session(self, request: web.Request) -> tuple[Account, Session] | None:
        """The session of this browser, and whose it is."""
        token = request.cookies.get(SESSION_COOKIE)
        return await self._entrance.session(token) if token else None

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
        session = signed_in.session
        self.remember(request, response, session.account_id, session.credential_version)
        return response

    def remember(self, request: web.Request, response: web.Response, account_id: str, credential_version: int) -> None:
        """Have this browser known as one whose user has proved to own the account."""
        response.set_cookie(
            self._known_cookie,
            self._known.remember(request.cookies.get(self._known_cookie, ""), account_id, credential_version),
            max_age=_KNOWN_FOR,
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )

    async def let_out(self, request: web.Request, response: web.Response) -> web.Response:
        """The same answer, which also signs this browser out."""
        if token := request.cookies.get(SESSION_COOKIE):
            await self._entrance.sign_out(token)
        response.del_cookie(SESSION_COOKIE, path="/", domain=self._settings.cookie_domain or None)
        return response
