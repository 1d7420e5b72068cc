"""The messages that would have gone out, newest kept, and what a person or a test wants to know of each."""

from __future__ import annotations

import email
import email.policy
import html
import re
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from functools import cached_property
from typing import Literal, cast
from uuid import uuid4

Channel = Literal["email", "sms"]

# What ends a sentence is no part of the address before it.
_ADDRESS = re.compile(r"https?://[^\s<>\"'\u00a0]+")
_AFTER_A_LINK = ".,;:!?)]}»"
_REFERENCE = re.compile(r"\b(?:href|src|action)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.IGNORECASE)


@dataclass(frozen=True)
class Mail:
    """An e-mail as it came over SMTP, for one recipient; taken apart only when somebody looks."""

    to: str
    sender: str
    content: bytes
    id: str = field(default_factory=lambda: uuid4().hex)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def _parsed(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)

    def _part(self, kind: Literal["plain", "html"]) -> str:
        part = self._parsed.get_body((kind,))
        if part is None:
            return ""
        try:
            return cast("str", part.get_content())
        except (LookupError, UnicodeError):
            # An unknown character set: show what can be read of it.
            return cast("bytes", part.get_payload(decode=True)).decode("utf-8", "replace")

    @cached_property
    def html(self) -> str:
        return self._part("html")

    def headers(self) -> dict[str, str]:
        return {name.lower(): str(value) for name, value in self._parsed.items()}

    def as_json(self) -> dict[str, object]:
        text = self._part("plain").replace("\r\n", "\n")
        headers = self.headers()
        return {
            "id": self.id,
            "channel": "email",
            "to": self.to,
            "from": headers.get("from", self.sender),
            "subject": headers.get("subject", ""),
            "text": text,
            "html": self.html,
            "links": links_in(text, self.html),
            "received_at": _time(self.received_at),
            "message_id": headers.get("message-id", ""),
            "headers": headers,
        }


@dataclass(frozen=True)
class TextMessage:
    """An SMS as it was handed to the provider."""

    to: str
    sender: str
    text: str
    segments: int = 1
    id: str = field(default_factory=lambda: uuid4().hex)
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "channel": "sms",
            "to": self.to,
            "from": self.sender,
            "subject": None,
            "text": self.text,
            "html": None,
            "links": links_in(self.text, ""),
            "received_at": _time(self.received_at),
            "segments": self.segments,
        }


Message = Mail | TextMessage


class Mailbox:
    """The last messages, in memory. `revision` changes with every change."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._messages: deque[Message] = deque(maxlen=capacity)
        self.revision = 0

    def add(self, message: Message) -> None:
        self._messages.append(message)
        self.revision += 1

    def clear(self) -> None:
        self._messages.clear()
        self.revision += 1

    def newest(self, *, to: str | None = None, limit: int | None = None) -> list[Message]:
        """Newest first; with `to`, those for exactly that address, whatever its case."""
        found: list[Message] = []
        for message in reversed(self._messages):
            if limit is not None and len(found) >= limit:
                break
            if to is None or message.to.casefold() == to.casefold():
                found.append(message)
        return found

    def find(self, id: str) -> Message | None:
        return next((message for message in self._messages if message.id == id), None)


def links_in(text: str, markup: str) -> list[str]:
    """Every web address of the text and of the HTML, in order, each once."""
    found = [link.rstrip(_AFTER_A_LINK) for link in cast("list[str]", _ADDRESS.findall(text))]
    for double, single in cast("list[tuple[str, str]]", _REFERENCE.findall(markup)):
        link = html.unescape(double or single).strip()
        if link.startswith(("http://", "https://")):
            found.append(link)
    return list(dict.fromkeys(found))


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
