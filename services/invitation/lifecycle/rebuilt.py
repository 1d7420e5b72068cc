"""Rebuilding an invitation from the log: what it once announced tells where it stood. Pure, like the invitation."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from convive_contracts.events import InvitationErased, InvitationState
from invitation.lifecycle.draft import Change, Draft
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.records import Cause, Told
from invitation.lifecycle.schedule import REMINDED, Policy
from invitation.lifecycle.states import State, Trigger, counts


def restored(invitation: Invitation, fact: str, told: InvitationState, cause: Cause, policy: Policy) -> Change | None:
    """A fact that this invitation itself once announced, by its name: it stood there, with these numbers. Older
    facts than the last one folded in change nothing but when the link first went out, so the log may be read twice.
    Reminders go on after the last send that was told."""
    if invitation.rebuilt_to is not None and told.version <= invitation.rebuilt_to:
        return _sent_before(invitation, told, cause, policy) if fact == "sent" else None
    draft = Draft(invitation, cause)
    after = draft.after
    if told.link_sequence != invitation.link_sequence:
        after.wanted_at = after.sent_at = after.remind_at = None
        after.reminders = 0
    after.fell_back = invitation.fell_back or (invitation.channel, told.channel) == ("email", "sms")
    after.state = State(told.state)
    after.channel = told.channel
    after.link_sequence, after.send_sequence = told.link_sequence, told.send_sequence
    after.expires_at, after.reason = told.expires_at, told.reason
    after.rebuilt_to, after.rebuilt_at = told.version, cause.at
    if isinstance(told, InvitationErased) and after.invitee is not None:
        after.erased, after.invitee = True, after.invitee.nameless()
    draft.stop_sending()
    if fact in ("failed", "bounced"):
        draft.end_reminders()
    elif after.state in REMINDED:
        after.sent_at = after.sent_at or cause.at
        after.remind_at = None if fact == "sent" else after.remind_at
        draft.keep_reminder(policy)
    draft.note("rebuilt", {"version": told.version})
    change = draft.done()
    # Receivers know the old numbers: what is announced from here on must be newer.
    after.version = max(after.version, told.version)
    return change


def _sent_before(invitation: Invitation, told: InvitationState, cause: Cause, policy: Policy) -> Change | None:
    """The first send of the link reached the log behind a later one: reminders count from it, as they did."""
    if invitation.sent_at is None or invitation.rebuilt_at is None or invitation.state not in REMINDED:
        return None
    if told.link_sequence != invitation.link_sequence or cause.at >= invitation.sent_at:
        return None
    draft = Draft(invitation, replace(cause, at=invitation.rebuilt_at))
    draft.after.sent_at = cause.at
    draft.plan_reminder(policy)
    draft.note("rebuilt", {"version": told.version})
    return draft.done()


def overtaken(invitation: Invitation, time: datetime, *, again: bool) -> bool:
    """Whether a fact that was folded in tells already what came of something that happened at `time`: `again` when
    all facts are in; before, for a redemption or sign-in that reached the log only after it was revoked, or in a
    new life (when that began here, the log does not tell, but its facts are of a later time)."""
    facts_decide = again or invitation.state is State.REVOKED or invitation.began_at is not None
    return facts_decide and invitation.rebuilt_at is not None and time <= invitation.rebuilt_at


def log_ended(invitation: Invitation, cause: Cause) -> Change | None:
    """All of the log is folded in. A removal in it revokes now if the fact that follows from it is not in it: that
    was lost with the outbox."""
    lost = invitation.removal is not None and not _redeemed_after(invitation, invitation.removal)
    if not (invitation.disarmed and lost and counts(Trigger.REVOKED, invitation.state)):
        return armed(invitation, cause)
    draft = Draft(invitation, cause)
    draft.after.disarmed = False
    draft.stop_sending()
    draft.after.reason = "removed"
    draft.fire(Trigger.REVOKED)
    return draft.done()


def armed(invitation: Invitation, cause: Cause) -> Change | None:
    """The rebuild is over: what is still due may happen again."""
    if not invitation.disarmed:
        return None
    draft = Draft(invitation, cause)
    draft.after.disarmed = False
    draft.note("armed")
    return draft.done()


def _redeemed_after(invitation: Invitation, removal: Told) -> bool:
    """Whether a fact that was folded in says that a redemption came through although the member was removed."""
    told_later = invitation.rebuilt_at is not None and removal.time <= invitation.rebuilt_at
    return told_later and invitation.state is State.PASSWORD_SET
