"""What to do about a form that was refused, by field. Every text is a msgid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from convive_kit.http import FieldError, field_errors
from directory.i18n import msgid
from directory.model.refusals import (
    AlreadyIn,
    DossierArchived,
    EmailIsLogin,
    EmailTaken,
    FieldRefused,
    KeyReused,
    MemberGone,
    Refusal,
)

Wrong = Mapping[str, str]
"""What to do, by the field that does not fit; under "" what concerns no field."""


_FIELDS = {
    "first_name": msgid("Type the first name, of at most 100 characters."),
    "last_name": msgid("Type the last name, of at most 100 characters."),
    "employee_code": msgid("Type an employee code of at most 200 characters, or leave it empty."),
    "email": msgid("Type an e-mail address such as jeanne@example.com. It is mandatory: it is their login."),
    "phone": msgid("Type a phone number such as 06 12 34 56 78, or +32 470 12 34 56 for another country."),
    "role": msgid("Choose one of the roles."),
    "invite_by": msgid("Choose how to invite this person."),
    "locale": msgid("Choose one of the languages."),
    "name": msgid("Type the client’s name, of at most 100 characters."),
}
_SMS_NEEDS_PHONE = msgid("Type a mobile number: this person is invited by SMS.")
_NO_MOBILE = msgid("This number cannot receive SMS: type a mobile number, such as 06 12 34 56 78, or invite by e-mail.")
_TWICE = msgid("Another person in this form has this e-mail address: give each their own.")
_TAKEN = msgid("A user of this file already has this e-mail address: manage them in the list, or type another.")
_REFUSALS: Mapping[type[Refusal], tuple[str, str]] = {
    EmailTaken: ("email", _TAKEN),
    EmailIsLogin: (
        "email",
        msgid("They sign in with this e-mail address, so it stays. To change it, remove them and add them anew."),
    ),
    KeyReused: ("", msgid("This form was already sent with other values. Check them, then send it once more.")),
    MemberGone: ("", msgid("This person was removed meanwhile. Add them anew if they are to have access.")),
    DossierArchived: ("", msgid("This client file was archived meanwhile: it can no longer be changed.")),
}
_IN_ALREADY = msgid("This person already has access: no invitation is needed.")
_WITHDRAWN = msgid("This invitation was withdrawn: remove this user and add them anew.")
_ELSE = msgid("This does not fit: check what you have typed.")


def wrong_with(error: ValidationError | Refusal) -> Wrong:
    """What to do about what was typed, by field (`members.0.email` for a person among several)."""
    match error:
        case ValidationError():
            return {fault["field"]: _advice(fault) for fault in _first_of_each(error)}
        case FieldRefused():
            return {error.about["field"]: _advice({"field": error.about["field"], "message": error.detail})}
        case AlreadyIn():
            return {"": _WITHDRAWN if error.about.get("state") == "revoked" else _IN_ALREADY}
        case _:
            field, words = _REFUSALS.get(type(error), ("", _ELSE))
            return {field: words}


def _first_of_each(error: ValidationError) -> Sequence[FieldError]:
    faults = field_errors(error.errors(include_url=False, include_input=False, include_context=False))
    return [fault for number, fault in enumerate(faults) if fault["field"] not in {f["field"] for f in faults[:number]}]


def _advice(fault: FieldError) -> str:
    field, message = fault["field"].rpartition(".")[2], fault["message"]
    if field in ("phone", "invite_by") and "cannot receive SMS" in message:
        return _NO_MOBILE
    if field == "phone" and "is needed" in message:
        return _SMS_NEEDS_PHONE
    if field == "invite_by" and "Add a phone number" in message:
        return _SMS_NEEDS_PHONE
    if field == "email" and "Another member" in message:
        return _TWICE
    return _FIELDS.get(field, _ELSE)
