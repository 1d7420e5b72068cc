"""The end of what is known of a person: names and addresses go, what happened stays without them."""

from __future__ import annotations

from invitation.lifecycle.draft import Change, Draft
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.records import Cause
from invitation.lifecycle.states import Trigger, counts


def erase(invitation: Invitation, cause: Cause) -> Change | None:
    """Erase a person, who may have asked for it: no link works from here on, others are told, and nothing that is
    said of this member later brings the names back. None when it was done before."""
    if invitation.erased:
        return None
    draft = Draft(invitation, cause)
    draft.after.erased = True
    _blank(draft)
    if counts(Trigger.REVOKED, invitation.state):
        draft.stop_sending()
        draft.after.reason = "erased"
        draft.fire(Trigger.REVOKED)
    else:
        draft.note("erased")
    draft.tell("erased")
    return draft.done()


def forget(invitation: Invitation, cause: Cause) -> Change | None:
    """Names and addresses have been kept long enough. Where it stands is left alone, nobody is told, and what the
    publisher says of the member later is kept anew. None when there is nothing to forget."""
    if invitation.invitee is None or invitation.invitee == invitation.invitee.nameless():
        return None
    draft = Draft(invitation, cause)
    _blank(draft)
    draft.note("forgotten")
    return draft.done()


def _blank(draft: Draft) -> None:
    if draft.after.invitee is not None:
        draft.after.invitee = draft.after.invitee.nameless()
