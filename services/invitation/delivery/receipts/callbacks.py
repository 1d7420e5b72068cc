"""`/v1/receipts/…`: what providers of text messages say of one. A call is found genuine before it costs a call to the
database, and is answered with 204 once what it says is committed, so that one that got no answer may come again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from convive_kit.auth import same_secret
from convive_kit.http import Network, Problem, client_address, json_body
from convive_kit.rate_limit import LocalLimiter, too_many_requests
from convive_kit.routes import Route
from invitation.delivery.receipts.providers import Said, is_from_twilio, is_signed, of_generic, of_ovh, of_twilio
from invitation.delivery.receipts.recording import Receipts
from invitation.lifecycle.links import Send
from invitation.lifecycle.records import Receipt

_FORGERIES_PER_ADDRESS = "30/minute"
_MOST_FIELDS = 100
_PROBLEMS = (403, 404, 413, 429, 503)


class GenericReceipt(BaseModel):
    """What a gateway says of a message; `undelivered` is for good."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=100)] = Field(description="The gateway's id of the message.")
    reference: str | None = Field(
        default=None, max_length=100, description="The `reference` the message came with, if the address lacks `ref`."
    )
    status: Literal["queued", "sent", "delivered", "undelivered"]
    reason: str | None = Field(default=None, max_length=100, description="Why it was not delivered, as a slug.")
    code: Annotated[str, Field(max_length=20, pattern=r"^[A-Za-z0-9._-]*$")] | None = Field(
        default=None, description="The gateway's own code for it, for the history."
    )


@dataclass(frozen=True, slots=True)
class Keys:
    """By which each provider proves that it is the one; without, its receipts are not taken."""

    generic: SecretStr | None = None
    twilio: SecretStr | None = None
    ovh: SecretStr | None = None


class Callbacks:
    def __init__(
        self,
        receipts: Receipts,
        keys: Keys,
        *,
        public_url: str,
        trusted_proxies: tuple[Network, ...],
        sent_as: Callable[[str], Awaitable[Send | None]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`public_url` is where providers reach this service; `sent_as` finds a send by the id of its message at the
        provider; `clock` is Unix time."""
        self._receipts = receipts
        self._keys = keys
        self._public_url = public_url
        self._trusted_proxies = trusted_proxies
        self._sent_as = sent_as
        self._clock = clock
        self._forgeries = LocalLimiter(_FORGERIES_PER_ADDRESS)

    def routes(self) -> list[Route]:
        """Each provider's call is its own; another provider's name is 404."""
        signature = {"Convive-Signature": "`t=<Unix time>,v1=<hex HMAC-SHA256 of the time, a dot and the body>`."}
        generic = Route(
            "POST",
            "/v1/receipts/generic",
            self._generic,
            "What a gateway says of a message",
            GenericReceipt,
            query=None,
            status=204,
            problems=_PROBLEMS,
            headers=signature,
        )
        others = (
            ("POST", "twilio", self._twilio, "A status callback of Twilio"),
            ("GET", "ovh", self._ovh, "A delivery callback of OVHcloud"),
        )
        return [
            generic,
            *(
                Route(method, f"/v1/receipts/{name}", handler, summary, query=None, status=204, problems=_PROBLEMS)
                for method, name, handler, summary in others
            ),
        ]

    async def _generic(self, request: web.Request) -> web.StreamResponse:
        """Signed as Convive's own requests to the gateway are."""
        key = _configured(self._keys.generic)
        header = request.headers.get("Convive-Signature", "")
        if not is_signed(header, key, await request.read(), self._clock()):
            raise self._forged(request)
        body = await json_body(request, GenericReceipt)
        reference = request.query.get("ref") or body.reference or ""
        said = of_generic(body.id, body.status, body.reason, body.code)
        return await self._taken(request, "generic", reference, said)

    async def _twilio(self, request: web.Request) -> web.StreamResponse:
        key = _configured(self._keys.twilio)
        raw = await request.read()
        try:
            fields = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError:
            raise self._forged(request) from None
        header = request.headers.get("X-Twilio-Signature", "")
        if not is_from_twilio(header, key, self._public_url + request.raw_path, fields):
            raise self._forged(request)
        return await self._taken(request, "twilio", request.query.get("ref", ""), of_twilio(dict(fields)))

    async def _ovh(self, request: web.Request) -> web.StreamResponse:
        """Not signed: the address holds `secret`. It is called for every message of the account, ours or not."""
        key = _configured(self._keys.ovh)
        if not same_secret(request.query.get("secret", ""), key):
            raise self._forged(request)
        said = of_ovh(request.query.get("id", ""), request.query.get("ptt", ""))
        send = await self._sent_as(said.id) if said.outcome and said.id else None
        return await self._recorded("ovh", send, said) if send else web.Response(status=204)

    async def _taken(self, request: web.Request, provider: str, reference: str, said: Said) -> web.StreamResponse:
        send = self._receipts.send_of(reference)
        if send is None:
            raise self._forged(request)
        return await self._recorded(provider, send, said)

    async def _recorded(self, provider: str, send: Send, said: Said) -> web.StreamResponse:
        if said.outcome is not None:
            detail = {"code": said.code} if said.code else None
            receipt = Receipt(said.outcome, send.send_sequence, said.reason, detail)
            await self._receipts.record(send, receipt, by=provider, id=said.id[:100])
        return web.Response(status=204)

    def _forged(self, request: web.Request) -> Problem:
        if wait := self._forgeries.hit(client_address(request, self._trusted_proxies)):
            return too_many_requests(wait)
        return Problem(403, "not_genuine")


def _configured(key: SecretStr | None) -> str:
    if key is None:
        raise Problem(404)
    return key.get_secret_value()
