from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage

from convive_kit import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before[0], before[1]
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def written(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_is_json_with_time_level_event_logger_and_correlation(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", service="invitation")
    structlog.contextvars.bind_contextvars(correlation_id="c1")
    logs.get_logger("invitation.delivery").info("invitation.sent", invitation="i1", attempt=2)
    (line,) = written(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "invitation.sent",
        "level": "info",
        "logger": "invitation.delivery",
        "service": "invitation",
        "correlation_id": "c1",
        "invitation": "i1",
        "attempt": 2,
    }


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", service="x")
    logs.get_logger("a").info("quiet")
    logs.get_logger("a").warning("loud")
    assert [line["event"] for line in written(capsys)] == ["loud"]


def test_libraries_write_through_the_same_door_from_warning_up(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", service="x")
    logging.getLogger("aiormq").info("chatter")
    logging.getLogger("aiormq").warning("lost %s", "amqp://guest:guest@broker/")
    (line,) = written(capsys)
    assert (line["event"], line["logger"], line["level"]) == ("library.logged", "aiormq", "warning")
    assert line["message"] == "lost amqp://[credentials]@broker/"


def test_what_a_caller_writes_instead_of_http_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", service="x")
    server = logging.getLogger("aiohttp.server")
    server.error("from 198.51.100.1", exc_info=BadHttpMessage("nonsense"))
    server.error("from a bug", exc_info=LookupError())
    assert [line["message"] for line in written(capsys)] == ["from a bug"]


def test_an_exception_is_written_with_its_traceback_and_masked(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", service="x")
    try:
        raise LookupError("no account jeanne@example.com")
    except LookupError:
        logs.get_logger("a").exception("sign_in.failed")
    (line,) = written(capsys)
    assert "Traceback" in line["exception"]
    assert "no account [email]" in line["exception"]


@pytest.mark.parametrize(
    "field",
    ["token", "session_token", "password", "new_password", "email", "phone", "authorization", "Cookie", "first_name",
     "name", "api_key", "client_secret", "url", "body"],
)  # fmt: skip
def test_private_fields_are_blanked_at_any_depth(field: str) -> None:
    assert logs.redact(None, "", {field: "x", "inner": [{field: "x"}]}) == {
        field: "[redacted]",
        "inner": [{field: "[redacted]"}],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /i/eyJ.abc-1_2/open HTTP/1.1", "GET /i/[link]/open HTTP/1.1"),
        ("https://a.example/i/tok?x=1", "https://a.example/i/[link]?x=1"),
        ("POST /v1/password-resets/WyJh.b-c HTTP/1.1", "POST /v1/password-resets/[link] HTTP/1.1"),
        ("to Jérôme.x+y@exämple.com, ok", "to [email], ok"),
        ("accounts?email=jeanne%40example.com", "accounts?email=[email]"),
        ("mongodb://user:p%40ss@host/db", "mongodb://[credentials]@host/db"),
        ("/handoff?code=abc_-1&x", "/handoff?code=[code]&x"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [token]"),
        ("key cvk_00ff_aa_b-b", "key [api key]"),
        ("sms to +33 6 12 34 56 78 done", "sms to [phone] done"),
        ("2026-01-31T09:30:00+02:00 ok 3+4", "2026-01-31T09:30:00+02:00 ok 3+4"),
    ],
)
def test_what_looks_private_is_masked_inside_text(text: str, expected: str) -> None:
    assert logs.mask(text) == expected


def test_half_a_surrogate_pair_does_not_break_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", service="x")
    logs.get_logger("a").info("odd", header="\udcff é")
    assert written(capsys)[0]["header"] == "\udcff é"


def test_numbers_are_private_only_where_a_secret_may_be_one() -> None:
    cleaned = logs.redact(None, "", {"password": 1234, "code": 550, "ok": True})
    assert cleaned == {"password": "[redacted]", "code": 550, "ok": True}
