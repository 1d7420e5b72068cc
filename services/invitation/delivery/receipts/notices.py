"""Mails about a mail that was sent: delivery status notifications (RFC 3464), and the bounces of servers that write
prose. Whatever else comes to a return address, such as an answer of somebody who is away, says nothing of the mail."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, message_from_string
from email.message import Message
from typing import cast

from invitation.delivery.receipts.reasons import ENHANCED, why
from invitation.lifecycle.records import Outcome

_READ = 64 * 1024
"""Octets of a mail that are looked at: a report stands before what it returns, which may be long."""
_MOST = {b"boundary": 16, b"content-type": 64, b"\n\n": 500, b"\n\r\n": 500}
"""Parts within parts cost their depth times the lines to read, and parts beside parts cost too; no mail server's have
more of these."""
_PROSE = 4096
_REPORTS = ("message/delivery-status", "message/global-delivery-status")
_BELOW = re.compile(r"^-{2,}.{0,40}(?:copy of the|original|returned) message", re.IGNORECASE | re.MULTILINE)
_FOR_GOOD = re.compile(r"(?<![\d.])(5\.\d{1,3}\.\d{1,3}(?!\.?\d)|55[0-4][ -])")
_FOR_NOW = re.compile(r"(?<![\d.])4\.\d{1,3}\.\d{1,3}(?!\.?\d)")
_GIVEN_UP = re.compile(
    r"(not going to|won't|will not) (try|retry)|giv(en|ing) up|in the queue too long|permanent (error|failure)",
    re.IGNORECASE,
)
_ROBOTS = re.compile(r"mailer-daemon|postmaster", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notice:
    """What became of a mail. `said` is what the server said, which may hold the address."""

    outcome: Outcome
    reason: str | None = None
    status: str | None = None
    said: str = ""


def read(content: bytes, *, no_sender: bool) -> Notice | None:
    """What a mail to a return address says of the mail that went out, or None when it says nothing final of it.

    `no_sender`: its envelope had the null sender, as notifications must (RFC 5321 4.5.5)."""
    content = content[:_READ]
    lowered = content.lower()
    if any(lowered.count(mark) > most for mark, most in _MOST.items()):
        return None
    mail = message_from_bytes(content)
    reports = [part for part in mail.walk() if part.get_content_type() in _REPORTS]
    if reports:
        return _of_report(reports[0])
    if not no_sender and _ROBOTS.search(_field(mail, "From")) is None:
        return None
    if _field(mail, "Auto-Submitted").lower().startswith("auto-replied"):
        return None
    return _of_prose(_prose(mail))


def _of_report(report: Message) -> Notice | None:
    """By the recipients' fields (RFC 3464 2.3). A mail goes to one person; where their server passed it on to several
    mailboxes, one that failed is told."""
    found: Notice | None = None
    for recipient in _blocks(report):
        # The word of the action may have a comment behind it.
        action = _field(recipient, "Action").lower().partition(" ")[0]
        if action == "failed":
            status = next(iter(ENHANCED.findall(_field(recipient, "Status"))), None)
            said = re.sub(r"^\s*[\w-]+\s*;\s*", "", _field(recipient, "Diagnostic-Code"))
            return Notice("bounced", why(said, status), status, said)
        if action == "delivered":
            found = Notice("delivered")
    return found


def _blocks(report: Message) -> Iterator[Message]:
    """The groups of fields of a report. The parser takes only the plain kind apart (RFC 6533 has one in UTF-8)."""
    payload = report.get_payload()
    for block in cast("list[Message]", payload) if isinstance(payload, list) else ():
        yield block
        rest = block.get_payload()
        if isinstance(rest, str):
            yield from (message_from_string(text) for text in re.split(r"\r?\n\s*\r?\n", rest))


def _of_prose(text: str) -> Notice | None:
    """Only what names a refusal for good counts; a code that means "later" only where that is said to be the end."""
    text = _BELOW.split(text[:_PROSE])[0]
    found = _FOR_GOOD.search(text) or (_FOR_NOW.search(text) if _GIVEN_UP.search(text) else None)
    if found is None:
        return None
    line = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0]
    return Notice("bounced", why(line), next(iter(ENHANCED.findall(line)), None), line)


def _prose(mail: Message) -> str:
    for part in mail.walk():
        if part.get_content_type() == "text/plain":
            decoded = part.get_payload(decode=True)
            return decoded.decode("utf-8", "replace") if isinstance(decoded, bytes) else ""
    return ""


def _field(message: Message, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())
