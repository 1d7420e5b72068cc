"""CloudEvents 1.0 over AMQP: structured and binary mode in, structured mode out.

Sources: CloudEvents 1.0.2 (attributes, JSON format) and its AMQP protocol binding; binary mode is also read with the
`ce-` header prefix and with the binding's own `cloudEvents:` and `cloudEvents_` prefixes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, cast
from uuid import uuid4

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from convive_contracts.events import DATA_BY_TYPE

STRUCTURED = "application/cloudevents+json"
LARGEST_MESSAGE = 256 * 1024
"""Bytes. A larger body is refused without being parsed."""

_HEADER_PREFIXES = ("ce-", "cloudevents:", "cloudevents_")
_ATTRIBUTE_LIMIT = 512


class EventError(Exception):
    """A message that is no event we know. `slug` names the kind, `str()` says what is wrong."""

    slug: ClassVar[str] = "event_error"


class Malformed(EventError):
    """The message is not a CloudEvent of the shape its type asks for."""

    slug = "malformed"


class UnknownType(EventError):
    """The event's type is not one of Convive's."""

    slug = "unknown_type"


class Oversize(EventError):
    """The message is larger than 256 KiB."""

    slug = "oversize"


@dataclass(frozen=True, slots=True)
class Event:
    """A fact in the past tense.

    `sequence` is the version of `subject` at `source`: an older one never overrides a newer one; without it, `time`
    decides and each `id` counts once. `extensions` holds the other CloudEvents attributes (`correlationid` is one).
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime
    data: BaseModel
    sequence: int | None = None
    correlation_id: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def short_type(self) -> str:
        """`user.created` of `convive.user.created.v1`: the routing key."""
        return short_type(self.type)

    def to_structured(self) -> bytes:
        """The event as the body of a structured-mode message (`content_type` is `STRUCTURED`)."""
        return structured(
            id=self.id,
            source=self.source,
            type=self.type,
            subject=self.subject,
            time=self.time,
            data=self.data.model_dump(mode="json"),
            sequence=self.sequence,
            correlation_id=self.correlation_id,
            extensions=self.extensions,
        )


@lru_cache(1000)
def short_type(full: str) -> str:
    """The type without the `convive.` before and the version behind it."""
    return full.removeprefix("convive.").rpartition(".v")[0]


def rfc3339(moment: datetime) -> str:
    """An aware time as RFC 3339 in UTC with milliseconds, as in `2026-01-31T08:00:00.000Z`."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return f"{utc.year:04d}-{utc:%m-%dT%H:%M:%S}.{utc.microsecond // 1000:03d}Z"


def structured(
    *,
    id: str,
    source: str,
    type: str,
    subject: str,
    time: datetime,
    data: Mapping[str, Any],
    sequence: int | None = None,
    correlation_id: str | None = None,
    extensions: Mapping[str, str] | None = None,
) -> bytes:
    """Build the JSON of a CloudEvent from plain values, for publishers that know their data to be right."""
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "subject": subject,
        "time": rfc3339(time),
        "datacontenttype": "application/json",
    }
    if extensions:
        document.update(extensions)
    if sequence is not None:
        document["sequence"] = str(sequence)
    if correlation_id is not None:
        document["correlationid"] = correlation_id
    document["data"] = data
    return to_json(document)


def new_event(
    short: str,
    *,
    source: str,
    subject: str,
    data: BaseModel | Mapping[str, Any],
    id: str | None = None,
    time: datetime | None = None,
    sequence: int | None = None,
    correlation_id: str | None = None,
    extensions: Mapping[str, str] | None = None,
) -> Event:
    """Make an event of the short type (`user.created`), checking its data.

    Raises `UnknownType` for a type that is not Convive's and `Malformed`, naming the field, for data that do not fit.
    `id` defaults to a random UUID and `time` to now: give both when the same fact may be published again.
    `extensions` are further CloudEvents attributes, such as `traceparent`.
    """
    full = f"convive.{short}.v1"
    model = DATA_BY_TYPE.get(full)
    if model is None:
        raise UnknownType(f"{full} is not an event type of Convive")
    checked = data if isinstance(data, model) else _validated(model, data)
    return Event(
        id=id or str(uuid4()),
        source=source,
        type=full,
        subject=subject,
        time=time or datetime.now(UTC),
        data=checked,
        sequence=sequence,
        correlation_id=correlation_id,
        extensions=extensions or {},
    )


def parse_event(body: bytes, *, content_type: str | None, headers: Mapping[str, Any] | None = None) -> Event:
    """Read a message in either content mode.

    Raises `Oversize`, `Malformed` or `UnknownType`, each saying what is wrong and where; never anything else.
    """
    if len(body) > LARGEST_MESSAGE:
        raise Oversize(f"the message has {len(body)} bytes, more than the {LARGEST_MESSAGE} allowed")
    binary = _binary_attributes(headers or {})
    media_type = (content_type or "").partition(";")[0].strip().lower()
    # The content type decides where it is clear (CloudEvents AMQP binding 3); publishers that forget it still get in.
    if media_type.startswith("application/cloudevents") or "specversion" not in binary:
        document = _json(body)
        if not isinstance(document, dict):
            raise Malformed("the message must be a JSON object with the CloudEvents attributes")
        attributes = cast("dict[str, Any]", document)
        data = attributes.pop("data", None)
        if data is None and "data_base64" in attributes:
            raise Malformed("data_base64 is not accepted: send the data as JSON in `data`")
    else:
        attributes, data = binary, _json(body)
    return _event(attributes, data)


def _binary_attributes(headers: Mapping[str, Any]) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name, value in headers.items():
        for prefix in _HEADER_PREFIXES:
            if name.lower().startswith(prefix):
                attributes[name[len(prefix) :].lower()] = (
                    value.decode("utf-8", "replace") if isinstance(value, bytes) else value
                )
    time = attributes.get("time")
    if isinstance(time, int) and not isinstance(time, bool):
        # The binding's own timestamp type: milliseconds since 1970. JSON knows text alone.
        attributes["time"] = _from_milliseconds(time)
    return attributes


def _from_milliseconds(time: int) -> datetime | int:
    try:
        return datetime.fromtimestamp(time / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return time  # no time at all: refused with the other malformed ones


def _json(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Malformed(f"the body is not JSON in UTF-8: {error}") from None


def _event(attributes: Mapping[str, Any], data: Any) -> Event:
    if attributes.get("specversion") != "1.0":
        raise Malformed("specversion must be 1.0")
    id, source, full = (_text(attributes, name) for name in ("id", "source", "type"))
    model = DATA_BY_TYPE.get(full)
    if model is None:
        raise UnknownType(f"{full[:80]} is not an event type of Convive")
    subject = _text(attributes, "subject")
    if not isinstance(data, dict):
        raise Malformed(f"data must be a JSON object of the shape of {full}")
    checked = _validated(model, cast("dict[str, Any]", data))
    about_a_user = full.startswith("convive.user.")
    if about_a_user and cast("Any", checked).member.id != subject.lower():
        raise Malformed("subject must be the id of the member: it differs from data.member.id")
    correlation = attributes.get("correlationid")
    return Event(
        id=id,
        source=source,
        type=full,
        subject=subject.lower() if about_a_user else subject,
        time=_time(attributes.get("time")),
        data=checked,
        sequence=_sequence(attributes.get("sequence")),
        correlation_id=correlation[:128] if isinstance(correlation, str) and correlation else None,
        extensions={
            name: value
            for name, value in attributes.items()
            if name not in _KNOWN_ATTRIBUTES and isinstance(value, str) and len(value) <= _ATTRIBUTE_LIMIT
        },
    )


_KNOWN_ATTRIBUTES = frozenset(
    [
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "sequence",
        "correlationid",
        "data",
        "data_base64",
    ]
)


def _validated(model: type[BaseModel], data: Any) -> BaseModel:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(
            f"data{''.join(f'.{part}' for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False, include_context=False)[:10]
        )
        # Without the input: the text ends in parked records and logs, where no personal data belongs.
        raise Malformed(faults) from None


def _text(attributes: Mapping[str, Any], name: str) -> str:
    value = attributes.get(name)
    if not isinstance(value, str) or not value or len(value) > _ATTRIBUTE_LIMIT:
        raise Malformed(f"{name} must be a text of 1 to {_ATTRIBUTE_LIMIT} characters")
    return value


def _time(value: Any) -> datetime:
    """In milliseconds, as databases keep it: a finer time would be newer than itself once it has been stored."""
    moment = _moment(value)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _moment(value: Any) -> datetime:
    if value is None:  # optional in CloudEvents: then what was received first happened first
        return datetime.now(UTC)
    if isinstance(value, datetime):  # an AMQP timestamp, in binary mode
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if not isinstance(value, str):
        raise Malformed("time must be an RFC 3339 time such as 2026-01-31T08:00:00.000Z")
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed("time must be an RFC 3339 time such as 2026-01-31T08:00:00.000Z") from None


def _sequence(value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
        return value
    raise Malformed("sequence must be a whole number from 0, or its decimal digits")
