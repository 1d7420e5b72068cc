"""Calls to one of the services: each with a time limit, each failure a line that says what to do."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, cast

import aiohttp
from yarl import URL

from invitation.cli.failures import ExitCode, Failed

Query = Mapping[str, str | int | Sequence[str] | None]

_LONGEST_WAIT = 10.0
_TRIES = 4
_PAGE = 200
_STREAM_SILENCE = 60.0


class Api:
    """One service. `who` names it and `token_from` says where its token is set, for the lines about failures."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        who: str,
        token_from: str,
        runner: asyncio.Runner,
        time_limit: float,
        note: Callable[[str], None],
    ) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._who = who
        self._sentence = f"{who[0].upper()}{who[1:]}"
        self._token_from = token_from
        self._runner = runner
        self._time_limit = time_limit
        self._note = note
        self._session: aiohttp.ClientSession | None = None

    def get(self, path: str, query: Query | None = None) -> Any:
        """Read something; while the service is away for a moment, ask again when it says."""
        return self._runner.run(self.read(path, query))

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Have something done; never twice by itself."""
        return self._runner.run(self._call(method, path, None, body))

    def pages(self, path: str, query: Query, limit: int | None) -> Iterator[Any]:
        """The items of a list, from as many pages as it takes; at most `limit`."""
        cursor: str | None = None
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(limit, _PAGE)
            page = self.get(path, {**query, "limit": size, "cursor": cursor})
            items = page["items"] if limit is None else page["items"][:limit]
            yield from items
            limit = None if limit is None else limit - len(items)
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def answers(self, path: str) -> tuple[int, Any]:
        """The status and the document of whatever is answered, as long as something is."""

        async def ask() -> tuple[int, Any]:
            async with self._asked("GET", path, None, None) as response:
                return response.status, _document(await response.read())

        return self._runner.run(ask())

    def carry(self, path: str, query: Query, to: Callable[[bytes], object]) -> None:
        """Hand a streamed answer on, piece by piece, however long it takes; a silence ends it."""

        async def copy() -> None:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=self._time_limit, sock_read=self._time_limit)
            async with self._asked("GET", path, query, None, limits) as response:
                if response.status != HTTPStatus.OK:
                    raise self._refusal(response, await response.read())
                async for piece in response.content.iter_any():
                    to(piece)

        self._runner.run(copy())

    def run(self, work: Any) -> Any:
        """Run a coroutine that makes several calls."""
        return self._runner.run(work)

    async def read(self, path: str, query: Query | None = None) -> Any:
        """`get`, for who awaits."""
        for tries_left in reversed(range(_TRIES)):
            try:
                return await self._call("GET", path, query, None)
            except _Away as away:
                if away.after is None or not tries_left:
                    raise
                wait = min(away.after, _LONGEST_WAIT)
                self._note(f"{away} Asking again in {wait:.0f} s.")
                await asyncio.sleep(wait)
        raise AssertionError  # the last try has returned or raised

    async def events(self, path: str, query: Query) -> AsyncIterator[str]:
        """The names of the events of a stream (server-sent events), until it breaks off. Raises `Failed` where there
        is no such stream."""
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._time_limit, sock_read=_STREAM_SILENCE)
        async with self._asked("GET", path, query, None, limits, accept="text/event-stream") as response:
            if response.status != HTTPStatus.OK:
                raise self._refusal(response, await response.read())
            name = ""
            async for line in response.content:
                text = line.decode(errors="replace").rstrip("\r\n")
                field, _, value = text.partition(":")
                if field == "event":
                    name = value.strip()
                elif not text:  # the end of one event (WHATWG, server-sent events)
                    yield name
                    name = ""

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()

    async def _call(self, method: str, path: str, query: Query | None, body: Mapping[str, Any] | None) -> Any:
        async with self._asked(method, path, query, body) as response:
            raw = await response.read()
            if response.status >= HTTPStatus.BAD_REQUEST:
                raise self._refusal(response, raw)
            if response.status == HTTPStatus.NO_CONTENT:
                return None
            document = _document(raw)
            if document is None or response.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise Failed(f"{self.url} answers, but not as {self._who}: check the address.")
            return document

    @asynccontextmanager
    async def _asked(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: Mapping[str, Any] | None,
        limits: aiohttp.ClientTimeout | None = None,
        accept: str = "application/json",
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        headers = {"Accept": accept, "User-Agent": "convive"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        pairs: list[tuple[str, str]] = []
        for name, value in (query or {}).items():
            if isinstance(value, str | int):
                pairs.append((name, str(value)))
            else:
                pairs += [(name, one) for one in value or ()]
        # A redirect would carry the token to where nobody meant it to go.
        try:
            if self._session is None:
                self._session = aiohttp.ClientSession(trust_env=True)
            async with self._session.request(
                method,
                URL(self.url + path, encoded=True).update_query(pairs),
                json=body,
                headers=headers,
                timeout=limits or aiohttp.ClientTimeout(total=self._time_limit),
                allow_redirects=False,
            ) as response:
                yield response
        except (aiohttp.InvalidURL, ValueError) as error:
            raise Failed(f"{self.url} is no address of a service: {error}", ExitCode.USAGE) from None
        except aiohttp.ClientConnectorError as error:
            raise _Away(f"{self._sentence} cannot be reached at {self.url}: {_said(error.os_error)}.") from None
        except TimeoutError:
            raise _Away(f"{self._sentence} did not answer within {self._time_limit:g} s.{_perhaps(method)}") from None
        except aiohttp.ClientError as error:
            said = str(error) or type(error).__name__
            raise _Away(f"The connection to {self._who} broke: {said}.{_perhaps(method)}") from None

    def _refusal(self, response: aiohttp.ClientResponse, raw: bytes) -> Failed:
        status, document = response.status, _document(raw)
        problem = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
        said = problem.get("detail") or problem.get("title") or response.reason or "no reason given"
        match status:
            case HTTPStatus.UNAUTHORIZED:
                hint = f"check {self._token_from}" if self._token else f"set {self._token_from}"
                return Failed(f"{self._sentence} does not know this token: {hint}.", ExitCode.NOT_ALLOWED)
            case HTTPStatus.FORBIDDEN:
                return Failed(f"Not allowed: {said}", ExitCode.NOT_ALLOWED)
            case HTTPStatus.NOT_FOUND:
                if not problem:
                    said = f"{self.url} has no such call: check the address, or which release runs there."
                return Failed(f"Not found: {said}", ExitCode.NOT_FOUND)
            case HTTPStatus.UNPROCESSABLE_ENTITY if problem.get("errors"):
                faults = "; ".join(f"{fault['field']}: {fault['message']}" for fault in problem["errors"])
                return Failed(f"Refused: {faults}")
            case HTTPStatus.SERVICE_UNAVAILABLE | HTTPStatus.TOO_MANY_REQUESTS:
                method = response.method if status == HTTPStatus.SERVICE_UNAVAILABLE else "GET"
                return _Away(f"{self._sentence} cannot do this now: {said}{_perhaps(method)}", after=_seconds(response))
            case HTTPStatus.BAD_GATEWAY | HTTPStatus.GATEWAY_TIMEOUT:
                return _Away(f"{self._sentence} is away ({status}).{_perhaps(response.method)}")
            case _:
                request = response.headers.get("X-Request-ID")
                return Failed(f"Refused ({status}): {said}{f' (request {request})' if request else ''}")


class _Away(Failed):
    """`after`: seconds after which the service asks to be asked again."""

    def __init__(self, message: str, *, after: float | None = None) -> None:
        super().__init__(message, ExitCode.AWAY)
        self.after = after


def _said(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or type(error).__name__


def _perhaps(method: str) -> str:
    return "" if method == "GET" else " It may have been done all the same: look before you do it again."


def _seconds(response: aiohttp.ClientResponse) -> float:
    try:
        return max(float(response.headers.get("Retry-After", "1")), 0.1)
    except ValueError:  # a date, which our services do not send
        return 1.0


def _document(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
