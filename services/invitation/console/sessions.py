"""Who is at the console. An operator signs in with an ops token, once; the cookie then names the token by its id, under
a signature, and holds nothing that could be used as one. Each request asks what that token may still do, so that one
which is revoked ends its sessions within ten seconds."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from aiohttp import web
from itsdangerous import BadData, URLSafeTimedSerializer

from convive_kit.auth import same_secret
from convive_kit.errors import NotAllowed
from convive_kit.http import Problem, client_address, form_body
from convive_kit.rate_limit import Limiter, address_bucket
from convive_kit.routes import Guard
from invitation.console.forms import Form
from invitation.ops.callers import CALLER, Caller, Callers
from invitation.settings import InvitationSettings
from invitation.store.sign_outs import SignOuts
from invitation.store.tokens import ROLES, Role

COOKIE = "convive_ops"
LIFE = timedelta(hours=12)
TRIES = "10/minute"
"""Of one address, whether the token was right or wrong."""
SIGN_IN = "/ops/sign-in"


@dataclass(frozen=True, slots=True)
class Session:
    """`form_token` stands in every form: only a page of this very session can have it."""

    token_id: str
    form_token: str


SESSION = web.RequestKey("session", Session)


class _Sealed(Form):
    form_token: str = ""


class ForeignForm(NotAllowed):
    """This form did not come from a page of the console that is still yours: open the page again and repeat it."""

    slug = "foreign_form"


class Sessions:
    """Makes and reads the cookies, and guards the pages."""

    def __init__(
        self,
        callers: Callers,
        sign_outs: SignOuts,
        limiter: Limiter,
        settings: InvitationSettings,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._callers = callers
        self._sign_outs = sign_outs
        self._now = now
        self._limiter = limiter
        self._trusted_proxies = settings.trusted_proxies
        # With either secret exchanged, every session ends.
        secret = f"{settings.link_keys[0].get_secret_value()} {settings.ops_token.get_secret_value()}"
        self._seal = URLSafeTimedSerializer(secret, salt="convive.console.session")
        self._host = urlsplit(settings.invitation_url).netloc
        self._secure = settings.invitation_url.startswith("https://")
        self.guards = tuple(
            Guard(f"console_{role}", f"Signed in at the console with at least the role {role}.", self._check(role))
            for role in ROLES
        )

    async def sign_in(self, request: web.Request, token: str) -> str | None:
        """The cookie for whoever holds this token, or None for one that is worth nothing. Raises a `Problem` (429)
        after too many tries, `DatabaseAway` in an outage."""
        self.refuse_foreign(request)
        address = address_bucket(client_address(request, self._trusted_proxies))
        if wait := await self._limiter.hit("console-sign-in", address, TRIES):
            raise Problem(429, "too_many_requests", "Too many attempts; wait a little.", retry_after=wait)
        caller = await self._callers.holder(token)
        if caller is None or caller.cabinet_id is not None:
            return None
        return self._seal.dumps([caller.token_id, secrets.token_urlsafe(16)])

    def keep(self, response: web.StreamResponse, cookie: str) -> None:
        """Give the cookie to the browser: never to a script, never to another site, never outside the console."""
        response.set_cookie(
            COOKIE,
            cookie,
            max_age=int(LIFE.total_seconds()),
            path="/ops",
            httponly=True,
            samesite="Strict",
            secure=self._secure,
        )

    async def end(self, request: web.Request, response: web.StreamResponse) -> None:
        """Take the cookie back; no copy of it opens anything any more."""
        await self._sign_outs.add(request[SESSION].form_token, self._now() + LIFE)
        response.del_cookie(COOKIE, path="/ops", httponly=True, samesite="Strict", secure=self._secure)

    def refuse_foreign(self, request: web.Request) -> None:
        """Raises `ForeignForm` for a form that another site has sent."""
        origin = urlsplit(request.headers.get("Origin", "")).netloc
        if not origin or origin not in (self._host, request.host):
            raise ForeignForm
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise ForeignForm

    async def caller(self, request: web.Request) -> Caller | None:
        """Who is signed in at present, with what their token may do now; keeps the session in the request."""
        session = self._read(request)
        if session is None:
            return None
        caller, signed_out = await asyncio.gather(
            self._callers.operator(session.token_id), self._sign_outs.has(session.form_token)
        )
        if signed_out:
            return None
        request[SESSION] = session
        return caller

    def _read(self, request: web.Request) -> Session | None:
        try:
            token_id, form_token = self._seal.loads(request.cookies.get(COOKIE, ""), max_age=int(LIFE.total_seconds()))
        except (BadData, TypeError, ValueError):
            return None
        return Session(token_id, form_token)

    def _check(self, role: Role) -> Callable[[web.Request], Awaitable[None]]:
        async def check(request: web.Request) -> None:
            caller = await self.caller(request)
            if caller is None:
                back = request.path_qs if request.method in ("GET", "HEAD") else "/ops"
                raise web.HTTPSeeOther(f"{SIGN_IN}?{urlencode({'next': back})}")
            if request.method == "POST":
                self.refuse_foreign(request)
                if not same_secret((await form_body(request, _Sealed)).form_token, request[SESSION].form_token):
                    raise ForeignForm
            request[CALLER] = caller
            if not caller.may(role):
                raise NotAllowed(f"This needs an ops token with the role {role}.")

        return check
