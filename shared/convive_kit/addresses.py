"""E-mail addresses, phone numbers and names: what is accepted, and the one form each is kept in.

Errors are `Reject` for messages and `ValueError` for pydantic, and their text says what to do without repeating what
was given. The two libraries that judge what is unusual are loaded when it first comes: a start need not wait for them.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated

import idna
from pydantic import AfterValidator, WithJsonSchema

from convive_kit.errors import Reject


class BadEmail(Reject, ValueError):
    """Give an e-mail address such as jeanne@example.com."""

    slug = "bad_email"


class BadPhone(Reject, ValueError):
    """Give a phone number with its country code, such as +33 6 12 34 56 78."""

    slug = "bad_phone"


class NoMobile(Reject, ValueError):
    """This number cannot receive SMS: give a mobile number, such as 06 12 34 56 78, or invite by e-mail."""

    slug = "not_a_mobile"


class BadSender(Reject, ValueError):
    """Give the name that text messages come from: at most 11 letters or digits, without accents or spaces."""

    slug = "bad_sms_sender"


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

    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(text, check_deliverability=False, strict=True).normalized
    except EmailNotValidError:
        # Its own texts quote parts of the address.
        raise BadEmail from None


def email_key(email: str) -> str:
    """What makes two addresses the same login: NFC, ASCII lowercase, IDNA domain. No full case folding: that would
    merge the addresses of different people."""
    if email.isascii():
        return email.lower()
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

    import phonenumbers

    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise BadPhone from None
    if number.extension or not phonenumbers.is_valid_number(number):
        raise BadPhone
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def can_receive_sms(number: str) -> bool:
    """Whether a number in E.164 is of a kind that text messages reach: no landline, premium, shared-cost or service
    number. Where a country does not tell mobiles from landlines (the United States), every number counts."""
    import phonenumbers
    from phonenumbers import PhoneNumberType

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.number_type(parsed) in (PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE)


def a_mobile(number: str) -> str:
    """The number, which is in E.164. Raises `NoMobile`."""
    if not can_receive_sms(number):
        raise NoMobile
    return number


def country_of(number: str) -> str | None:
    """The ISO 3166 code of where a number in E.164 belongs, such as `FR`, `RE`, or `001` for satellite phones."""
    import phonenumbers

    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return None


# What French operators let through: letters, or letters and digits, at most 11 and without spaces
# (https://af2m.org/protection-des-oadc-sensibles).
_SENDER = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]{1,11}")
# Senders that could be anybody's are likely to be blocked (https://www.twilio.com/en-us/guidelines/fr/sms names INFO,
# INFOSMS, VERIFY and NOTIFY); the others are what people of this trade might think of.
_ANYBODY = frozenset(
    """ALERT ALERTE ALERTES AVIS CABINET CLIENT CODE COMPTA COMPTABLE CONFIRM CONTACT DOSSIER IMPOTS INFO INFOS INFOSMS
    INVITATION MESSAGE NEWS NOREPLY NOTICE NOTIF NOTIFY OTP PROMO RAPPEL SECURITE SERVICE SERVICES SMS SMSINFO SUPPORT
    TEST TEXTO URGENT VERIFY""".split()  # noqa: SIM905 (one word a line is no better to read)
)


def clean_sms_sender(text: str) -> str:
    """The name that text messages come from: 1 to 11 ASCII letters and digits, one of them a letter, and no word that
    any firm could go by. Raises `BadSender`."""
    text = text.strip(" ")
    if _SENDER.fullmatch(text) is None:
        raise BadSender
    if text.upper() in _ANYBODY:
        raise BadSender("Operators block senders that could be anybody's, such as INFO or SMS: give the firm's name.")
    return text


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
SmsSender = Annotated[
    str, AfterValidator(clean_sms_sender), WithJsonSchema({"type": "string", "maxLength": 11, "examples": ["LEGER"]})
]
Name = Annotated[str, AfterValidator(clean_name), WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 100})]
