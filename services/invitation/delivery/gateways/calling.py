"""One HTTP call to a gateway: what it answered, or the way in which it did not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import aiohttp

from invitation.delivery.channels import NotTaken, ProviderAway, RefusedForGood, RefusedForNow

TIMEOUT = aiohttp.ClientTimeout(total=10, sock_connect=5)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gateway answered."""

    status: int
    content: bytes

    @property
    def is_yes(self) -> bool:
        return 200 <= self.status < 300

    @property
    def body(self) -> Mapping[str, Any]:
        """The JSON object; {} where it is none."""
        try:
            read: Any = json.loads(self.content)
        except ValueError:
            return {}
        return cast("dict[str, Any]", read) if isinstance(read, dict) else {}

    def refusal(self, reason: str | None) -> NotTaken:
        """What a no means, with the word for it where the gateway told why. 4xx is about the message, but for those
        that are about us; 502 to 504 come from in front of a gateway that is down (RFC 9110 section 15.6)."""
        if reason is not None:
            return RefusedForGood(reason)
        match self.status:
            case 401 | 403:
                return ProviderAway(f"the gateway refuses us: {self.status}")
            case 429 | 502 | 503 | 504:
                return ProviderAway(f"the gateway takes nothing: {self.status}")
            case 400 | 404 | 410 | 413 | 422:
                return RefusedForGood(f"refused_{self.status}")
            case _:
                return RefusedForNow(f"the gateway answers {self.status}")


class Caller:
    """Connections to one gateway, which are kept for a while."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, method: str, url: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Raises `ProviderAway` when nothing was handed over, `RefusedForNow` when that cannot be known, and
        `TimeoutError` after ten seconds. Redirects are not followed: the headers hold secrets."""
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=TIMEOUT)
        try:
            async with self._session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
                return Answer(answer.status, await answer.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ProviderAway(f"no connection to the gateway: {type(error).__name__}") from error
        except aiohttp.ClientError as error:
            if isinstance(error, TimeoutError):
                raise
            raise RefusedForNow("the connection was lost while handing the message in") from error

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
