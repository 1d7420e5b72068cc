"""E-mail addresses, phone numbers and names: what is accepted, and the one form each is kept in.

Errors are `Reject` for messages and `ValueError` for pydantic, and their text says what to do without repeating what
was given.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

import idna
import phonenumbers
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, WithJsonSchema

from convive_kit.errors import Reject


class BadEmail(Reject, ValueError):
    """Give an e-mail address such as jeanne@example.com."""

    slug = "bad_email"


class BadPhone(Reject, ValueError):
    """Give a phone number with its country code, such as +33 6 12 34 56 78."""

    slug = "bad_phone"


class BadName(Reject, ValueError):
    """Give a name of 1 to 100 characters without line breaks or control characters."""

    slug = "bad_name"


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# A strict subset of what email-validator accepts: most addresses, for a hundredth of the time. No `xn--`, no
# hyphens at the third and fourth place, and none of the reserved names it refuses.
_USUAL_EMAIL = re.compile(
    rf"(?=[^@]{{1,64}}@)[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*"
    rf"@(?=.{{1,185}}\Z)(?:(?!..--){_LABEL}\.)+(?:com|fr|org|net|eu|be|ch|lu)"
)


def normalise_email(text: str) -> str:
    """The address as mail is sent to it: trimmed, NFC, the domain in lowercase; the local part keeps its case."""
    text = text.strip(" ")
    if _USUAL_EMAIL.fullmatch(text):
        return text
    if any(unicodedata.category(character) in _UNSEEN for character in text):
        raise BadEmail
    try:
        return validate_email(text, check_deliverability=False, strict=True).normalized
    except EmailNotValidError:
        # Its own texts quote parts of the address.
        raise BadEmail from None


def email_key(email: str) -> str:
    """What makes two addresses the same login: NFC, ASCII lowercase, IDNA domain. No full case folding: that would
    merge the addresses of different people."""
    local, _, domain = unicodedata.normalize("NFC", email).rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            raise BadEmail from None
    return f"{local.translate(_ASCII_LOWER)}@{domain.translate(_ASCII_LOWER)}"


_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def normalise_phone(text: str, region: str = "FR") -> str:
    """The number in E.164. A national number is taken to be of `region`."""
    if len(text) > 40:
        raise BadPhone
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise BadPhone from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise BadPhone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


# Control characters, halves of surrogate pairs, line and paragraph separators.
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})
# Embeddings, overrides and isolates reorder the text around them; right-to-left letters need none of these.
_REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_name(text: str) -> str:
    """A person's, dossier's or firm's name, stripped: 1 to 100 characters of any script."""
    text = unicodedata.normalize("NFC", text).strip()
    if not 1 <= len(text) <= 100 or not all(map(_may_be_in_name, text)):
        raise BadName
    if text.isascii() or any(unicodedata.category(character) not in ("Cf", "Mn", "Me") for character in text):
        return text
    raise BadName  # nothing of it can be seen


def _may_be_in_name(character: str) -> bool:
    return unicodedata.category(character) not in _UNSEEN and character not in _REORDERING


Email = Annotated[
    str, AfterValidator(normalise_email), WithJsonSchema({"type": "string", "format": "email", "maxLength": 254})
]
Phone = Annotated[
    str, AfterValidator(normalise_phone), WithJsonSchema({"type": "string", "examples": ["+33612345678"]})
]
Name = Annotated[str, AfterValidator(clean_name), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100})]
