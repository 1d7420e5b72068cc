"""A member: one person's place in one dossier, and what is known of their invitation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from convive_contracts import DIRECTORY_SOURCE, InvitationState, invitation_id
from directory.model.cabinet import Cabinet
from directory.model.change import Announcement, Change, Stored
from directory.model.dossier import Dossier
from directory.model.refusals import AlreadyIn, EmailIsLogin, FieldRefused, MemberGone
from directory.model.roles import capabilities, refuse_unassignable

# The invitation service answers a resend in these states with a refusal, so nobody should be promised one.
_IN = ("password_set", "active")
_NOT_INVITABLE = (*_IN, "revoked")
TROUBLE = ("failed", "declined", "expired")
"""States in which an invitation came to nothing without the firm's doing."""


class InvitationNote(BaseModel):
    """What the invitation service last said; `version` 0 is our own assumption until it has spoken."""

    model_config = ConfigDict(frozen=True)

    id: str
    state: str
    channel: str
    updated_at: datetime
    expires_at: datetime | None = None
    reason: str | None = None
    version: int = 0


class Member(Stored):
    kind = "members"

    dossier_id: str
    cabinet_id: str
    first_name: str
    last_name: str
    email: str
    # Unique in the dossier. Absent once the member is removed, so that the person can be added anew.
    email_key: str | None = None
    phone: str | None = None
    employee_code: str | None = None
    role: str = "standard_user"
    own_expense_reports: bool = False
    locale: str = "fr"
    time_zone: str = "Europe/Paris"
    invite_by: str = "email"
    invited_by: str | None = None
    created_at: datetime
    account_id: str | None = None
    has_signed_in: bool = False
    invitation: InvitationNote | None = None
    # When we heard that the invitation came to nothing, while it is so: the firm's digest tells of it.
    trouble_at: datetime | None = None
    removed_at: datetime | None = None
    erased_at: datetime | None = None
    request_hash: str | None = None
    # Of the last request for a link: the same again is one click too many.
    invite_key: str | None = None

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"[:200]  # as much as an event takes

    @property
    def invitation_id(self) -> str:
        return invitation_id(DIRECTORY_SOURCE, self.id)

    @staticmethod
    def added(
        fields: Mapping[str, Any], dossier: Dossier, cabinet: Cabinet, *, lane: str | None = None
    ) -> Change[Member]:
        """A new member, who is invited unless `invite_by` is `none`. `fields` are the document's; `lane` is the
        announcement's."""
        member = Member.model_validate({**fields, "dossier_id": dossier.id, "cabinet_id": cabinet.id})
        refuse_unassignable(member.role)
        if member.invite_by != "none":
            note = member.pending(member.invite_by, member.created_at)
            member = member.model_copy(update={"invitation": note})
        created = member.model_copy(update={"version": 1})
        announced = dataclasses.replace(created.announced("user.created", dossier, cabinet), lane=lane)
        return Change(None, created, (announced,))

    def edited(
        self, fields: Mapping[str, Any], dossier: Dossier, cabinet: Cabinet, now: datetime
    ) -> Change[Member] | None:
        """Other names, role, options or addresses; None when nothing differs.

        While the person has not redeemed, another e-mail or phone makes the invitation service send a new link.
        """
        if self.removed_at:
            raise MemberGone
        fields = {name: value for name, value in fields.items() if getattr(self, name) != value}
        if not fields:
            return None
        if self.accepted and fields.get("email_key", self.email_key) != self.email_key:
            raise EmailIsLogin
        if "role" in fields:
            refuse_unassignable(fields["role"])
        after = self.model_copy(update=fields)
        if after.invite_by == "sms" and after.phone is None:
            raise FieldRefused("A phone number is needed: this person is invited by SMS.", field="phone")
        readdressed = not self.accepted and ("email" in fields or "phone" in fields)
        if readdressed and self.invitation and self.invitation.state not in _NOT_INVITABLE:
            note = self.pending(after.invite_by, now)
            fields |= {"invitation": note, "trouble_at": None}
        return self.changed(after.announced("user.updated", dossier, cabinet), **fields)

    @property
    def accepted(self) -> bool:
        """Whether the person has used their link up: their e-mail is a login since."""
        # The invitation service may say so before we could note whose account it was.
        return self.account_id is not None or (self.invitation is not None and self.invitation.state in _IN)

    def invite(self, channel: str, now: datetime, requested_by: str | None, key: str | None = None) -> Change[Member]:
        """Invite somebody who was added with `none`, or send another link."""
        if self.removed_at:
            raise MemberGone
        state = self.invitation.state if self.invitation else "pending"
        if self.account_id and state not in _NOT_INVITABLE:
            state = "active" if self.has_signed_in else "password_set"
        if state in _NOT_INVITABLE:
            detail = {
                "revoked": "The invitation was revoked: remove this member and add them anew.",
                "active": "This person has already signed in: no invitation is needed.",
            }.get(state, "This person has already chosen a password: no invitation is needed.")
            raise AlreadyIn(detail, state=state)
        if channel == "sms" and self.phone is None:
            raise FieldRefused("Add a phone number to this member before inviting by SMS.", field="invite_by")
        request = {"invitation_id": self.invitation_id, "channel": channel, "requested_by": requested_by}
        return self.changed(
            Announcement("invitation.resend_requested", self.id, request),
            invite_by=channel,
            invite_key=key,
            invitation=self.pending(channel, now),
            trouble_at=None,
        )

    def remove(self, now: datetime) -> Change[Member] | None:
        """The end of the membership and of its links; None when it was removed before."""
        if self.removed_at:
            return None
        return self.changed(self._removed(), removed_at=now, email_key=None, trouble_at=None)

    def erase(self, now: datetime) -> Change[Member] | None:
        """The end of the membership and of what says whose it was; None when that was done before."""
        if self.erased_at:
            return None
        names: dict[str, Any] = dict.fromkeys(("email_key", "phone", "employee_code", "invited_by", "request_hash"))
        names |= dict.fromkeys(("first_name", "last_name", "email"), "")
        announced = () if self.removed_at else (self._removed(),)
        return self.changed(*announced, **names, removed_at=self.removed_at or now, erased_at=now, trouble_at=None)

    def _removed(self) -> Announcement:
        data = {"member": {"id": self.id}, "dossier": {"id": self.dossier_id}, "cabinet": {"id": self.cabinet_id}}
        return Announcement("user.removed", self.id, data)

    def attach(self, account_id: str, *, signed_in: bool) -> Change[Member] | None:
        """An account has redeemed this membership, or has signed in since; None when that is known already."""
        fields = {"account_id": account_id, "has_signed_in": self.has_signed_in or signed_in}
        if all(getattr(self, name) == value for name, value in fields.items()):
            return None
        return self.changed(**fields)

    def learn(self, fact: InvitationState, at: datetime, now: datetime) -> Change[Member] | None:
        """Take over what the invitation service said `at` some moment, unless something newer is known."""
        known = self.invitation.version if self.invitation else 0
        if fact.version <= known or fact.invitation_id != self.invitation_id:
            return None
        note = InvitationNote(
            id=fact.invitation_id,
            state=fact.state,
            channel=fact.channel,
            updated_at=at,
            expires_at=fact.expires_at,
            reason=fact.reason,
            version=fact.version,
        )
        trouble_at = None
        if fact.state in TROUBLE:
            same = self.invitation is not None and self.invitation.state == fact.state
            trouble_at = (self.trouble_at if same else None) or now
        signed_in = self.has_signed_in or fact.state == "active"
        return self.changed(invitation=note, has_signed_in=signed_in, trouble_at=trouble_at)

    def pending(self, channel: str, now: datetime) -> InvitationNote:
        """What we show until the invitation service speaks: whatever it says next is newer."""
        version = self.invitation.version if self.invitation else 0
        return InvitationNote(id=self.invitation_id, state="pending", channel=channel, updated_at=now, version=version)

    def announced_anew(self, dossier: Dossier, cabinet: Cabinet) -> Change[Member] | None:
        """The present state told again, as a creation: who knows it changes nothing, who lost it can begin from it.
        Whoever has accepted already is not to be invited once more."""
        if self.removed_at:
            return None
        told = self.model_copy(update={"invite_by": "none"}) if self.accepted else self
        return self.changed(told.announced("user.created", dossier, cabinet))

    def announced(self, type: str, dossier: Dossier, cabinet: Cabinet) -> Announcement:
        """`user.created` or `user.updated`: the member in full, with the names around it."""
        granted = capabilities(self.role, own_expense_reports=self.own_expense_reports)
        member = {
            **self.model_dump(include=_PUBLIC),
            "capabilities": [name for name, has in granted.items() if has],
        }
        return Announcement(
            type,
            self.id,
            {
                "member": member,
                "dossier": {"id": dossier.id, "name": dossier.name, "external_ref": dossier.external_ref},
                "cabinet": {"id": cabinet.id, "name": cabinet.name, "phone": cabinet.phone},
                "invite_by": self.invite_by,
                "invited_by": self.invited_by,
            },
        )


_PUBLIC = {
    "id",
    "first_name",
    "last_name",
    "employee_code",
    "email",
    "phone",
    "locale",
    "time_zone",
    "role",
    "own_expense_reports",
}
