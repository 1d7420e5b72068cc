"""The events that tell others of an invitation. They carry no name, address or link."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypedDict

from convive_contracts.envelope import rfc3339, structured
from convive_contracts.events import INVITATION_SOURCE
from invitation.lifecycle.invitation import Change


class Announcement(TypedDict):
    """A finished event: its id, routing key and body."""

    id: str
    key: str
    body: bytes


def announcements(
    change: Change, correlation_id: str | None, extensions: Mapping[str, str] | None = None
) -> Iterator[Announcement]:
    """The events of a change, in order. Their ids are computed, so a repeated announcement is the same event;
    `extensions` are further CloudEvents attributes of each."""
    for fact in change.facts:
        after = fact.of
        invitee = after.invitee
        if invitee is None:
            continue
        id = f"{after.id}.{fact.version}"
        # Whoever has to erase an account is told which.
        more = {"account_id": after.account_id} if fact.name == "erased" else {}
        body = structured(
            id=id,
            source=INVITATION_SOURCE,
            type=f"convive.invitation.{fact.name}.v1",
            subject=invitee.member_id,
            time=after.updated_at,
            sequence=fact.version,
            correlation_id=correlation_id,
            extensions=extensions,
            data={
                "invitation_id": after.id,
                "member_id": invitee.member_id,
                "dossier_id": invitee.dossier_id,
                "cabinet_id": invitee.cabinet_id,
                "state": fact.state.value,
                "version": fact.version,
                "channel": after.channel,
                "link_sequence": after.link_sequence,
                "send_sequence": after.send_sequence,
                "expires_at": rfc3339(after.expires_at) if after.expires_at else None,
                "reason": after.reason,
                **more,
            },
        )
        yield {"id": id, "key": f"invitation.{fact.name}", "body": body}
