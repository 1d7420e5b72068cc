"""What each event means for invitations, as decisions that whoever handles or rebuilds can carry out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from convive_contracts.envelope import Event
from convive_contracts.events import (
    DIRECTORY_SOURCE,
    AccountRedeemed,
    AccountSignedIn,
    InvitationRequest,
    UserCreated,
    invitation_id,
)
from convive_kit.addresses import a_mobile
from convive_kit.errors import Reject
from invitation.invitees import invitee_of
from invitation.lifecycle.invitation import Cause, Change, Invitation, Told
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Decide


class ForeignSource(Reject):
    """Only the directory may say this."""

    slug = "foreign_source"


class NothingToDo(Reject):
    """The invitation service handles no events of this type."""

    slug = "nothing_to_do"


class NoPhone(Reject):
    """An invitation by SMS needs the member's phone number."""

    slug = "no_phone"


@dataclass(frozen=True, slots=True)
class Decision:
    """What an event means for one invitation. `begins`: it may be the first that is heard of it."""

    invitation_id: str
    decide: Decide
    begins: bool = False


def decisions(event: Event, cause: Cause, policy: Policy) -> list[Decision]:
    """The decisions that follow from an event; pure. Raises `Reject` for what can never be handled."""
    make = _MAKERS.get(event.short_type)
    if make is None:
        raise NothingToDo(f"{event.short_type} is nothing that the invitation service handles")
    return make(event, cause, policy)


def told(event: Event) -> Told:
    """How current an event is."""
    return Told(event.time, event.sequence)


def from_directory(event: Event) -> None:
    """Refuse what anybody but the directory says of accounts, cabinets and dossiers."""
    if event.source != DIRECTORY_SOURCE:
        raise ForeignSource


def _about_the_member(event: Event, decide: Decide) -> list[Decision]:
    return [Decision(invitation_id(event.source, event.subject), decide, begins=True)]


def _user_created(event: Event, cause: Cause, policy: Policy) -> list[Decision]:
    data = cast("UserCreated", event.data)
    invitee = invitee_of(data)

    def decide(invitation: Invitation) -> Change | None:
        change = invitation.created(invitee, data.invite_by, told(event), cause, policy)
        if change is not None:
            change.after.correlation_id = event.correlation_id or event.id
        return change

    return _about_the_member(event, decide)


def _user_updated(event: Event, cause: Cause, policy: Policy) -> list[Decision]:
    invitee = invitee_of(cast("UserCreated", event.data))
    return _about_the_member(event, lambda i: i.details_changed(invitee, told(event), cause, policy))


def _user_removed(event: Event, cause: Cause, _: Policy) -> list[Decision]:
    return _about_the_member(event, lambda i: i.was_removed(told(event), cause))


def _account_redeemed(event: Event, cause: Cause, _: Policy) -> list[Decision]:
    from_directory(event)
    data = cast("AccountRedeemed", event.data)

    def decide(invitation: Invitation) -> Change | None:
        if invitation.of_an_earlier_life(event.time, data.link_sequence):
            return None
        # Whoever accepts with an account that exists proves at that moment that they can sign in: the directory will
        # not tell of a sign-in besides.
        signed_in = data.credential == "existing"
        return invitation.redeemed(data.account_id, data.credential, cause, signed_in=signed_in)

    return [Decision(data.invitation_id, decide)]


def _account_signed_in(event: Event, cause: Cause, _: Policy) -> list[Decision]:
    from_directory(event)
    data = cast("AccountSignedIn", event.data)

    def decide(invitation: Invitation) -> Change | None:
        link = data.link_sequences.get(invitation.id)
        return None if invitation.of_an_earlier_life(event.time, link) else invitation.signed_in(data.account_id, cause)

    return [Decision(id, decide) for id in data.invitation_ids]


def _resend_requested(event: Event, cause: Cause, policy: Policy) -> list[Decision]:
    data = cast("InvitationRequest", event.data)
    because = _because(cause, data)

    def decide(invitation: Invitation) -> Change | None:
        if data.channel == "sms":
            if invitation.invitee is None or invitation.invitee.phone is None:
                raise NoPhone
            a_mobile(invitation.invitee.phone)
        return invitation.resent(data.channel, because, policy)

    return [Decision(data.invitation_id, decide)]


def _revoke_requested(event: Event, cause: Cause, _: Policy) -> list[Decision]:
    data = cast("InvitationRequest", event.data)
    because = _because(cause, data)
    return [Decision(data.invitation_id, lambda i: i.revoked("requested", because))]


_MAKERS: dict[str, Callable[[Event, Cause, Policy], list[Decision]]] = {
    "user.created": _user_created,
    "user.updated": _user_updated,
    "user.removed": _user_removed,
    "account.redeemed": _account_redeemed,
    "account.signed_in": _account_signed_in,
    "invitation.resend_requested": _resend_requested,
    "invitation.revoke_requested": _revoke_requested,
}


def _because(cause: Cause, request: InvitationRequest) -> Cause:
    said = {"reason": request.reason, "requested_by": request.requested_by}
    return replace(cause, detail={**(cause.detail or {}), **{what: text for what, text in said.items() if text}})
