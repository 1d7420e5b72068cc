"""Why an invitation came to nothing, as the firm reads it; every text is a msgid."""

from __future__ import annotations

from directory.i18n import msgid
from directory.model.member import InvitationNote

REASONS = {
    "unknown_address": msgid("This e-mail address does not exist: correct it."),
    "mailbox_full": msgid("The mailbox is full."),
    "mailbox_disabled": msgid("The mailbox is switched off."),
    "refused_by_policy": msgid("The mail server of the address refuses the message."),
    "too_large": msgid("The message is too large for the mailbox."),
    "undeliverable": msgid("The mail could not be delivered."),
    "unknown_number": msgid("This phone number does not exist: correct it."),
    "number_blocked": msgid("The operator lets no such message through to this number."),
    "handset_off": msgid("The phone was switched off or out of reach."),
    "expired": msgid("The text message could not be delivered in time."),
    "not_delivered": msgid("The text message could not be delivered."),
}
"""By the slug of a message that was refused or came back (`BOUNCE_REASONS`)."""
OTHER_REASON = msgid("The message could not be delivered.")
DECLINED = msgid("Answered: “This isn’t me”.")
EXPIRED = msgid("The link has expired without being used.")


def what_happened(invitation: InvitationNote) -> str:
    """For an invitation that failed, was declined or has expired."""
    match invitation.state:
        case "declined":
            return DECLINED
        case "expired":
            return EXPIRED
        case _:
            return REASONS.get(invitation.reason or "", OTHER_REASON)
