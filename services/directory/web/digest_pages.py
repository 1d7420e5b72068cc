"""The daily mail of a firm, as each of its people wants it: a switch among their settings, and the link in the mail."""

from __future__ import annotations

from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from convive_kit.http import Problem, form_body
from convive_kit.routes import Route
from directory.digest import DigestLetters
from directory.i18n import Language
from directory.store.protocol import Store
from directory.web.desk import Desk
from directory.web.frame import Frame, page, see_other


class DigestForm(BaseModel):
    digest: Literal["yes", ""] = ""
    locale: Language = "fr"


class DigestPages:
    def __init__(self, frame: Frame, desk: Desk, store: Store, letters: DigestLetters) -> None:
        self._frame = frame
        self._desk = desk
        self._store = store
        self._letters = letters

    def routes(self) -> list[Route]:
        own, link = "/firms/{id}/digest", "/digest/{token}"
        return [
            page("GET", own, self.own),
            page("POST", own, self.save),
            page("GET", link, self.ask),
            page("POST", link, self.stop),
        ]

    async def own(self, request: web.Request) -> web.Response:
        account, cabinet = await self._desk.firm(request)
        return self._frame.page(
            request,
            "firm_digest.html",
            account=account,
            cabinet=cabinet,
            place=account.firms[cabinet.id],
            saved="saved" in request.query,
        )

    async def save(self, request: web.Request) -> web.Response:
        account, cabinet = await self._desk.firm(request)
        form = await form_body(request, DigestForm)
        await self._letters.switch(account.account_id, cabinet.id, digest=form.digest == "yes", language=form.locale)
        return see_other(f"{request.path}?saved=yes")

    async def ask(self, request: web.Request) -> web.Response:
        """Looking at a link stops nothing: mail scanners do."""
        _, cabinet_id = self._read(request)
        return await self._page(request, cabinet_id, stopped=False)

    async def stop(self, request: web.Request) -> web.Response:
        """By the button of that page, or by a mail program in one click (RFC 8058), which has no cookie and no origin:
        the link itself says who it is."""
        account_id, cabinet_id = self._read(request)
        await self._letters.switch(account_id, cabinet_id, digest=False)
        return await self._page(request, cabinet_id, stopped=True)

    async def _page(self, request: web.Request, cabinet_id: str, *, stopped: bool) -> web.Response:
        cabinet = await self._store.cabinet(cabinet_id)
        return self._frame.page(request, "digest_off.html", cabinet=cabinet, stopped=stopped)

    def _read(self, request: web.Request) -> tuple[str, str]:
        if (known := self._letters.read(request.match_info["token"])) is None:
            raise Problem(404)
        return known
