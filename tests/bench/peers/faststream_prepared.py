"""The usual way with prepared mails: what all mails of a language have in common is encoded once, at start.

`python -m tests.bench.peers.faststream_prepared`, with the product's environment variables.
"""

from __future__ import annotations

from binascii import b2a_qp
from collections.abc import Mapping
from datetime import UTC, datetime
from email.header import Header
from email.utils import format_datetime, formataddr
from functools import lru_cache
from html import escape

import aiosmtplib
import uvloop

from tests.bench.peers import usual
from tests.bench.peers.faststream_usual import application
from tests.bench.peers.usual import UserCreated

BOUNDARY = "=_peer"


def quoted_printable(text: str) -> bytes:
    return b2a_qp("\n".join(text.splitlines()).encode(), istext=True).replace(b"\n", b"\r\n")


def skeleton(locale: str) -> bytes:
    """All of a mail but its own header fields and the words in its gaps. A gap stands on a line of its own between two
    soft line breaks, so nothing needs to be known of its length."""
    parts: list[bytes] = []
    for subtype, layout in (("plain", usual.TEXT[locale]), ("html", usual.HTML[locale])):
        pieces = usual.SLOT.split(layout)
        parts += [f"--{BOUNDARY}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n".encode()]
        parts += [b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"]
        for fixed, slot in zip(pieces[::2], [*pieces[1::2], None], strict=True):
            parts.append(_keeping_its_end(fixed).replace(b"%", b"%%"))
            if slot is not None:
                parts.append(f"=\r\n%({subtype}_{slot})b=\r\n".encode())
        parts += [b"\r\n"]
    top = (
        f"MIME-Version: 1.0\r\nContent-Language: {locale}\r\nAuto-Submitted: auto-generated\r\n"
        f"X-Auto-Response-Suppress: All\r\n"
        f'Content-Type: multipart/alternative; boundary="{BOUNDARY}"\r\n\r\n'
    )
    return b"".join([top.encode(), *parts, f"--{BOUNDARY}--\r\n".encode()])


def _keeping_its_end(text: str) -> bytes:
    encoded = quoted_printable(text)
    return encoded + b"\r\n" if text.endswith("\n") else encoded


SKELETONS: Mapping[str, bytes] = {locale: skeleton(locale) for locale in usual.SENTENCES}


@lru_cache(maxsize=4096)
def sender_field(name: str) -> str:
    return formataddr((name, usual.FROM))


@lru_cache(maxsize=4096)
def subject_field(subject: str) -> str:
    """Ten members of a dossier share it."""
    return Header(subject, None if subject.isascii() else "utf-8", header_name="Subject").encode(linesep="\r\n")


def mail(event: UserCreated, id: str, expires_at: datetime) -> bytes:
    """The same mail as the usual one's, as bytes with CRLF line ends."""
    member, said = event.data.member, usual.words(event, id, expires_at)
    to = formataddr((f"{member.first_name} {member.last_name}", member.email))
    fields = (
        f"From: {sender_field(said['sender'])}\r\nTo: {to}\r\nSubject: {subject_field(said['subject'])}\r\n"
        f"Date: {format_datetime(datetime.now(UTC))}\r\nMessage-ID: <{id}.1@convive.example>\r\n"
    )
    values: dict[bytes, bytes] = {}
    for slot, value in said.items():
        values[f"plain_{slot}".encode()] = quoted_printable(value)
        values[f"html_{slot}".encode()] = quoted_printable(escape(value))
    return fields.encode() + SKELETONS[usual.locale_of(event)] % values


async def send_bytes(smtp: aiosmtplib.SMTP, event: UserCreated, id: str, expires_at: datetime) -> None:
    await smtp.sendmail(usual.FROM, [event.data.member.email], mail(event, id, expires_at))


if __name__ == "__main__":
    uvloop.run(application(send_bytes).run())
