"""What may be done to one invitation, for the HTTP API and the console alike; each action leaves its audit record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

from aiohttp import web

from convive_contracts.events import DIRECTORY_SOURCE
from convive_kit.addresses import NoMobile, can_receive_sms, email_key
from convive_kit.http import Problem, invalid, not_found
from invitation.directory import Directory
from invitation.invitees import invitee_of
from invitation.lifecycle.invitation import Cause, Change, Channel, Invitation, Invitee, Told
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import Trigger, counts
from invitation.ops.auditing import Auditing, standing
from invitation.ops.callers import CALLER
from invitation.ops.views import in_time
from invitation.store.audit import AuditRecord
from invitation.store.protocol import Decide, Store, decide_and_save, policy_for


class Acting:
    """Every method raises a `Problem` where it cannot be done: 404 for what the caller may not see, 409 with the
    `state` where that forbids it, 422 naming the field. They return the invitation as it is afterwards."""

    def __init__(
        self,
        store: Store,
        directory: Directory,
        auditing: Auditing,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        due_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._directory = directory
        self._auditing = auditing
        self._policy = policy
        self._now = now
        self._due_changed = due_changed

    async def theirs(self, request: web.Request) -> Invitation:
        """The invitation of the path, if the caller may see it; other firms' answer 404 like unknown ones."""
        invitation = await self._store.load(request.match_info["id"].lower())
        if invitation is None or not invitation.announced or invitation.invitee is None:
            raise not_found("invitation")
        if not request[CALLER].sees(invitation.invitee.cabinet_id):
            raise not_found("invitation")
        return invitation

    async def resend(
        self, request: web.Request, invitation: Invitation, channel: Channel | None, reason: str | None
    ) -> Invitation:
        """A new link; the one before is superseded."""
        if channel == "sms" and (why := _why_no_sms(invitation.invitee)):
            raise invalid("channel", why)
        cause = self._cause(request, reason)
        async with self._witness(request, "resend", invitation, reason) as record:
            policy = await policy_for(self._store, invitation, self._policy)
            return await self._save(record, invitation, Trigger.RESEND, lambda i: i.resent(channel, cause, policy))

    async def revoke(self, request: web.Request, invitation: Invitation, reason: str | None) -> Invitation:
        """No link works from here on."""
        cause = self._cause(request, reason)
        async with self._witness(request, "revoke", invitation, reason) as record:
            return await self._save(record, invitation, Trigger.REVOKED, lambda i: i.revoked("requested", cause))

    async def extend(
        self, request: web.Request, invitation: Invitation, until: datetime, reason: str | None
    ) -> Invitation:
        """A later expiry; whoever was added without an invitation has no link to extend."""
        if wrong := in_time(until, self._now()):
            raise invalid("until", wrong)
        cause = self._cause(request, reason)
        async with self._witness(request, "extend", invitation, reason) as record:
            if not invitation.has_link:
                raise _wrong_state(invitation)
            policy = await policy_for(self._store, invitation, self._policy)
            return await self._save(record, invitation, Trigger.EXTENDED, lambda i: i.extended(until, cause, policy))

    async def correct(
        self, request: web.Request, invitation: Invitation, fields: Mapping[str, str], reason: str | None
    ) -> Invitation:
        """Another `email` or `phone`; a new link goes out where the one before went elsewhere.

        Members of the directory are corrected there, so that their firm sees the same; those of other publishers here,
        until their publisher says something newer. Raises `DirectoryAway`, and then it may have been done.
        """
        if invitation.channel == "sms" and "phone" in fields and not can_receive_sms(fields["phone"]):
            raise invalid("phone", NoMobile.message())
        cause = self._cause(request, reason)
        async with self._witness(request, "correct", invitation, reason) as record:
            if not counts(Trigger.ADDRESS_CHANGED, invitation.state):
                raise _wrong_state(invitation)
            decide = await self._correction(invitation, fields, cause)
            return await self._save(record, invitation, Trigger.ADDRESS_CHANGED, decide)

    async def reveal(self, request: web.Request, invitation: Invitation, reason: str) -> None:
        """Write down that somebody sees who it is, and why, before they do."""
        async with self._witness(request, "revealed", invitation, reason):
            pass

    async def _correction(self, invitation: Invitation, fields: Mapping[str, str], cause: Cause) -> Decide:
        invitee, policy = invitation.invitee, await policy_for(self._store, invitation, self._policy)
        if invitation.source == DIRECTORY_SOURCE and invitee is not None:
            sequence, user = await self._directory.correct(invitee.member_id, fields)
            # What the directory publishes of it comes later, and says nothing newer.
            corrected, told = invitee_of(user), Told(cause.at, sequence)
            return lambda i: i.details_changed(corrected, told, cause, policy)
        new = {**fields, "email_key": email_key(fields["email"])} if "email" in fields else dict(fields)
        return lambda i: i.invitee and i.corrected(replace(i.invitee, **new), cause, policy)

    def _witness(
        self, request: web.Request, action: str, invitation: Invitation, reason: str | None
    ) -> AbstractAsyncContextManager[AuditRecord]:
        return self._auditing.witness(request, f"invitation.{action}", f"invitation:{invitation.id}", reason)

    async def _save(self, record: AuditRecord, invitation: Invitation, trigger: Trigger, decide: Decide) -> Invitation:
        def decide_if_it_counts(current: Invitation) -> Change | None:
            record.before = standing(current)
            if not counts(trigger, current.state):
                raise _wrong_state(current)
            return decide(current)

        change = await decide_and_save(self._store, invitation.id, decide_if_it_counts)
        after = change.after if change else invitation
        record.after = standing(after)
        self._due_changed()
        return after

    def _cause(self, request: web.Request, reason: str | None) -> Cause:
        return Cause(self._now(), request[CALLER].actor, detail={"reason": reason} if reason else None)


def _why_no_sms(invitee: Invitee | None) -> str | None:
    if invitee is None or invitee.phone is None:
        return "This member has no phone number: give one first, or use email."
    return None if can_receive_sms(invitee.phone) else NoMobile.message()


def _wrong_state(invitation: Invitation) -> Problem:
    state = invitation.state.value
    return Problem(409, "wrong_state", f"This cannot be done to an invitation that is {state}.", state=state)
