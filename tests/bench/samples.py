"""The events that are published: every contender of a case gets the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from convive_contracts.envelope import structured
from convive_contracts.events import DIRECTORY_SOURCE, INVITATION_SOURCE

_SPACE = UUID("6f0c1d0e-6f8e-4b0a-9d0f-3a1c5d2b7e11")
_FIRST_NAMES = ("Jeanne", "Oliver", "Zoé", "Amélie", "Noah", "Chloé", "Karim", "Inès")
_LAST_NAMES = ("Martin", "Bennett", "Lefèvre", "Dubois", "Nguyễn", "García", "O'Connor", "Petit")
_PER_DOSSIER = 10
_PER_CABINET = 200
_PUBLISHED_AT = datetime(2026, 1, 31, 8, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Sample:
    """One event as it goes out: its id, routing key and body."""

    id: str
    key: str
    body: bytes


def people_added(count: int, *, first: int = 0, at: datetime = _PUBLISHED_AT) -> Iterator[Sample]:
    """`user.created` as the directory publishes it: ten members to a dossier, 200 to a cabinet, two in three French."""
    for number in range(first, first + count):
        member = str(uuid5(_SPACE, f"member {number}"))
        dossier, cabinet = number // _PER_DOSSIER, number // _PER_CABINET
        body = structured(
            id=f"{member}.1",
            source=DIRECTORY_SOURCE,
            type="convive.user.created.v1",
            subject=member,
            time=at,
            sequence=1,
            correlation_id=str(uuid5(_SPACE, f"request {number}")),
            data={
                "member": {
                    "id": member,
                    "first_name": _FIRST_NAMES[number % 8],
                    "last_name": _LAST_NAMES[number // 8 % 8],
                    "employee_code": None,
                    "email": f"person.{number}@example.com",
                    "phone": None,
                    "locale": "en" if number % 3 == 2 else "fr",
                    "time_zone": "Europe/Paris",
                    "role": "standard_user",
                    "own_expense_reports": number % 2 == 0,
                },
                "dossier": {
                    "id": str(uuid5(_SPACE, f"dossier {dossier}")),
                    "name": f"Boulangerie Martin {dossier}",
                    "external_ref": None,
                },
                "cabinet": {
                    "id": str(uuid5(_SPACE, f"cabinet {cabinet}")),
                    "name": f"Cabinet Léger {cabinet}",
                    "phone": "+33142685300",
                },
                "invite_by": "email",
                "invited_by": None,
            },
        )
        yield Sample(f"{member}.1", "user.created", body)


def invitations_sent(count: int, *, first: int = 0) -> Iterator[Sample]:
    """`invitation.sent` as the invitation service publishes it, for members that the directory does not know."""
    for number in range(first, first + count):
        member, invitation = str(uuid5(_SPACE, f"member {number}")), str(uuid5(_SPACE, f"invitation {number}"))
        body = structured(
            id=f"{invitation}.2",
            source=INVITATION_SOURCE,
            type="convive.invitation.sent.v1",
            subject=member,
            time=_PUBLISHED_AT,
            sequence=2,
            data={
                "invitation_id": invitation,
                "member_id": member,
                "dossier_id": str(uuid5(_SPACE, f"dossier {number // _PER_DOSSIER}")),
                "cabinet_id": str(uuid5(_SPACE, f"cabinet {number // _PER_CABINET}")),
                "state": "sent",
                "version": 2,
                "channel": "email",
                "link_sequence": 1,
                "send_sequence": 1,
                "expires_at": "2026-02-14T08:00:00.000Z",
                "reason": None,
            },
        )
        yield Sample(f"{invitation}.2", "invitation.sent", body)
