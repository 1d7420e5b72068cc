"""Where somebody's invitation stands, as the firm reads it, and what to do. Every text is a msgid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from directory.i18n import msgid
from directory.model.member import Member


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody's invitation stands. `kind` is its look: quiet, going, done or wrong."""

    kind: str
    words: str
    advice: str = ""
    at: datetime | None = None
    until: datetime | None = None
    can_resend: bool = False


_SENT = {"email": msgid("Sent by e-mail"), "sms": msgid("Sent by SMS")}
_WORDS = {
    "pending": ("going", msgid("On its way")),
    "opened": ("going", msgid("Opened, no password chosen yet")),
    "password_set": ("done", msgid("Password chosen")),
    "active": ("done", msgid("Accepted")),
    "failed": ("wrong", msgid("Did not arrive")),
    "expired": ("wrong", msgid("The link has expired")),
    "revoked": ("wrong", msgid("Withdrawn")),
    "declined": ("wrong", msgid("Answered “This isn’t me”")),
}
_ADVICE = {
    "expired": msgid("Resend it: the person receives a new link."),
    "revoked": msgid("Remove this user and add them anew to invite them again."),
    "declined": msgid("Ask the person, correct the address if it is somebody else’s, or remove this user."),
}
_WHY = {
    "unknown_address": msgid("This address does not exist. Correct it and the invitation goes out again."),
    "mailbox_full": msgid("The mailbox is full. Tell the person, then resend."),
    "mailbox_disabled": msgid("The mailbox is switched off. Correct the address and the invitation goes out again."),
    "refused_by_policy": msgid("Their mail server refuses our message. Invite by SMS, or ask for another address."),
    "too_large": msgid("The message is too large for the mailbox. Invite by SMS, or ask for another address."),
    "unknown_number": msgid("This number does not exist. Correct it and the invitation goes out again."),
    "number_blocked": msgid("The operator lets no message through to this number. Invite by e-mail."),
    "not_a_mobile": msgid("This is not a mobile number. Correct it, or invite by e-mail."),
    "country_not_allowed": msgid("No text messages go to this country. Invite by e-mail."),
    "too_many_to_number": msgid("Too many text messages went to this number today. Wait a day, or invite by e-mail."),
    "handset_off": msgid("The phone was switched off or out of reach. Resend, or invite by e-mail."),
}
_WHY_ELSE = msgid("Check the address and the number. A correction sends the invitation again, or press Resend.")
NOT_INVITED = Standing("quiet", msgid("Not invited yet"), msgid("Invite them when you are ready."))


def standing(member: Member) -> Standing:
    note = member.invitation
    if note is None:
        return NOT_INVITED if not member.has_signed_in else Standing("done", _WORDS["active"][1])
    alive = note.state in ("sent", "opened")
    kind, words = ("going", _SENT.get(note.channel, _SENT["email"])) if note.state == "sent" else _WORDS[note.state]
    advice = _ADVICE.get(note.state, "")
    if note.state == "failed":
        advice = _WHY.get(note.reason or "", _WHY_ELSE)
    return Standing(
        kind,
        words,
        advice,
        at=note.updated_at,
        until=note.expires_at if alive else None,
        can_resend=note.state in ("pending", "sent", "opened", "failed", "expired", "declined"),
    )
