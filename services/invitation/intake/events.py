"""From event to invitation. Handlers read as if one message existed; the store groups what they save.

A handler returns once everything is committed. It raises `Retry` when a dependency is away and `Reject` when the
message can never be handled, which parks it with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

import structlog

from convive_contracts import topology
from convive_contracts.envelope import Event, parse_event
from convive_contracts.events import (
    DIRECTORY_SOURCE,
    AccountRedeemed,
    AccountSignedIn,
    CabinetState,
    DossierState,
    InvitationRequest,
    UserCreated,
    UserRemoved,
    invitation_id,
)
from convive_kit.addresses import email_key, normalise_email
from convive_kit.bus import Incoming
from convive_kit.errors import Reject
from invitation.lifecycle.invitation import Cause, Change, Invitation, Invitee, Told, then
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Decide, Store, decide_and_save, decide_or_begin

if TYPE_CHECKING:
    from invitation.delivery.slots import Delivery

log = structlog.stdlib.get_logger(__name__)

UNKNOWN_IS_TRIED_FOR = timedelta(minutes=10)
_MOST_WAITING = 50
"""Requests about unknown invitations that wait at the same time; they must not fill the whole prefetch."""


class UnknownInvitation(Reject):
    """There is no such invitation, and there was none for ten minutes."""

    slug = "unknown_invitation"

    def __init__(self) -> None:
        super().__init__(self.message())


class ForeignSource(Reject):
    """Only the directory may say this."""

    slug = "foreign_source"

    def __init__(self) -> None:
        super().__init__(self.message())


class NoPhone(Reject):
    """An invitation by SMS needs the member's phone number."""

    slug = "no_phone"

    def __init__(self) -> None:
        super().__init__(self.message())


class Intake:
    """Handles every event that concerns invitations, each once."""

    def __init__(
        self,
        store: Store,
        delivery: Delivery,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        due_changed: Callable[[], None],
    ) -> None:
        """`due_changed` is called when something became due that this process has no place for."""
        self._store = store
        self._delivery = delivery
        self._policy = policy
        self._now = now
        self._due_changed = due_changed
        self._waiting = 0
        self._handlers: dict[str, Callable[[Event], Awaitable[None]]] = {
            "user.created": self._user_created,
            "user.updated": self._user_updated,
            "user.removed": self._user_removed,
            "account.redeemed": self._account_redeemed,
            "account.signed_in": self._account_signed_in,
            "cabinet.updated": self._cabinet_updated,
            "dossier.updated": self._dossier_updated,
            "invitation.resend_requested": self._resend_requested,
            "invitation.revoke_requested": self._revoke_requested,
        }

    async def handle(self, message: Incoming) -> None:
        """Read the message as an event and have its handler commit what follows from it."""
        event = parse_event(message.body, content_type=message.content_type, headers=message.headers)
        handler = self._handlers.get(event.short_type)
        if handler is None:
            raise Reject(f"{event.short_type} is nothing that the invitation service handles")
        with structlog.contextvars.bound_contextvars(correlation_id=event.correlation_id or event.id):
            await handler(event)

    # --- members ---------------------------------------------------------------------------------------------------

    async def _user_created(self, event: Event) -> None:
        data = cast("UserCreated", event.data)
        invitee = _invitee(data)
        id = invitation_id(event.source, event.subject)
        now = self._now()
        cause = self._cause(event, now)
        reserved = data.invite_by != "none" and self._delivery.reserve(data.invite_by)

        def decide(invitation: Invitation) -> Change | None:
            change = invitation.created(invitee, data.invite_by, _told(event), cause, self._policy)
            if change is None:
                return None
            change.after.correlation_id = event.correlation_id or event.id
            if reserved and change.after.wants_sending(now):
                # The claim goes into the same write: the intent is on disk before the effect, at no extra cost.
                return then(change, change.after.claimed(self._delivery.owner, now, self._policy))
            return change

        change = None
        try:
            change = await decide_or_begin(self._store, lambda: Invitation.blank(id, event.source, now), decide)
        finally:
            claimed = reserved and change is not None and _takes_the_lease(change)
            if reserved and not claimed:
                self._delivery.give_back(data.invite_by)
        if change is not None and claimed:
            self._delivery.start(change.after)
        elif change is not None and change.after.send_at is not None:
            self._due_changed()

    async def _user_updated(self, event: Event) -> None:
        invitee = _invitee(cast("UserCreated", event.data))
        cause = self._cause(event)
        await self._tell(event, lambda i: i.details_changed(invitee, _told(event), cause, self._policy))

    async def _user_removed(self, event: Event) -> None:
        removed = cast("UserRemoved", event.data)
        cause = self._cause(event)
        if removed.member.id != event.subject:  # the envelope has checked it; a tombstone is worth a second look
            raise Reject("subject must be the id of the member")
        await self._tell(event, lambda i: i.was_removed(_told(event), cause))

    async def _tell(self, event: Event, decide: Decide) -> None:
        id = invitation_id(event.source, event.subject)
        now = self._now()
        change = await decide_or_begin(self._store, lambda: Invitation.blank(id, event.source, now), decide)
        if change is not None and change.after.send_at is not None:
            self._due_changed()

    # --- accounts --------------------------------------------------------------------------------------------------

    async def _account_redeemed(self, event: Event) -> None:
        data = cast("AccountRedeemed", event.data)
        self._from_directory(event)
        cause = self._cause(event)
        await self._when_known(event, data.invitation_id, lambda i: i.redeemed(data.account_id, data.credential, cause))

    async def _account_signed_in(self, event: Event) -> None:
        data = cast("AccountSignedIn", event.data)
        self._from_directory(event)
        cause = self._cause(event)
        for id in data.invitation_ids:
            await self._when_known(event, id, lambda i: i.signed_in(data.account_id, cause))

    # --- names -----------------------------------------------------------------------------------------------------

    async def _cabinet_updated(self, event: Event) -> None:
        self._from_directory(event)
        await self._store.learn_cabinet(cast("CabinetState", event.data), _order(event))

    async def _dossier_updated(self, event: Event) -> None:
        self._from_directory(event)
        await self._store.learn_dossier(cast("DossierState", event.data), _order(event))

    # --- requests --------------------------------------------------------------------------------------------------

    async def _resend_requested(self, event: Event) -> None:
        data = cast("InvitationRequest", event.data)
        cause = self._cause(event, detail={"reason": data.reason} if data.reason else None)

        def decide(invitation: Invitation) -> Change | None:
            invitee = invitation.invitee
            if data.channel == "sms" and (invitee is None or invitee.phone is None):
                raise NoPhone
            return invitation.resent(data.channel, cause, self._policy)

        await self._when_known(event, data.invitation_id, decide)

    async def _revoke_requested(self, event: Event) -> None:
        data = cast("InvitationRequest", event.data)
        cause = self._cause(event, detail={"reason": data.reason} if data.reason else None)
        await self._when_known(event, data.invitation_id, lambda i: i.revoked("requested", cause))

    async def _when_known(self, event: Event, id: str, decide: Decide) -> None:
        """Decide about an invitation that the event names. It may be younger than the event here: unknown, it is tried
        again for ten minutes by the event's own time (or from now, where that lies ahead), then parked."""
        since = min(event.time, self._now())
        pause = 0.2
        while True:
            known = False

            def decide_if_known(invitation: Invitation) -> Change | None:
                nonlocal known
                # What an update that came first has left is held until the invitation itself begins.
                known = invitation.announced or invitation.removed
                return decide(invitation) if known else None

            change = await decide_and_save(self._store, id, decide_if_known)
            if known:
                if change is not None and change.after.send_at is not None:
                    self._due_changed()
                return
            if self._now() - since > UNKNOWN_IS_TRIED_FOR or self._waiting >= _MOST_WAITING:
                raise UnknownInvitation
            self._waiting += 1
            try:
                await asyncio.sleep(pause)
            finally:
                self._waiting -= 1
            pause = min(pause * 2, 10.0)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _cause(self, event: Event, now: datetime | None = None, detail: dict[str, object] | None = None) -> Cause:
        return Cause(now or self._now(), f"event:{event.source}", event.id, detail)

    @staticmethod
    def _from_directory(event: Event) -> None:
        if event.source != DIRECTORY_SOURCE:
            raise ForeignSource


CONSUMED = (topology.INVITATION_EVENTS, topology.INVITATION_BULK)
"""The queues that `Intake.handle` reads."""


def _takes_the_lease(change: Change) -> bool:
    """Whether the change claims a send. A lease that was there before is somebody's who is sending already, perhaps
    this very process for another event about the same member."""
    return change.after.lease is not None and (change.before is None or change.after.lease != change.before.lease)


def _told(event: Event) -> Told:
    return Told(event.time, event.sequence)


def _order(event: Event) -> int:
    """What makes one state of a cabinet or dossier newer than another."""
    return event.sequence if event.sequence is not None else int(event.time.timestamp() * 1000)


def _invitee(data: UserCreated) -> Invitee:
    member = data.member
    email = normalise_email(member.email)
    return Invitee(
        member_id=member.id,
        first_name=member.first_name,
        last_name=member.last_name,
        employee_code=member.employee_code,
        email=email,
        email_key=email_key(email),
        phone=member.phone,
        locale=member.locale,
        time_zone=member.time_zone,
        role=member.role,
        own_expense_reports=member.own_expense_reports,
        dossier_id=data.dossier.id,
        dossier_name=data.dossier.name,
        external_ref=data.dossier.external_ref,
        cabinet_id=data.cabinet.id,
        cabinet_name=data.cabinet.name,
        cabinet_phone=data.cabinet.phone,
        invited_by=data.invited_by,
    )
