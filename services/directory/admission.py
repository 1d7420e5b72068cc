"""Opening a dossier and adding members as they are asked for, over HTTP and on pages alike: once for each key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid5

from pydantic import Field

from convive_contracts.events import Short
from convive_kit.addresses import Name
from convive_kit.group_commit import DuplicateKey
from convive_kit.http import Body
from directory.access import Ground
from directory.idempotency import fingerprint, id_for
from directory.member_requests import NewMember
from directory.membership import Membership
from directory.model.cabinet import Cabinet
from directory.model.change import Change
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.model.refusals import EmailTaken, FieldRefused, KeyReused, MemberGone
from directory.store.protocol import Store

_MOST_MEMBERS = 1000


class NewDossier(Body):
    name: Name
    external_ref: Annotated[Short | None, Field(description="What this file is called in your own software.")] = None
    members: Annotated[list[NewMember], Field(max_length=_MOST_MEMBERS, description="Added, and invited, at once")] = []


class DossierPatch(Body):
    """A JSON merge patch."""

    name: Name = ""
    external_ref: Short | None = None


class Admission:
    def __init__(self, store: Store, membership: Membership, now: Callable[[], datetime]) -> None:
        self._store = store
        self._membership = membership
        self._now = now

    async def open_dossier(
        self, cabinet: Cabinet, wanted: NewDossier, *, key: str | None, invited_by: str | None
    ) -> tuple[Dossier, list[Member]]:
        """A new dossier and its members, in the order asked for. Raises `FieldRefused` and `KeyReused`."""
        print_ = fingerprint(wanted)
        opening, members = self._opening(id_for(key, cabinet.id, "dossiers"), wanted, cabinet, print_, invited_by)
        try:
            return await self._membership.open_dossier(opening, cabinet, members)
        except DuplicateKey:
            # This very call, made before, and perhaps cut off before its end.
            found = await self._store.dossier(opening.after.id)
            if found is None or found.request_hash != print_:
                raise KeyReused from None
            dossier = await self._membership.finish(found, cabinet) if not found.archived_at else found
            return dossier, await self._membership.members_named(members)

    def _opening(
        self, id: str, wanted: NewDossier, cabinet: Cabinet, print_: str, invited_by: str | None
    ) -> tuple[Change[Dossier], list[Change[Member]]]:
        now = self._now()
        members = [
            {
                **member.fields(),
                # From the dossier's id, so that nobody is added twice.
                "id": str(uuid5(UUID(id), f"member {number}")),
                # Listed in the order of the request.
                "created_at": now + timedelta(milliseconds=number),
                "invited_by": invited_by,
            }
            for number, member in enumerate(wanted.members)
        ]
        _refuse_repeated_emails(members)
        opening = Dossier.opened(
            id,
            cabinet.id,
            wanted.name,
            now=now,
            external_ref=wanted.external_ref,
            members=tuple(members),
            request_hash=print_,
        )
        changes: list[Change[Member]] = []
        for number, member in enumerate(members):
            try:
                changes.append(Member.added(member, opening.after, cabinet))
            except FieldRefused as refusal:
                raise FieldRefused(refusal.detail, field=f"members.{number}.{refusal.about['field']}") from None
        return opening, changes

    async def add_member(self, ground: Ground, wanted: NewMember, *, key: str | None) -> Member:
        """A new member, who is invited unless that is for later. Raises the model's refusals."""
        dossier, cabinet = ground.dossier, ground.cabinet
        dossier.refuse_archived()
        print_ = fingerprint(wanted)
        fields = {
            **wanted.fields(),
            "id": id_for(key, cabinet.id, f"members/{dossier.id}"),
            "created_at": self._now(),
            "invited_by": ground.full_name,
            "request_hash": print_,
        }
        change = Member.added(fields, dossier, cabinet)
        try:
            return await self._membership.add(change, just_read=True)
        except (DuplicateKey, EmailTaken):
            # Perhaps this very call, made before.
            member = await self._store.member(change.after.id)
            if member is None:
                raise EmailTaken from None
            if member.request_hash != print_:
                raise KeyReused from None
            if member.removed_at:
                raise MemberGone("The member made with this Idempotency-Key was removed since.") from None
            return member


def _refuse_repeated_emails(members: list[dict[str, Any]]) -> None:
    seen: set[str] = set()
    for number, member in enumerate(members):
        if member["email_key"] in seen:
            detail = "Another member of this request has this e-mail address."
            raise FieldRefused(detail, field=f"members.{number}.email")
        seen.add(member["email_key"])
