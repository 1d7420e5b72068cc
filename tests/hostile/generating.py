"""Messages that nobody should send: from the schemas with values that do not fit, from the golden samples with bytes
changed, with headers, content types and keys that make no sense; and healthy ones among them.

All of it follows from a seed. hypothesis makes a stock of documents from the schemas, which is slow; a generator of
pseudo-random numbers makes ever new messages of the stock, which is fast.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from convive_contracts.envelope import LARGEST_MESSAGE, STRUCTURED
from convive_contracts.events import DATA_BY_TYPE, invitation_id
from tests.speaking import cloud_event, user_data

GOLDEN = Path(__file__).parents[1] / "golden"
HEALTHY = "/tests/healthy"
"""The publisher whose events must all be handled."""
_STOCK = 200
_KEYS = (
    "user.created",
    "user.updated",
    "user.removed",
    "user.nonsense",
    "account.redeemed",
    "account.signed_in",
    "cabinet.updated",
    "dossier.updated",
    "invitation.resend_requested",
    "invitation.sent",
    "usr.created",
    "nothing",
    "*",
    "#",
    "x" * 200,
    "é.\u202e",
)


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody puts on the bus. `healthy`: the invitation that must follow from it."""

    body: bytes
    key: str
    content_type: str | None
    headers: dict[str, Any]
    healthy: str | None = None


# --- documents from the schemas -----------------------------------------------------------------------------------

_anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | st.sampled_from(
        ["", " ", "\x00", "\r\nBcc: x@example.com", "<script>", "\u202e", "{{7*7}}", "$where", "a" * 300]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)


def _fitting(schema: dict[str, Any], all_schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that mostly fit a JSON schema, as pydantic writes it."""
    if "$ref" in schema:
        return _fitting(all_schemas[schema["$ref"].rpartition("/")[2]], all_schemas)
    if "anyOf" in schema:
        return st.one_of(*(_fitting(one, all_schemas) for one in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            fields = {name: _or_not(_fitting(one, all_schemas)) for name, one in schema.get("properties", {}).items()}
            if isinstance(others := schema.get("additionalProperties"), dict):
                return st.dictionaries(st.uuids().map(str), _or_not(_fitting(others, all_schemas)), max_size=4)
            required = {name: fields[name] for name in schema.get("required", ())}
            return st.fixed_dictionaries(required, optional={n: s for n, s in fields.items() if n not in required})
        case "array":
            return st.lists(_fitting(schema["items"], all_schemas), max_size=4)
        case "integer":
            return st.integers(-5, 2**40)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "string":
            return _fitting_text(schema)
        case _:
            return _anything


def _fitting_text(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True).map(lambda text: text[: schema.get("maxLength")])
    ids = st.uuids().map(str)
    names = st.text(min_size=1, max_size=min(schema.get("maxLength", 40), 60))
    return ids if schema.get("maxLength") == 64 else st.one_of(names, st.emails())


def _or_not(fitting: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    # Most fit, so that what is wrong is wrong in one place and deep inside.
    return st.integers(0, 29).flatmap(lambda one: fitting if one else _anything)


def _events() -> st.SearchStrategy[dict[str, Any]]:
    def of(full: str) -> st.SearchStrategy[dict[str, Any]]:
        schema = TypeAdapter(DATA_BY_TYPE[full]).json_schema()
        data = _fitting(schema, schema.get("$defs", {}))
        attributes = {
            "specversion": st.sampled_from(["1.0"] * 20 + ["0.3", 1.0, None]),
            "id": _or_not(st.uuids().map(str)),
            "source": _or_not(st.sampled_from(["/convive/directory", "/convive/invitation", "/payroll"])),
            "type": st.sampled_from([full] * 20 + ["convive.user.created.v2", "", 7]),
            "subject": _or_not(st.uuids().map(str)),
            "time": _or_not(st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat())),
            "sequence": _or_not(st.integers(0, 10**6).map(str)),
            "data": _or_not(data),
        }
        return st.fixed_dictionaries(attributes)

    return st.sampled_from(sorted(DATA_BY_TYPE)).flatmap(of)


def _stock(number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    @seed(number)
    @settings(
        max_examples=_STOCK,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(_events())
    def collect(event: dict[str, Any]) -> None:
        found.append(event)

    collect()
    return found


# --- messages -----------------------------------------------------------------------------------------------------


class Hostility:
    """Makes messages, ever new ones, the same for the same seed."""

    def __init__(self, number: int) -> None:
        self._chance = random.Random(number)
        samples = [json.loads(path.read_text()) for path in sorted(GOLDEN.glob("*.json"))]
        self._golden = [
            (sample["body"].encode(), sample["content_type"], dict(sample["headers"])) for sample in samples
        ]
        self._stock = _stock(number)
        self._healthy = 0
        self._ways: list[Callable[[], Message]] = [
            *[self._changed_bytes] * 8,
            *[self._from_schema] * 6,
            *[self._changed_document] * 6,
            self._strange_headers,
            self._strange_headers,
            self._noise,
            self._monster,
        ]

    def messages(self, count: int, *, healthy_each: int = 100) -> Iterator[Message]:
        """`count` messages, one in `healthy_each` of which is all right."""
        for number in range(count):
            yield self._well() if number % healthy_each == 0 else self._chance.choice(self._ways)()

    def _well(self) -> Message:
        self._healthy += 1
        id = str(UUID(int=self._chance.getrandbits(128), version=4))
        data = user_data(id, f"healthy.{self._healthy}@example.com")
        event = cloud_event("user.created", id, data, source=HEALTHY)
        return Message(json.dumps(event).encode(), "user.created", STRUCTURED, {}, invitation_id(HEALTHY, id))

    def _changed_bytes(self) -> Message:
        body, content_type, headers = self._chance.choice(self._golden)
        return Message(self._mutated(body), self._key(), content_type, headers)

    def _mutated(self, body: bytes) -> bytes:
        chance, text = self._chance, bytearray(body)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text)) if text else 0
            match chance.randrange(7):
                case 0 if text:
                    text[at] = chance.randrange(256)
                case 1 if text:
                    text[at] ^= 1 << chance.randrange(8)
                case 2:
                    del text[at:]
                case 3:
                    del text[at : at + chance.randint(1, 40)]
                case 4:
                    text[at:at] = chance.randbytes(chance.randint(1, 12))
                case 5:
                    text[at:at] = chance.choice(
                        (b"null", b"{", b"]", b'"', b"\\ud800", b"\xff\xfe", b"1e999", b"\\u0000")
                    )
                case _:
                    other = chance.choice(self._golden)[0]
                    text[at:] = other[chance.randrange(len(other)) :]
        return bytes(text)

    def _from_schema(self) -> Message:
        return self._of(self._chance.choice(self._stock))

    def _changed_document(self) -> Message:
        """An event with one thing in it exchanged for something else from anywhere."""
        event = json.loads(json.dumps(self._chance.choice(self._stock)))
        donor = self._chance.choice(self._stock)
        place: Any = event
        while True:
            key = self._chance.choice(list(place)) if isinstance(place, dict) and place else None
            if key is None:
                break
            if not isinstance(place[key], dict) or self._chance.random() < 0.3:
                place[key] = donor.get(key, self._chance.choice(list(donor.values())))
                break
            place = place[key]
        # A new one each time: else the same few would be counted up.
        event["nonce"] = self._chance.getrandbits(64)
        return self._of(event)

    def _of(self, event: dict[str, Any]) -> Message:
        if self._chance.random() < 0.25:
            headers = {
                f"{self._chance.choice(('ce-', 'cloudEvents:', 'cloudEvents_'))}{name}": value
                for name, value in event.items()
                if name != "data" and _fits_into_a_header(value)
            }
            return Message(_json(event.get("data")), self._key(), "application/json", headers)
        return Message(_json(event), self._key(), self._content_type(), {})

    def _strange_headers(self) -> Message:
        body, content_type, headers = self._chance.choice(self._golden)
        for _ in range(self._chance.randint(1, 8)):
            name = self._chance.choice(
                (
                    "ce-type",
                    "ce-id",
                    "ce-time",
                    "ce-specversion",
                    "CE-SPECVERSION",
                    "x-death",
                    "a.b",
                    "$set",
                    "",
                    "é\u202e",
                )
            )
            headers = {**headers, name: self._header()}
        return Message(body, self._key(), self._chance.choice((content_type, self._content_type())), headers)

    def _header(self) -> Any:
        chance = self._chance
        return chance.choice(
            (
                None,
                True,
                -1,
                2**40,
                0.5,
                b"\xff\x00\xfe",
                "x" * 5000,
                "\r\nBcc: x@example.com",
                ["a", 1, {"deep": {"er": None}}],
                {"ce-type": "nested"},
                datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**6)),
                "convive.user.created.v1",
            )
        )

    def _noise(self) -> Message:
        return Message(self._chance.randbytes(self._chance.randint(0, 400)), self._key(), self._content_type(), {})

    def _monster(self) -> Message:
        chance = self._chance
        nonce = str(chance.getrandbits(64)).encode()
        body = chance.choice(
            (
                lambda: b"[" * 20_000 + nonce,
                lambda: b'{"a":' * 5_000 + nonce + b"}" * 5_000,
                lambda: b"9" * 10_000 + nonce,
                lambda: b'{"specversion":"1.0","specversion":' + nonce + b"}",
                lambda: b'"' + b"\\ud83d" * 2_000 + nonce + b'"',
                lambda: b" " * (LARGEST_MESSAGE + 1) + nonce if chance.random() < 0.1 else b" " * 30_000 + nonce,
                lambda: (
                    b'{"specversion":"1.0","type":"convive.user.created.v1","id":"x","source":"/s","data":' + b"[" * 900
                ),
                lambda: b"",
            )
        )
        return Message(body(), self._key(), self._content_type(), {})

    def _key(self) -> str:
        return self._chance.choice(_KEYS)

    def _content_type(self) -> str | None:
        return self._chance.choice(
            (
                STRUCTURED,
                STRUCTURED,
                STRUCTURED,
                f"{STRUCTURED}; charset=latin-1",
                "application/json",
                "text/html",
                "application/cloudevents-batch+json",
                "",
                ";;;",
                "é",
                None,
            )
        )


def _fits_into_a_header(value: Any) -> bool:
    return isinstance(value, (str, bool)) or (isinstance(value, int) and abs(value) < 2**62)


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()
