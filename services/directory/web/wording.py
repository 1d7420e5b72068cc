"""Roles and capabilities as people read them; every text is a msgid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from babel.dates import format_datetime, get_timezone

from directory.web.language import LANGUAGES, Language, msgid, translations


@dataclass(frozen=True, slots=True)
class RoleWords:
    """`may` is said to whoever has the role, `fits` and `means` to whoever gives it."""

    label: str
    may: str
    fits: str = ""
    means: str = ""


ROLES = {
    "expense_approver": RoleWords(
        msgid("Expense approver"),
        msgid("You see every document of the file and approve expense reports."),
        msgid("For the head of the company."),
        msgid("Sees all documents of the file and approves expense reports."),
    ),
    "standard_user": RoleWords(
        msgid("Standard user"),
        msgid("You deposit your documents and see only those you deposited yourself."),
        msgid("For an employee who only deposits slips."),
        msgid("Sees only the documents they have deposited themselves."),
    ),
    "administrator": RoleWords(
        msgid("Administrator"),
        msgid("You can do everything the firm can do in this file."),
        msgid("For a client who keeps the books."),
        msgid("Can do all the firm can do in this file: chart of accounts, automation rules, users."),
    ),
}
# Another publisher may have roles of its own.
OTHER_ROLE = RoleWords(msgid("Guest"), msgid("The firm has chosen what you can see and do in this file."))

CAPABILITIES = {
    "see_all_documents": msgid("See all documents"),
    "see_own_documents": msgid("See the documents you deposited"),
    "approve_expense_reports": msgid("Approve expense reports"),
    "file_own_expense_reports": msgid("File your own expense reports"),
    "manage_chart_of_accounts": msgid("Manage the chart of accounts"),
    "manage_automation_rules": msgid("Manage the automation rules"),
    "manage_users": msgid("Add, change and remove users"),
}


def role_words(role: str) -> RoleWords:
    return ROLES.get(role, OTHER_ROLE)


def role_labels() -> dict[str, dict[str, str]]:
    """What each role is called, by language."""
    say = {language: translations(language).gettext for language in LANGUAGES}
    return {role: {language: say[language](words.label) for language in LANGUAGES} for role, words in ROLES.items()}


_PARIS = get_timezone("Europe/Paris")


def moment(at: datetime, language: Language) -> str:
    """A day and a time, in Paris, as one says them."""
    pattern = "d MMMM 'à' HH:mm" if language == "fr" else "d MMMM 'at' HH:mm"
    return format_datetime(at, pattern, tzinfo=_PARIS, locale=language).replace(" ", "\u00a0")


def day(at: datetime, language: Language) -> str:
    return format_datetime(at, "d MMMM y", tzinfo=_PARIS, locale=language).replace(" ", "\u00a0")


def phone(number: str, language: Language) -> str:
    """A firm's number as its clients write it, without a place to break the line; one that cannot be understood is
    shown as it was given."""
    import phonenumbers  # loaded when it is first needed

    try:
        parsed = phonenumbers.parse(number, "FR")
    except phonenumbers.NumberParseException:
        return number
    at_home = language == "fr" and parsed.country_code == 33
    style = phonenumbers.PhoneNumberFormat.NATIONAL if at_home else phonenumbers.PhoneNumberFormat.INTERNATIONAL
    return phonenumbers.format_number(parsed, style).replace(" ", "\u00a0")


def may(granted: dict[str, bool]) -> list[str]:
    """What somebody may do, without what a larger right already says."""
    return [
        words
        for name, words in CAPABILITIES.items()
        if granted[name] and not (name == "see_own_documents" and granted["see_all_documents"])
    ]
