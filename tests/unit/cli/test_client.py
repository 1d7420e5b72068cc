"""Calls over a network that fails: reading is tried again, doing is not; a stream wakes, and may be missing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from invitation.cli.client import Api
from invitation.cli.failures import ExitCode, Failed
from invitation.cli.watching import Sight, WaitFor, follow

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(**answers: Answer) -> AsyncGenerator[tuple[Api, list[web.Request], list[str]]]:
    """A service that answers `/name` so; the calls it got, and what was noted."""
    calls: list[web.Request] = []
    notes: list[str] = []
    app = web.Application()

    def noted(answer: Answer) -> Answer:
        async def handle(request: web.Request) -> web.StreamResponse:
            calls.append(request)
            return await answer(request)

        return handle

    for path, answer in answers.items():
        app.router.add_route("*", f"/{path.replace('__', '/')}", noted(answer))
    async with TestServer(app) as server:
        api = Api(
            str(server.make_url("")),
            "a-token",
            who="the service",
            token_from="CONVIVE_OPS_TOKEN",
            runner=cast("asyncio.Runner", None),
            time_limit=0.5,
            note=notes.append,
        )
        try:
            yield api, calls, notes
        finally:
            await api.close()


def away(**headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"detail": "The database is away."}, status=503, headers=headers)

    return answer


async def test_reading_is_tried_again_when_the_service_says() -> None:
    left = [503, 503, 200]

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"ok": True}, status=left.pop(0), headers={"Retry-After": "0"})

    async with served(it=answer) as (api, calls, notes):
        assert await api.read("/it") == {"ok": True}
        assert (len(calls), len(notes)) == (3, 2)


async def test_reading_ends_at_last_and_doing_at_once() -> None:
    async with served(it=away(**{"Retry-After": "0"})) as (api, calls, _):
        with pytest.raises(Failed, match="The service cannot do this now: The database is away") as read:
            await api.read("/it")
        assert (read.value.code, len(calls)) == (ExitCode.AWAY, 4)
        with pytest.raises(Failed, match="may have been done all the same") as done:
            await api._call("POST", "/it", None, {})
        assert (done.value.code, len(calls)) == (ExitCode.AWAY, 5)


async def test_silence_is_not_waited_for_for_ever() -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with served(it=answer) as (api, _, _notes):
        with pytest.raises(Failed, match=r"did not answer within 0.5 s.$"):
            await api.read("/it")
        with pytest.raises(Failed, match="may have been done all the same"):
            await api._call("DELETE", "/it", None, None)


async def test_a_broken_connection_says_what_cannot_be_known() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with served(it=answer) as (api, calls, _):
        with pytest.raises(Failed, match="may have been done all the same") as broken:
            await api._call("POST", "/it", None, {})
        assert (broken.value.code, len(calls)) == (ExitCode.AWAY, 1)


async def test_the_token_follows_no_redirect() -> None:
    async def answer(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async def elsewhere(_: web.Request) -> web.Response:
        return web.json_response({})

    async with served(it=answer, elsewhere=elsewhere) as (api, calls, _):
        with pytest.raises(Failed, match="not as the service"):
            await api.read("/it")
        assert [call.path for call in calls] == ["/it"]


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (200, "<html>", ExitCode.FAILED, "answers, but not as the service"),
        (401, "{}", ExitCode.NOT_ALLOWED, "does not know this token: check CONVIVE_OPS_TOKEN"),
        (403, '{"detail": "Needs writer."}', ExitCode.NOT_ALLOWED, "Not allowed: Needs writer."),
        (404, '{"detail": "There is no such replay."}', ExitCode.NOT_FOUND, "Not found: There is no such replay."),
        (404, "nginx", ExitCode.NOT_FOUND, "has no such call"),
        (409, '{"detail": "It is active."}', ExitCode.FAILED, "It is active."),
        (422, '{"errors": [{"field": "until", "message": "too late"}]}', ExitCode.FAILED, "Refused: until: too late"),
        (500, "oops", ExitCode.FAILED, "Refused (500)"),
        (502, "", ExitCode.AWAY, "is away"),
    ],
)
async def test_each_refusal_has_its_code_and_its_line(status: int, body: str, code: ExitCode, said: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with served(it=answer) as (api, _, _notes):
        with pytest.raises(Failed) as failed:
            await api.read("/it")
        assert failed.value.code == code
        assert said in str(failed.value)
        assert "\n" not in str(failed.value)


# --- watching -----------------------------------------------------------------------------------------------------


def life(*states: str) -> Callable[[], dict[str, Any]]:
    """An invitation that has come one step further each time it is looked at."""
    looks = 0

    def look() -> dict[str, Any]:
        nonlocal looks
        looks = min(looks + 1, len(states))
        return {"state": states[looks - 1], "reason": None, "history": [{"to": state} for state in states[:looks]]}

    return look


async def watched(api: Api, sight: Sight, notes: list[str], interval: float) -> list[str]:
    told: list[dict[str, Any]] = []
    await follow(api, "1", sight, told.append, notes.append, interval=interval, timeout=30)
    return [step["to"] for step in told]


async def test_an_event_of_the_stream_wakes_and_each_step_is_told_once() -> None:
    look = life("pending", "pending", "sent")
    looked = asyncio.Event()

    async def detail(_: web.Request) -> web.Response:
        looked.set()
        return web.json_response(look())

    async def stream(request: web.Request) -> web.StreamResponse:
        assert request.query["invitation_id"] == "1"
        assert request.headers["Authorization"] == "Bearer a-token"
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for short in ("invitation.extended", "invitation.sent"):
            await looked.wait()
            looked.clear()
            await response.write(f": alive\nid: 7\nevent: {short}\ndata: {{}}\n\n".encode())
        await asyncio.sleep(30)
        return response

    # Without the stream nobody would look again for an hour.
    async with served(v1__invitations__1=detail, v1__stream=stream) as (api, _, notes):
        assert await watched(api, Sight(WaitFor.SENT), notes, 3600) == ["pending", "pending", "sent"]
        assert notes == ["It is sent."]


@pytest.mark.parametrize("status", [404, 500])
async def test_without_a_stream_it_is_looked_at_every_so_often(status: int) -> None:
    look = life("pending", "sent", "opened", "password_set", "active")

    async def detail(_: web.Request) -> web.Response:
        return web.json_response(look())

    async def stream(_: web.Request) -> web.Response:
        return web.Response(status=status)

    async with served(v1__invitations__1=detail, v1__stream=stream) as (api, _, notes):
        steps = await watched(api, Sight(None), notes, 0.02)
        assert steps == ["pending", "sent", "opened", "password_set", "active"]
        assert len(notes) == (1 if status == 404 else 2)


async def test_what_ends_elsewhere_is_a_failure() -> None:
    look = life("pending", "failed")

    async def detail(_: web.Request) -> web.Response:
        return web.json_response(look())

    async with served(v1__invitations__1=detail) as (api, _, notes):
        with pytest.raises(Failed, match="It has ended as failed"):
            await watched(api, Sight(WaitFor.SENT), notes, 0.02)
