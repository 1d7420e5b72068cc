"""What the directory asks of the invitation service: how things would look, and what holds where a firm chose nothing.

Nothing else here waits for it: while it is away, firms work on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from convive_contracts.events import Policies
from convive_kit import tracing
from convive_kit.errors import Retry

Model = TypeVar("Model", bound=BaseModel)

_TIME_LIMIT = 3.0


class InvitationServiceAway(Retry):
    """The invitation service does not answer."""

    slug = "invitation_service_away"


class _Lenient(BaseModel):
    """The other service may be a version ahead."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class MailPreview(_Lenient):
    sender: str
    reply_to: str | None
    subject: str
    text: str
    html: str


class TextPreview(_Lenient):
    sender: str | None
    text: str
    encoding: str
    characters: int
    segments: int


class Preview(_Lenient):
    """What a firm's people would get; `page` is HTML that loads nothing."""

    mail: MailPreview
    page: str
    sms: TextPreview


class InvitationService:
    def __init__(self, url: str, service_token: str) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {service_token}"}
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()

    async def preview(self, sample: Mapping[str, Any]) -> Preview:
        """What a firm as it is in `sample` would send. Raises `InvitationServiceAway`."""
        return await self._ask(Preview, "POST", "/internal/v1/previews", sample)

    async def policies(self) -> Policies:
        """What holds where a firm has not chosen. Raises `InvitationServiceAway`."""
        return await self._ask(Policies, "GET", "/internal/v1/policies")

    async def _ask(self, model: type[Model], method: str, path: str, body: Mapping[str, Any] | None = None) -> Model:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIME_LIMIT))
        try:
            with tracing.span(f"{method} invitation", "client") as span:
                headers = self._headers | tracing.carrier()
                async with self._session.request(
                    method, self._url + path, headers=headers, json=body, allow_redirects=False
                ) as response:
                    span.set("http.response.status_code", response.status)
                    if response.status != 200:
                        raise InvitationServiceAway(f"The invitation service answered {response.status}.")
                    return model.model_validate_json(await response.read())
        except (TimeoutError, aiohttp.ClientError, ValidationError) as error:
            raise InvitationServiceAway from error
