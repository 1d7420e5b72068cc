"""The page and the API of the inbox.

What a mail contains is not trusted: the page puts it in as text, and its HTML is shown in a sandboxed frame whose own
policy forbids scripts, forms and everything from elsewhere.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deploy.local.inbox.behaviour import Behaviours, Temper
from deploy.local.inbox.mailbox import Mail, Mailbox, TextMessage
from deploy.local.inbox.receipts import Receipts

_PAGE = Path(__file__).parent / "page"
_OF_THE_PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_OF_A_MAIL = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; form-action 'none'; frame-ancestors 'self'"
)
_FOR_EVER = 24 * 3600

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=BaseModel)


class _SmsRequest(BaseModel):
    """As docs/sms-gateway.md asks of a gateway."""

    model_config = ConfigDict(extra="ignore")

    to: str = Field(pattern=r"^\+[0-9]{6,15}$")
    sender: str = Field(alias="from")
    text: str
    segments: int = 1
    reference: str = ""
    receipt_url: str | None = None


def application(mailbox: Mailbox, temper: Temper, receipts: Receipts) -> web.Application:
    """The web application."""
    inbox = _Inbox(mailbox, temper, receipts)
    app = web.Application(middlewares=[_safely], client_max_size=1024 * 1024)
    app.on_cleanup.append(receipts.stop)
    app.add_routes(
        [
            web.get("/", inbox.page),
            web.static("/page", _PAGE),
            web.get("/messages/{id}/html", inbox.html_of_one),
            web.get("/messages/{id}/source", inbox.source_of_one),
            web.get("/api/messages", inbox.messages),
            web.delete("/api/messages", inbox.clear),
            web.get("/api/behaviour", inbox.behaviour),
            web.put("/api/behaviour", inbox.behave),
            web.post("/sms/messages", inbox.take_sms),
            web.get("/readyz", inbox.ready),
        ]
    )
    return app


@web.middleware
async def _safely(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.headers.setdefault("Content-Security-Policy", _OF_THE_PAGE)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    response.headers.setdefault("Cache-Control", "no-cache")
    return response


class _Inbox:
    def __init__(self, mailbox: Mailbox, temper: Temper, receipts: Receipts) -> None:
        self._mailbox = mailbox
        self._temper = temper
        self._receipts = receipts
        self._texts: dict[str, TextMessage] = {}

    async def page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(_PAGE / "index.html")

    async def ready(self, request: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def messages(self, request: web.Request) -> web.Response:
        tag = f'"{self._mailbox.revision}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        limit = request.query.get("limit", "")
        found = self._mailbox.newest(to=request.query.get("to"), limit=int(limit) if limit.isdecimal() else None)
        return web.json_response([message.as_json() for message in found], headers={"ETag": tag})

    async def clear(self, request: web.Request) -> web.Response:
        self._mailbox.clear()
        return web.Response(status=204)

    async def html_of_one(self, request: web.Request) -> web.Response:
        mail = self._mail(request)
        return web.Response(
            text=_opening_links_in_a_new_tab(mail.html),
            content_type="text/html",
            headers={"Content-Security-Policy": _OF_A_MAIL},
        )

    async def source_of_one(self, request: web.Request) -> web.Response:
        return web.Response(body=self._mail(request).content, content_type="text/plain", charset="utf-8")

    def _mail(self, request: web.Request) -> Mail:
        message = self._mailbox.find(request.match_info["id"])
        if not isinstance(message, Mail):
            raise web.HTTPNotFound(text="There is no such mail, or no longer.")
        return message

    async def behaviour(self, request: web.Request) -> web.Response:
        return web.json_response(self._temper.now.model_dump())

    async def behave(self, request: web.Request) -> web.Response:
        asked = await _body(request, Behaviours)
        self._temper.now = self._temper.now.changed_by(asked)
        return await self.behaviour(request)

    async def take_sms(self, request: web.Request) -> web.Response:
        sms = await _body(request, _SmsRequest)
        mode = self._temper.now.sms.towards(sms.to)
        if mode == "refuse_temporarily":
            return web.json_response({"error": "try_again_later"}, status=500)
        if mode == "refuse_permanently":
            return web.json_response({"error": "unknown_number"}, status=422)
        if mode == "hang":
            await asyncio.sleep(_FOR_EVER)
        if mode == "close_mid_data" and request.transport is not None:
            request.transport.abort()
            return web.Response()
        handed_in = request.headers.get("Idempotency-Key", "")
        known = self._texts.get(handed_in)
        if known is None:
            known = TextMessage(to=sms.to, sender=sms.sender, text=sms.text, segments=sms.segments)
            self._mailbox.add(known)
            if handed_in:
                self._texts[handed_in] = known
            if sms.receipt_url and self._temper.now.sms.receipt != "none":
                self._receipts.say(sms.receipt_url, sms.reference, known.id, self._temper.now.sms.receipt)
        return web.json_response({"id": known.id}, status=201)


async def _body(request: web.Request, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise web.HTTPUnprocessableEntity(text=error.json(include_url=False), content_type="application/json") from None


def _opening_links_in_a_new_tab(markup: str) -> str:
    base = '<base target="_blank">'
    head = re.search(r"<head[^>]*>", markup, re.IGNORECASE)
    if head is None:
        return base + markup
    return markup[: head.end()] + base + markup[head.end() :]
