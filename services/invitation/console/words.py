"""What the console calls things; all are msgids. A state has a shape beside its word: colour says nothing alone."""

from __future__ import annotations

from dataclasses import dataclass

from invitation.i18n import msgid
from invitation.lifecycle.states import State


@dataclass(frozen=True, slots=True)
class Look:
    """`shape` is a path in a box of 16 by 16."""

    word: str
    shape: str


_CIRCLE = "M8 1.5a6.5 6.5 0 1 0 0 13a6.5 6.5 0 1 0 0-13z"
_CLOCK = f"{_CIRCLE}M8 3a5 5 0 1 1 0 10a5 5 0 1 1 0-10zM7.3 4.5h1.4v3.2l2.2 1.6l-.8 1.2l-2.8-2z"
_PAPER_PLANE = "M1 8.2L15 1.5L11.6 14.5L7.8 10.4L5.6 14L5.4 9.8z"
_HALF = f"{_CIRCLE}M8 3a5 5 0 0 1 0 10z"
_LOCK = "M5 7V5a3 3 0 0 1 6 0v2h1.5v7.5h-9V7zM6.6 7h2.8V5a1.4 1.4 0 0 0-2.8 0z"
_TICK = f"{_CIRCLE}M4.2 8.4L5.5 7.1L7.2 8.8L10.7 5.2L12 6.5L7.2 11.4z"
_CROSS = "M3.2 1.8L8 6.6l4.8-4.8l1.4 1.4L9.4 8l4.8 4.8l-1.4 1.4L8 9.4l-4.8 4.8l-1.4-1.4L6.6 8L1.8 3.2z"
_HOURGLASS = "M3 1.5h10v1.8L9.2 8L13 12.7v1.8H3v-1.8L6.8 8L3 3.3z"
_BARRED = f"{_CIRCLE}M3.8 7h8.4v2H3.8z"
_FLAG = "M2.5 1.5h11v13L8 11l-5.5 3.5z"

STATES = {
    State.PENDING: Look(msgid("pending"), _CLOCK),
    State.SENT: Look(msgid("sent"), _PAPER_PLANE),
    State.OPENED: Look(msgid("opened"), _HALF),
    State.PASSWORD_SET: Look(msgid("password set"), _LOCK),
    State.ACTIVE: Look(msgid("active"), _TICK),
    State.FAILED: Look(msgid("failed"), _CROSS),
    State.EXPIRED: Look(msgid("expired"), _HOURGLASS),
    State.REVOKED: Look(msgid("revoked"), _BARRED),
    State.DECLINED: Look(msgid("declined"), _FLAG),
}

CHANNELS = {"email": msgid("by e-mail"), "sms": msgid("by SMS"), "none": msgid("not invited")}

SPANS = {
    "PT15M": msgid("15 minutes"),
    "PT1H": msgid("an hour"),
    "PT6H": msgid("6 hours"),
    "P1D": msgid("a day"),
    "P7D": msgid("a week"),
}

TRIGGERS = {
    "created": msgid("Announced by its publisher"),
    "created_again": msgid("Added again after a removal"),
    "updated": msgid("Details changed"),
    "removed": msgid("Removal told late"),
    "accepted": msgid("Taken by the provider"),
    "delivered": msgid("Delivered"),
    "bounced": msgid("Came back undelivered"),
    "reminded": msgid("Time for a reminder"),
    "deferred": msgid("Attempt failed, to be tried again"),
    "refused": msgid("Attempt failed after its time"),
    "gave_up": msgid("Given up"),
    "opened": msgid("Opened by a person"),
    "redeemed": msgid("Password set"),
    "signed_in": msgid("Signed in"),
    "resend": msgid("New link asked for"),
    "address_changed": msgid("Address changed, new link"),
    "renew": msgid("New link asked for by the person"),
    "extended": msgid("Link extended"),
    "expired": msgid("Link expired"),
    "declined": msgid("Declined: “This isn’t me”"),
    "revoked": msgid("Revoked"),
    "rebuilt": msgid("Rebuilt from the log"),
    "armed": msgid("Rebuilding finished"),
    "erased": msgid("Person erased"),
    "forgotten": msgid("Person forgotten, after the time that data is kept"),
}

REASONS = {
    "unknown_address": msgid("This e-mail address does not exist."),
    "mailbox_full": msgid("The mailbox is full."),
    "mailbox_disabled": msgid("The mailbox is switched off."),
    "refused_by_policy": msgid("The mail server of the address refuses the message."),
    "too_large": msgid("The message is too large for the mailbox."),
    "undeliverable": msgid("The mail could not be delivered."),
    "unknown_number": msgid("This phone number does not exist."),
    "number_blocked": msgid("The operator lets no such message through to this number."),
    "not_a_mobile": msgid("Text messages do not reach this phone number: it is not a mobile number."),
    "country_not_allowed": msgid("No text messages are sent to the country of this phone number."),
    "too_many_to_number": msgid("Too many text messages went to this phone number within a day."),
    "sender_refused": msgid("The operator does not take the name that the message comes from."),
    "handset_off": msgid("The phone was switched off or out of reach."),
    "expired": msgid("The text message could not be delivered in time."),
    "not_delivered": msgid("The text message could not be delivered."),
    "no_phone": msgid("No phone number is known."),
    "attempts_used_up": msgid("The message was not taken, however often it was tried."),
}
"""Why a message did not arrive, by its slug (`BOUNCE_REASONS`); any other reason is shown as it is."""

ACTORS = {
    "person": msgid("the person"),
    "provider": msgid("the provider"),
    "system": msgid("Convive"),
    "ops": msgid("an operator (the token of the settings)"),
    "ops:": msgid("%(name)s, operator"),
    "cabinet:": msgid("the firm %(name)s"),
    "event:": msgid("an event of %(name)s"),
}
"""Who did something; what ends in a colon is followed by a name."""

DONE = {
    "resend": msgid("A new link is on its way; the one before no longer works."),
    "revoke": msgid("The invitation is revoked: no link works any more."),
    "extend": msgid("The link now works for longer."),
    "correct": msgid("The address is corrected; where it changed, a new link goes out."),
    "saved": msgid("The view is saved."),
    "removed": msgid("The view is removed."),
    "replayed": msgid("The message was handled."),
    "edited": msgid("A corrected copy is parked: this one. Handle it again when it is right."),
    "token_revoked": msgid("The token is revoked."),
    "discarded": msgid("The message is out of sight. It is kept."),
}

ACTIONS = {"resend": msgid("Resend"), "revoke": msgid("Revoke"), "extend": msgid("Extend")}

OUTCOMES = {
    "begun": msgid("begun, and cut off"),
    "done": msgid("done"),
    "refused": msgid("not allowed"),
    "failed": msgid("went wrong"),
}

PARKED = {
    "waiting": msgid("set aside, to be tried again by itself"),
    "parked": msgid("parked"),
    "replayed": msgid("handled at last"),
    "edited": msgid("replaced by a corrected copy"),
    "discarded": msgid("discarded"),
}

RUNS = {
    "running": msgid("Under way"),
    "paused": msgid("Paused"),
    "done": msgid("Finished"),
    "aborted": msgid("Aborted"),
    "failed": msgid("Broken off by an error"),
}

PROBLEMS = {
    "wrong_state": msgid("This cannot be done in the state the invitation is in."),
    "email_taken": msgid("Somebody in this file has that e-mail address already."),
    "invalid_fields": msgid("Something in the form does not fit."),
    "foreign_form": msgid(
        "This form is not from a page of yours that is still current. Open the page again and repeat it."
    ),
    "malformed": msgid("It was refused again: it is not shaped as its type asks."),
    "unknown_type": msgid("It was refused again: nobody knows its type."),
    "already_settled": msgid("Somebody has dealt with this message already."),
    "not_whole": msgid("Only the beginning of this message was kept: have it published again."),
    "not_allowed": msgid("Your token does not allow this."),
    "not_found": msgid("There is nothing here."),
    "too_many_requests": msgid("Too many attempts. Wait a little, then try again."),
    "database_away": msgid("The database does not answer at the moment. Try again shortly."),
    "directory_away": msgid("The directory does not answer at the moment. Try again shortly."),
}
OTHER_PROBLEM = msgid("Something went wrong.")

MESSAGES = (
    msgid("give at least one criterion in `filter`"),
    msgid("`until` belongs to the action extend, and extend needs it"),
    msgid("`channel` belongs to the action resend"),
    msgid("must lie in the future"),
    msgid("must lie within a year"),
    msgid("Give an e-mail address such as jeanne@example.com."),
    msgid("Give the right email, the right phone, or both."),
    msgid("give the beginning of a name or an e-mail address"),
    msgid("This member has no phone number: give one first, or use email."),
    msgid("This number cannot receive SMS: give a mobile number, such as 06 12 34 56 78, or invite by e-mail."),
    msgid("This is not a cursor of this list; start without one."),
)
"""What the API says of fields, as far as operators are likely to read it; anything else is shown as it is said."""
