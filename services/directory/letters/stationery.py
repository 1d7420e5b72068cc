"""Letters as mails: a text part and an HTML part from the templates of their kind, and the fields of their head.

A kind is two templates, `<kind>.txt`, whose first line is the subject, and `<kind>.html`, and a writer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from pathlib import Path
from typing import Any, cast

import idna
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_eval_context, select_autoescape
from jinja2.nodes import EvalContext
from markupsafe import Markup

from directory.i18n import LANGUAGES, Language, translations
from directory.letters.letters import Letter

_TEMPLATES = Path(__file__).parent / "templates"


class UnusableAddress(ValueError):
    """The e-mail address cannot stand in a header."""


@dataclass(frozen=True, slots=True)
class Written:
    """What stands in one letter: to whom, and the values of its kind's templates. `unsubscribe` is an address at which
    a POST, by a mail program without a cookie, ends letters of this kind."""

    to: str
    values: Mapping[str, Any]
    unsubscribe: str | None = None


class Stationery:
    """Makes mails; reads a template when it is first needed."""

    def __init__(self, mail_from: str) -> None:
        """`mail_from` is the bare address that mails come from; its domain also stands in every Message-ID."""
        self.sender = mail_from
        self._domain = mail_from.rpartition("@")[2]
        self._environments = {language: _environment(language) for language in LANGUAGES}

    def write(self, letter: Letter, written: Written, now: datetime) -> EmailMessage:
        """The whole message. Raises UnusableAddress when the letter goes to what is not plainly one address."""
        to = _address(written.to)
        templates = self._environments[letter.language]
        text = templates.get_template(f"{letter.kind}.txt").render(written.values)
        subject, _, body = text.partition("\n")
        html = templates.get_template(f"{letter.kind}.html").render(written.values, subject=subject)
        message = EmailMessage(SMTP if to.username.isascii() else SMTPUTF8)
        message["From"] = Address("Convive", addr_spec=self.sender)
        message["To"] = to
        message["Subject"] = subject
        message["Date"] = format_datetime(now.astimezone(UTC))
        message["Message-ID"] = f"<{letter.id}@{self._domain}>"
        message["Content-Language"] = letter.language
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence is told to us
        message["X-Auto-Response-Suppress"] = "All"
        if written.unsubscribe:  # RFC 8058
            message["List-Unsubscribe"] = f"<{written.unsubscribe}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(body.strip() + "\n")
        message.add_alternative(html, subtype="html")
        return message


def _address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    try:
        return Address(username=local, domain=domain if domain.isascii() else idna.encode(domain, uts46=True).decode())
    except ValueError as error:  # IDNAError is one
        raise UnusableAddress from error


def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        extensions=["jinja2.ext.i18n"],
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    untyped = cast("Any", environment)  # jinja2 leaves the types of its tables open
    untyped.install_gettext_translations(translations(language), newstyle=True)
    untyped.globals["language"] = language
    untyped.filters["name"] = _isolated
    return environment


@pass_eval_context
def _isolated(context: EvalContext, text: str) -> str:
    """A name whose direction cannot disturb the sentence around it."""
    return Markup("<bdi>{}</bdi>").format(text) if context.autoescape else f"\u2068{text}\u2069"
