"""Words that mails and pages share: who invites, roles, moments, telephone numbers, and names made safe to print."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from babel.dates import format_datetime

from invitation.i18n import Locale, msgid

FIRST_STRONG_ISOLATE = "\u2068"
POP_ISOLATE = "\u2069"

INVITED = msgid("%(cabinet)s invites you to join the online file “%(dossier)s”.")
INVITED_BY = msgid("%(person)s of %(cabinet)s invites you to join the online file “%(dossier)s”.")
CONTACT = msgid("A question? Please ask %(cabinet)s.")
CONTACT_BY_PHONE = msgid("A question? %(cabinet)s answers on %(phone)s.")


@dataclass(frozen=True, slots=True)
class RoleWords:
    """A role as its holder reads it; both are msgids."""

    label: str
    may: str


ROLES: dict[str, RoleWords] = {
    "expense_approver": RoleWords(
        msgid("Expense approver"), msgid("You see every document of the file and approve expense reports.")
    ),
    "standard_user": RoleWords(
        msgid("Standard user"), msgid("You deposit your documents and see only those you deposited yourself.")
    ),
    "administrator": RoleWords(
        msgid("Administrator"),
        msgid(
            "You can do everything the firm does in this file, the chart of accounts and the automation rules included."
        ),
    ),
}
# A role may be added by the firm's side before this service knows its words.
OTHER_ROLE = RoleWords(msgid("Guest"), msgid("The firm has chosen what you can see and do in this file."))
OWN_EXPENSES = msgid("You can also file your own expense reports.")


def role_words(role: str) -> RoleWords:
    return ROLES.get(role, OTHER_ROLE)


# Controls, line and paragraph separators, half surrogates, and every mark that would turn the direction of the text
# around a name: none of them belongs to a name, each of them can forge what stands beside it.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]+")
_SPACES = re.compile(" {2,}")


def plain(text: str) -> str:
    """A name as one printable line."""
    if text.isascii() and text.isprintable() and "  " not in text:
        return text.strip(" ")
    return _SPACES.sub(" ", _UNPRINTABLE.sub(" ", text)).strip(" ")


def isolated(name: str) -> str:
    """A name whose direction cannot disturb the sentence around it (Unicode UAX 9, first-strong isolate).

    Left-to-right names stay as they are: some mail programs draw the isolates as boxes.
    """
    # Every right-to-left script lies above Latin, Greek and Cyrillic.
    if name.isascii() or max(name) < "\u0590":
        return name
    if any(unicodedata.bidirectional(character) in {"R", "AL", "AN"} for character in name):
        return f"{FIRST_STRONG_ISOLATE}{name}{POP_ISOLATE}"
    return name


_MOMENT: dict[Locale, str] = {
    "fr": "EEEE d\u00a0MMMM y 'à' H\u00a0'h'\u00a0mm (VVV)",
    "en": "EEEE d\u00a0MMMM y 'at' HH:mm (VVV)",
}


def moment(at: datetime, *, time_zone: str, locale: Locale) -> str:
    """A moment as the person reads it, to the minute below, in their own time zone, which is named."""
    return _moment(at.replace(second=0, microsecond=0), time_zone, locale)


@lru_cache(maxsize=4096)
def _moment(at: datetime, time_zone: str, locale: Locale) -> str:
    pattern = _MOMENT[locale]
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        # What a foreign publisher calls a time zone may be none.
        zone, pattern = ZoneInfo("UTC"), pattern.replace("VVV", "'UTC'")
    local = at.astimezone(zone)
    if locale == "fr" and local.day == 1:
        # "1er mai", but "2 mai".
        pattern = pattern.replace("d\u00a0", "d'er'\u00a0")
    return format_datetime(local, pattern, tzinfo=zone, locale=locale)


@dataclass(frozen=True, slots=True)
class Phone:
    shown: str
    # For a `tel:` link; None where the number could not be understood.
    dialled: str | None


@lru_cache(maxsize=4096)
def phone(number: str, locale: Locale) -> Phone:
    """A firm's number as its clients write it; one that cannot be understood is shown as it was given."""
    import phonenumbers  # loaded when it is first needed

    shown = plain(number)
    try:
        parsed = phonenumbers.parse(shown, "FR")
    except phonenumbers.NumberParseException:
        return Phone(shown, None)
    if not phonenumbers.is_possible_number(parsed):
        return Phone(shown, None)
    at_home = locale == "fr" and parsed.country_code == 33
    style = phonenumbers.PhoneNumberFormat.NATIONAL if at_home else phonenumbers.PhoneNumberFormat.INTERNATIONAL
    return Phone(
        # No line break inside a number.
        phonenumbers.format_number(parsed, style).replace(" ", "\u00a0"),
        phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164),
    )


def masked(address: str) -> str:
    """`j•••@example.com`: enough to recognise one's own address, too little to learn another's."""
    local, _, domain = plain(address).rpartition("@")
    return f"{local[:1]}•••@{domain}"
