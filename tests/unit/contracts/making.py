"""Makes messages of the bus; what a test does not name does not matter to it."""

from __future__ import annotations

import json
from typing import Any

from convive_contracts import Event, parse_event
from convive_contracts.envelope import STRUCTURED

MEMBER = "0b4e3c1a-6f0d-4b0e-9a3e-2f6f0a9d7c11"
DOSSIER = "5d1f7a52-1c1b-4a8e-8a65-3f1f4f0c2b22"
CABINET = "9a2c4e66-7d8e-4f90-a1b2-c3d4e5f60733"
TIME = "2026-03-02T09:30:00.123Z"


def user_data(member: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Data of `user.created`; what is given as None is left out."""
    person = {"id": MEMBER, "first_name": "Jeanne", "last_name": "Martin", "email": "jeanne@example.com"}
    data: dict[str, Any] = {
        "member": _given({**person, **(member or {})}),
        "dossier": {"id": DOSSIER, "name": "Boulangerie Martin"},
        "cabinet": {"id": CABINET, "name": "Cabinet Léger"},
    }
    return _given({**data, **fields})


def document(data: Any = None, **attributes: Any) -> dict[str, Any]:
    """A structured-mode event as a dict; what is given as None is left out."""
    usual: dict[str, Any] = {
        "specversion": "1.0",
        "id": "event-1",
        "source": "/payroll",
        "type": "convive.user.created.v1",
        "subject": MEMBER,
        "time": TIME,
        "datacontenttype": "application/json",
    }
    return {**_given({**usual, **attributes}), "data": user_data() if data is None else data}


def read(body: dict[str, Any] | bytes | None = None, *, content_type: str | None = STRUCTURED, **headers: Any) -> Event:
    """Parse a structured-mode message."""
    raw = body if isinstance(body, bytes) else json.dumps(document() if body is None else body).encode()
    return parse_event(raw, content_type=content_type, headers=headers)


def read_binary(
    data: Any = None, *, content_type: str | None = "application/json", prefix: str = "ce-", **attributes: Any
) -> Event:
    """Parse a binary-mode message with these attributes as headers."""
    headers = {f"{prefix}{name}": value for name, value in document(**attributes).items() if name != "data"}
    headers.pop(f"{prefix}datacontenttype", None)
    raw = data if isinstance(data, bytes) else json.dumps(user_data() if data is None else data).encode()
    return parse_event(raw, content_type=content_type, headers=headers)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
