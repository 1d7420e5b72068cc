"""One mail as bytes. All that two mails have in common is encoded once, at start; a mail only fills the gaps.

Building and flattening an `EmailMessage` costs about 1.1 ms a mail, and under load that is most of what the
worker does. Here the body parts wait in quoted-printable, cut at their slots: a soft line break on either side of a
slot makes it a line of its own, so a value is encoded without knowing what stands beside it.
"""

from __future__ import annotations

import email
import email.policy
import re
from binascii import b2a_qp
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from html import escape
from pathlib import Path

import mrml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from invitation.colours import Palette, palette
from invitation.delivery.headers import UnusableAddress, address_bytes, mailbox, unstructured
from invitation.i18n import LOCALES, Locale, msgid, supported, translations
from invitation.wording import (
    CONTACT,
    CONTACT_BY_PHONE,
    INVITED,
    INVITED_BY,
    OWN_EXPENSES,
    isolated,
    moment,
    phone,
    plain,
    role_words,
)

TEMPLATES = Path(__file__).parent / "templates"

# "=_" cannot occur in quoted-printable (RFC 2045, section 6.7), so neither can the boundary.
BOUNDARY = b"=_convive"

_SLOT = re.compile(r"\[\[(\w+)\]\]")
_SOFT_BREAK = b"=\r\n"


@dataclass(frozen=True, slots=True)
class Letter:
    """What one mail says, to whom. `expires_at` is aware; `to` is one address."""

    invitation_id: str
    send_sequence: int
    locale: str
    first_name: str
    last_name: str
    to: str
    cabinet_name: str
    cabinet_phone: str | None
    dossier_name: str
    role: str
    own_expense_reports: bool
    link: str
    expires_at: datetime
    time_zone: str
    invited_by: str | None
    reminder: bool = False
    colour: str | None = None
    reply_to: str | None = None


SENDER = msgid("%(cabinet)s via Convive")
GREETING = msgid("Hello %(first_name)s,")
GREETING_WITHOUT_NAME = msgid("Hello,")
# By whether it is a reminder.
SUBJECT = {
    False: msgid("%(cabinet)s invites you to the file “%(dossier)s”"),
    True: msgid("Reminder: your access to the file “%(dossier)s” is waiting"),
}
# By whether it is a reminder, and whether the colleague who invites is known.
OPENING = {
    (False, False): INVITED,
    (False, True): INVITED_BY,
    (True, False): msgid("Your access to the online file “%(dossier)s”, prepared by %(cabinet)s, is still waiting."),
    (True, True): msgid(
        "Your access to the online file “%(dossier)s”, prepared by %(person)s of %(cabinet)s, is still waiting."
    ),
}
# By whether somebody reads the answers.
SENT_BY = {
    False: msgid("Sent automatically by Convive on behalf of %(cabinet)s. Replies to this address are not read."),
    True: msgid("Sent automatically by Convive on behalf of %(cabinet)s, which reads your reply."),
}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail as a mailbox shows it; `sender` and `reply_to` are names with their addresses."""

    sender: str
    reply_to: str | None
    subject: str
    text: str
    html: str


def read_back(message: bytes) -> Mail:
    """What the renderer has made, for somebody to look at."""
    parsed = email.message_from_bytes(message, policy=email.policy.default)

    def part(kind: str) -> str:
        body = parsed.get_body((kind,))
        return str(body.get_content()) if body else ""

    return Mail(parsed["From"], parsed["Reply-To"], parsed["Subject"], part("plain"), part("html"))


class PreparedPart:
    """A body part in quoted-printable with gaps for its slots, `[[like this]]`."""

    def __init__(self, subtype: str, text: str) -> None:
        pieces = _SLOT.split("\r\n".join(text.splitlines()))
        encoded = [_quoted_printable(piece).replace(b"%", b"%%") for piece in pieces[::2]]
        gaps = [_SOFT_BREAK + b"%(" + name.encode() + b")b" for name in pieces[1::2]]
        self._template = b"".join(
            (
                b"--" + BOUNDARY + b"\r\n",
                f"Content-Type: text/{subtype}; charset=utf-8\r\n".encode(),
                b"Content-Transfer-Encoding: quoted-printable\r\n\r\n",
                encoded[0],
                *(gap + piece for gap, piece in zip(gaps, encoded[1:], strict=True)),
                b"\r\n",
            )
        )

    def fill(self, values: Mapping[str, str]) -> bytes:
        return self._template % {_slot_name(slot): _filling(slot, value) for slot, value in values.items()}


class PreparedLetter:
    """The mail of one language: its fixed header fields, and what both parts have in common."""

    def __init__(self, locale: Locale, templates: Environment) -> None:
        self.locale: Locale = locale
        self.say = translations(locale).gettext
        self.fixed_fields = b"".join(
            (
                b"MIME-Version: 1.0\r\n",
                b"Content-Language: " + locale.encode() + b"\r\n",
                b"Auto-Submitted: auto-generated\r\n",
                b"X-Auto-Response-Suppress: All\r\n",
                b'Content-Type: multipart/alternative; boundary="' + BOUNDARY + b'"\r\n\r\n',
            )
        )
        context = {"_": self.say, "locale": locale}
        self.text = PreparedPart("plain", templates.get_template("invitation.txt").render(context))
        self.html = PreparedPart("html", _compiled(templates.get_template("invitation.mjml").render(context)))

    def sentences(self, letter: Letter, names: Mapping[str, str]) -> dict[str, str]:
        """What the slots say, with the names as this part shows them."""
        words = role_words(letter.role)
        may = self.say(words.may)
        opening = OPENING[letter.reminder, bool(names["person"])]
        return {
            "greeting": self.say(GREETING if names["first_name"] else GREETING_WITHOUT_NAME) % names,
            "opening": self.say(opening) % names,
            "role": self.say(words.label),
            "may": f"{may} {self.say(OWN_EXPENSES)}" if letter.own_expense_reports else may,
            "contact": self.say(CONTACT_BY_PHONE if names["phone"] else CONTACT) % names,
            "sent_by": self.say(SENT_BY[letter.reply_to is not None]) % names,
            "until": names["until"],
        }


class MailRenderer:
    """Renders letters; compiles the templates of every language when it is made."""

    def __init__(self, mail_from: str) -> None:
        """`mail_from` is the bare address that mails come from; its domain also stands in every Message-ID."""
        self._from = address_bytes(mail_from)
        self._domain = self._from.rpartition(b"@")[2]
        templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            undefined=StrictUndefined,
            autoescape=False,  # noqa: S701 - filled at start with our own catalogue, never with a name
            trim_blocks=True,
        )
        self._letters = {locale: PreparedLetter(locale, templates) for locale in LOCALES}

    def render(self, letter: Letter, now: datetime) -> bytes:
        """The whole message with CRLF line ends; the same letter at the same moment gives the same bytes.

        Raises UnusableAddress when `to` is not plainly one address.
        """
        prepared = self._letters[supported(letter.locale) or "en"]
        answers = _answerable(letter.reply_to)
        if answers is None and letter.reply_to is not None:
            letter = replace(letter, reply_to=None)
        names = _names(letter, prepared.locale)
        in_html = _marked_up(names, letter.cabinet_phone, prepared.locale)
        marked_up = prepared.sentences(letter, in_html)
        names = {key: isolated(name) for key, name in names.items()}
        subject = prepared.say(SUBJECT[letter.reminder]) % names
        slots = prepared.sentences(letter, names)
        slots["link"] = letter.link
        marked_up["link"] = escape(letter.link)
        marked_up["subject"] = escape(subject)
        marked_up["cabinet"] = in_html["cabinet"]
        marked_up.update(_shades(palette(letter.colour)))
        return b"".join(
            (
                self._fields(letter, prepared, names["cabinet"], subject, answers, now),
                prepared.fixed_fields,
                prepared.text.fill(slots),
                prepared.html.fill(marked_up),
                _END,
            )
        )

    def _fields(
        self,
        letter: Letter,
        prepared: PreparedLetter,
        cabinet: str,
        subject: str,
        answers: bytes | None,
        now: datetime,
    ) -> bytes:
        sender = prepared.say(SENDER) % {"cabinet": cabinet} if cabinet else "Convive"
        recipient = f"{plain(letter.first_name)} {plain(letter.last_name)}"
        return b"".join(
            (
                b"From: ",
                mailbox(sender, self._from, column=6),
                b"\r\nTo: ",
                mailbox(recipient, address_bytes(letter.to), column=4),
                b"\r\nReply-To: " + mailbox(cabinet, answers, column=10) if answers else b"",
                b"\r\nSubject: ",
                unstructured(subject, column=9),
                b"\r\nDate: ",
                format_datetime(now.astimezone(UTC)).encode("ascii"),
                b"\r\nMessage-ID: <",
                f"{letter.invitation_id}.{letter.send_sequence}@".encode("ascii"),
                self._domain,
                b">\r\n",
            )
        )


def _answerable(address: str | None) -> bytes | None:
    """A firm's address for answers, ready for a header; None for one that not every mail program could answer to."""
    try:
        answers = address_bytes(address) if address else None
    except UnusableAddress:
        return None
    return answers if answers and answers.isascii() else None


@lru_cache(maxsize=1024)
def _shades(colours: Palette) -> Mapping[str, str]:
    light, dark = colours.light, colours.dark
    return {
        "accent": light.fill,
        "on_accent": light.on_fill,
        "ink": light.text,
        "bright": dark.fill,
        "on_bright": dark.on_fill,
    }


_END = b"--" + BOUNDARY + b"--\r\n"


def _names(letter: Letter, locale: Locale) -> dict[str, str]:
    return {
        "cabinet": plain(letter.cabinet_name),
        "dossier": plain(letter.dossier_name),
        "person": plain(letter.invited_by or ""),
        "first_name": plain(letter.first_name),
        "phone": phone(letter.cabinet_phone, locale).shown if letter.cabinet_phone else "",
        "until": moment(letter.expires_at, time_zone=letter.time_zone, locale=locale),
    }


def _marked_up(names: Mapping[str, str], number: str | None, locale: Locale) -> dict[str, str]:
    """The same names for the HTML part; an empty one stays empty."""
    html = {key: f'<span dir="auto">{escape(name)}</span>' if name else "" for key, name in names.items()}
    html["dossier"] = f"<strong>{html['dossier']}</strong>"
    dialled = phone(number, locale).dialled if number else None
    if dialled:
        html["phone"] = f'<a class="phone" href="tel:{dialled}">{escape(names["phone"])}</a>'
    return html


def _compiled(markup: str) -> str:
    # No fonts: mrml would otherwise link to a font server for some families.
    return mrml.to_html(markup, render_options=mrml.RenderOptions(disable_comments=True, fonts={})).content


@lru_cache
def _slot_name(slot: str) -> bytes:
    return slot.encode()


def _filling(slot: str, value: str) -> bytes:
    # Most of what fills the slots is the same in many mails: the firm, the sentences. A link is nobody else's.
    return (_quoted_printable if slot == "link" else _remembered)(value) + _SOFT_BREAK


def _quoted_printable(text: str) -> bytes:
    # It breaks lines the way the text does, and a value without a line end gets bare newlines.
    return b2a_qp(text.encode(), istext=True).replace(b"=\n", _SOFT_BREAK)


_remembered = lru_cache(maxsize=2048)(_quoted_printable)
