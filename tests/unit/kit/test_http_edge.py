from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, make_mocked_request
from pydantic import BaseModel
from structlog.testing import capture_logs

from convive_kit.errors import Retry
from convive_kit.http import Timestamp, client_address
from convive_kit.settings import BaseServiceSettings
from tests.unit.kit.sample_service import KEY, client

Client = TestClient[web.Request, web.Application]
OPS = {"Authorization": f"Bearer {KEY}"}
JEANNE = {"name": "Jeanne", "email": "jeanne@example.com"}


@pytest.fixture
async def http() -> AsyncIterator[Client]:
    async with client() as opened:
        yield opened


async def problem(response: aiohttp.ClientResponse) -> dict[str, object]:
    assert response.content_type == "application/problem+json"
    document = await response.json()
    assert document["status"] == response.status
    return document


async def test_a_model_becomes_json_with_the_status_of_its_route(http: Client) -> None:
    response = await http.post("/v1/guests", json=JEANNE, headers=OPS)
    assert response.status == 201
    assert (await response.json())["name"] == "Jeanne"


async def test_fields_that_do_not_fit_are_named_and_what_was_sent_is_not_repeated(http: Client) -> None:
    sent = {"name": "secret\n", "email": "secret", "role": "cook", "seats": [{"number": 0}], "extra": 1}
    response = await http.post("/v1/guests", json=sent, headers=OPS)
    document = await problem(response)
    assert response.status == 422
    assert document["slug"] == "invalid_fields"
    assert {error["field"] for error in document["errors"]} == {"email", "role", "seats.0.number", "extra"}  # pyright: ignore
    assert "secret" not in await response.text()


async def test_a_body_that_is_no_object_is_422(http: Client) -> None:
    document = await problem(await http.post("/v1/guests", json=[], headers=OPS))
    assert document["errors"][0]["field"] == "body"  # pyright: ignore


@pytest.mark.parametrize("raw", [b'{"name": ', b"\xff\xfe", b'{"name": "\\ud800"}', b"[" * 100_000, b"nope"])
async def test_malformed_json_is_400_with_the_position(http: Client, raw: bytes) -> None:
    response = await http.post("/v1/guests", data=raw, headers=OPS | {"Content-Type": "application/json"})
    document = await problem(response)
    assert (response.status, document["slug"]) == (400, "malformed_json")
    assert "line 1 column" in str(document["detail"])


async def test_an_empty_body_counts_as_an_empty_object(http: Client) -> None:
    document = await problem(await http.post("/v1/guests", headers=OPS))
    assert {error["field"] for error in document["errors"]} == {"name", "email"}  # pyright: ignore
    assert await (await http.patch("/v1/guests/1")).json() == {}


async def test_another_content_type_is_415(http: Client) -> None:
    response = await http.post("/v1/guests", data=b"{}", headers=OPS | {"Content-Type": "text/plain"})
    assert (await problem(response))["slug"] == "unsupported_media_type"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_one_mebibyte_is_413(http: Client, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65536

    data = pieces() if chunked else b"x" * (1024 * 1024 + 1)
    response = await http.post("/v1/guests", data=data, headers=OPS | {"Content-Type": "application/json"})
    assert response.status == 413
    assert (await problem(response))["detail"] == "A body may have 1 MiB at most."


async def test_a_merge_patch_tells_a_null_from_a_missing_field(http: Client) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    response = await http.patch("/v1/guests/1", data=b'{"phone": null}', headers=headers)
    assert await response.json() == {"phone": None}
    assert (await http.patch("/v1/guests/1", data=b'{"name": null}', headers=headers)).status == 422


async def test_repeated_query_values_become_a_list(http: Client) -> None:
    listed = await (await http.get("/v1/guests?state=sent&state=opened&q=J%C3%A9r%C3%B4me")).json()
    assert listed == {"limit": 50, "cursor": None, "state": ["sent", "opened"], "q": "Jérôme"}


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=201", "limit"), ("limit=x", "limit"), ("nope=1", "nope"), ("q=1&q=2", "q"), ("state=gone", "state.0")],
)
async def test_a_query_that_does_not_fit_is_422_naming_the_parameter(http: Client, query: str, field: str) -> None:
    document = await problem(await http.get(f"/v1/guests?{query}"))
    assert [error["field"] for error in document["errors"]] == [field]  # pyright: ignore


async def test_a_call_without_parameters_refuses_them_and_a_page_does_not(http: Client) -> None:
    assert (await http.get("/v1/guests/1?x=1")).status == 422
    assert (await http.get("/i/token?utm_source=mail")).status == 200


async def test_a_form_is_read_like_json(http: Client) -> None:
    assert (await (await http.post("/form", data=JEANNE)).json())["email"] == "jeanne@example.com"
    assert (await http.post("/form", json=JEANNE)).status == 415
    odd = {"Content-Type": "application/x-www-form-urlencoded; charset=nope"}
    assert (await http.post("/form", data=b"a=1", headers=odd)).status == 400


async def test_a_handler_that_reads_another_model_than_its_route_declares_fails(http: Client) -> None:
    assert (await http.post("/drifted", json={})).status == 500


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic YTpi", "Bearer", "Bearer \xff"])
async def test_without_the_right_token_the_answer_is_401_before_the_body_is_looked_at(
    http: Client, header: str | None
) -> None:
    response = await http.post("/v1/guests", data=b"nope", headers={"Authorization": header} if header else {})
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("how", "status", "slug"),
    [
        ("conflict", 409, "seat_taken"),
        ("retry", 503, "cellar_flooded"),
        ("forbidden", 403, "not_allowed"),
        ("slow", 503, "try_again_later"),
        ("bug", 500, "internal_server_error"),
    ],
)
async def test_an_error_becomes_the_status_of_its_fate(http: Client, how: str, status: int, slug: str) -> None:
    response = await http.get(f"/fail/{how}")
    assert (response.status, (await problem(response))["slug"]) == (status, slug)


async def test_a_problem_carries_message_type_members_and_retry_after(http: Client) -> None:
    document = await problem(await http.get("/fail/conflict"))
    assert document["detail"] == "This seat is taken."
    assert document["type"] == "urn:convive:problem:seat_taken"
    assert (await problem(await http.get("/fail/state")))["state"] == "active"
    assert (await http.get("/fail/retry")).headers["Retry-After"] == "3"


async def test_a_problem_without_slug_of_its_own_is_about_blank(http: Client) -> None:
    document = await problem(await http.get("/v1/guests/none"))
    assert (document["type"], document["title"], document["slug"]) == ("about:blank", "Not Found", "not_found")


async def test_a_bug_is_logged_with_its_traceback_and_told_to_nobody(http: Client) -> None:
    with capture_logs() as logs:
        response = await http.get("/fail/bug")
    assert "jeanne" not in await response.text()
    failure = next(line for line in logs if line["event"] == "http.failed")
    assert isinstance(failure["exc_info"], LookupError)


async def test_unknown_paths_and_methods_are_problem_documents_too(http: Client) -> None:
    assert (await problem(await http.get("/nowhere")))["status"] == 404
    response = await http.delete("/v1/guests")
    assert (await problem(response))["status"] == 405
    assert response.headers["Allow"] == "GET,HEAD,POST"


async def test_a_redirect_passes(http: Client) -> None:
    response = await http.get("/fail/redirect", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/elsewhere")
    assert response.headers["X-Request-ID"]


async def test_head_is_answered_like_get_without_a_body(http: Client) -> None:
    response = await http.head("/i/token")
    assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize("path", ["/i/token", "/nowhere", "/fail/bug", "/stream/ends", "/docs"])
async def test_every_response_carries_a_request_id_and_safe_headers(http: Client, path: str) -> None:
    response = await http.get(path)
    assert len(response.headers["X-Request-ID"]) == 32
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert "Server" not in response.headers


async def test_a_sane_request_id_is_kept_and_another_replaced(http: Client) -> None:
    assert (await http.get("/i/x", headers={"X-Request-ID": "abc-1.2_3"})).headers["X-Request-ID"] == "abc-1.2_3"
    for odd in ("x" * 65, "a b", "jeanne@example.com", ""):
        assert (await http.get("/i/x", headers={"X-Request-ID": odd})).headers["X-Request-ID"] != odd


async def test_the_access_log_has_the_template_and_never_the_path(http: Client) -> None:
    with capture_logs() as logs:
        await http.get("/i/very-secret-token?code=very-secret")
        await http.get("/very-secret")
    lines = [line for line in logs if line["event"] == "http.request"]
    assert [line["route"] for line in lines] == ["/i/{token}", "unmatched"]
    assert "very-secret" not in str(logs)


async def test_metrics_count_by_template_method_and_status(http: Client) -> None:
    await http.get("/i/very-secret-token")
    await http.request("PROPFIND", "/nowhere")
    text = await (await http.get("/metrics")).text()
    assert 'convive_http_request_seconds_count{method="GET",route="/i/{token}",status="200"} 1.0' in text
    assert 'method="other",route="unmatched",status="404"' in text
    assert "very-secret" not in text
    assert "process_resident_memory_bytes" in text


async def test_a_stream_that_breaks_off_is_logged_and_cut(http: Client) -> None:
    with capture_logs() as logs:
        response = await http.get("/stream/breaks")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert "http.failed" in [line["event"] for line in logs]


async def test_a_service_may_answer_problems_with_its_own_page() -> None:
    async with client(render=lambda _, problem: web.Response(text=problem.title, status=problem.status)) as http:
        assert await (await http.get("/nowhere")).text() == "Not Found"


async def test_readiness_says_which_check_fails_without_its_message() -> None:
    class BrokerAway(Retry):
        """amqp://user:password@broker is away."""

        slug = "broker_away"

    async def broker() -> None:
        raise BrokerAway

    async def database() -> None:
        await asyncio.sleep(0)

    async def consumers() -> bool:
        return False

    async def odd() -> None:
        raise OSError("mongodb://user:password@host")

    checks = {"broker": broker, "database": database, "consumers": consumers, "odd": odd}
    async with client(checks=checks) as http:
        response = await http.get("/readyz")
        ready = await response.json()
        assert (response.status, ready["status"]) == (503, "not_ready")
        assert {name: check["error"] for name, check in ready["checks"].items()} == {
            "broker": "broker_away",
            "database": None,
            "consumers": "failed",
            "odd": "OSError",
        }
        assert "password" not in await response.text()
        assert await (await http.get("/livez")).json() == {"status": "alive"}
    async with client(checks={"database": database}) as http:
        assert (await http.get("/readyz")).status == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "6.6.6.6, 198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:10.0.0.1", "2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "6.6.6.6, nonsense", "10.0.0.1"),
    ],
)
def test_the_client_is_the_rightmost_hop_that_is_no_trusted_proxy(peer: str, forwarded: str, expected: str) -> None:
    trusted = BaseServiceSettings.model_validate({"trusted_proxies": "10.0.0.0/8"}).trusted_proxies
    request = make_mocked_request("GET", "/", headers={"X-Forwarded-For": forwarded})
    assert client_address(request.clone(remote=peer), trusted) == expected


def test_times_are_utc_with_milliseconds() -> None:
    class Moment(BaseModel):
        at: Timestamp

    paris = datetime(2026, 1, 31, 10, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert Moment(at=paris).model_dump_json() == '{"at":"2026-01-31T09:30:00.999Z"}'
