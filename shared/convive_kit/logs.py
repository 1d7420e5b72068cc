"""One JSON line per event on stdout, with the correlation id, and without personal data."""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from convive_kit import tracing

REDACTED = "[redacted]"

# A safety net, not the rule: the rule is that nobody logs these.
# fmt: off
_PRIVATE = frozenset({
    "name", "first_name", "last_name", "full_name", "display_name", "email", "email_key", "phone", "recipient",
    "recipients", "address", "remote", "authorization", "cookie", "cookies", "body", "data", "payload", "headers",
    "url", "path", "query", "code", "link", "links",
})
# fmt: on
_PRIVATE_PART = re.compile(r"password|passphrase|token|secret|credential(?!_version)|api_?key", re.IGNORECASE)
# Each is cheap to rule out by the characters it needs, so that the usual line costs no regular expression.
_MASKS = (
    ("://", re.compile(r"://[^/\s@\"']+@"), "://[credentials]@"),
    ("/i/", re.compile(r"/i/[^/?#\s\"'<>)]+"), "/i/[link]"),
    ("password", re.compile(r"/(new-password|password-resets)/[^/?#\s\"'<>)]+"), r"/\1/[link]"),
    ("@", re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+\w"), "[email]"),
    ("%40", re.compile(r"[\w.%+-]+%40[\w.-]+\w"), "[email]"),
    ("+", re.compile(r"(?<!\w)\+\d[\d .()-]{6,18}\d"), "[phone]"),
    ("cvk_", re.compile(r"cvk_[\w-]+"), "[api key]"),
    ("code=", re.compile(r"code=[\w.~%-]+"), "code=[code]"),
    ("earer ", re.compile(r"([Bb]earer )[\w.~+/=-]+"), r"\1[token]"),
)


def get_logger(name: str) -> FilteringBoundLogger:
    """`log = get_logger(__name__)`, then `log.info("invitation.sent", invitation=id, attempt=2)`."""
    return cast("FilteringBoundLogger", structlog.get_logger(name))


class _NamedLogger(structlog.WriteLogger):
    def __init__(self, name: str = "") -> None:
        super().__init__(sys.stdout)
        self.name = name


def configure(level: str = "info", *, service: str) -> None:
    """Sends our own lines from `level` up, and those of libraries from WARNING up, to stdout."""

    def name_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    rendered: list[Processor] = [
        name_service,
        *([_name_trace] if tracing.is_on() else []),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
        _as_json,
    ]
    chosen = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            *rendered,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(chosen),
        logger_factory=_NamedLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                _name_foreign,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.getLogger("aiohttp.server").addFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    # What a caller writes instead of HTTP is answered with 400; a line with a traceback for each would help nobody
    # but them, and it carries their address and words.
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


# One encoder for all lines: `json.dumps` with options builds one per call. ASCII, since half a surrogate pair (it comes
# with broken header bytes) would make the write fail.
_encode = json.JSONEncoder(default=str, separators=(",", ":")).encode


def _as_json(_: WrappedLogger, __: str, event: EventDict) -> str:
    return _encode(event)


def _name_foreign(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    # Libraries write sentences where we write stable names.
    event["message"] = event["event"]
    event["event"] = "library.logged"
    return event


def _name_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    event.update(tracing.ids())
    return event


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Blanks private fields, and masks addresses, link tokens and credentials inside any text."""
    return {key: _clean(key, value) for key, value in event.items()}


@functools.lru_cache(maxsize=1024)
def _privacy(key: str) -> Literal["none", "text", "any"]:
    """Which values of a field called `key` are private: numbers may be, where a password is one."""
    folded = key.lower()
    if _PRIVATE_PART.search(folded):
        return "any"
    return "text" if folded in _PRIVATE else "none"


def _clean(key: str, value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    privacy = _privacy(key)
    number = isinstance(value, (int, float))
    if privacy == "any" or (privacy == "text" and not number):
        return REDACTED
    if number:
        return value
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, Mapping):
        entries = cast("Mapping[object, object]", value)
        return {str(inner): _clean(str(inner), content) for inner, content in entries.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_clean("", content) for content in cast("list[object]", value)]
    return mask(str(value))


def mask(text: str) -> str:
    """`text` with what looks like an e-mail address, link, key, code or credential replaced."""
    for needed, pattern, substitute in _MASKS:
        if needed in text:
            text = pattern.sub(substitute, text)
    return text
