"""Makes objects of the directory's model; what a test does not name does not matter to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from convive_contracts import DIRECTORY_SOURCE, InvitationState, invitation_id
from directory.model.account import Account, Claim
from directory.model.cabinet import ApiKey, Cabinet
from directory.model.dossier import Dossier
from directory.model.member import Member

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


def a_cabinet(**fields: Any) -> Cabinet:
    id = fields.pop("id", str(uuid4()))
    key = ApiKey(id="0123456789abcdef", hash="h", created_at=NOW)
    return Cabinet.found(id, fields.pop("name", "Cabinet Léger"), fields.pop("phone", None), key).after


def a_dossier(cabinet: Cabinet | None = None, **fields: Any) -> Dossier:
    cabinet_id = cabinet.id if cabinet else str(uuid4())
    chosen = {"id": str(uuid4()), "name": "Boulangerie Martin", "now": NOW, **fields}
    return Dossier.opened(chosen.pop("id"), cabinet_id, chosen.pop("name"), **chosen).after


def member_fields(**fields: Any) -> dict[str, Any]:
    email: str = fields.get("email", "jeanne@example.com")
    return {
        "id": str(uuid4()),
        "first_name": "Jeanne",
        "last_name": "Martin",
        "email": email,
        "email_key": email.lower(),
        "created_at": NOW,
        **fields,
    }


def a_member(dossier: Dossier | None = None, cabinet: Cabinet | None = None, **fields: Any) -> Member:
    cabinet = cabinet or a_cabinet()
    return Member.added(member_fields(**fields), dossier or a_dossier(cabinet), cabinet).after


def a_claim(member: Member | None = None, **fields: Any) -> Claim:
    member = member or a_member()
    return Claim(
        **{
            "invitation_id": member.invitation_id,
            "link_sequence": 1,
            "source": DIRECTORY_SOURCE,
            "channel": "email",
            "email": member.email,
            "email_key": member.email_key,
            "member_id": member.id,
            "dossier_id": member.dossier_id,
            "dossier_name": "Boulangerie Martin",
            "cabinet_id": member.cabinet_id,
            "cabinet_name": "Cabinet Léger",
            "role": member.role,
            **fields,
        }
    )


def an_account(claim: Claim | None = None, **fields: Any) -> Account:
    """Somebody who has redeemed one link and chosen a password."""
    claim = claim or a_claim(**fields)
    nobody = Account(id=claim.email_key, account_id=str(uuid4()), email=claim.email)
    return nobody.redeem(claim, new_hash="first", handoff="code", now=NOW).after


def a_fact(member: Member, state: str, version: int, **fields: Any) -> InvitationState:
    return InvitationState.model_validate(
        {
            "invitation_id": invitation_id(DIRECTORY_SOURCE, member.id),
            "member_id": member.id,
            "dossier_id": member.dossier_id,
            "cabinet_id": member.cabinet_id,
            "state": state,
            "version": version,
            "channel": "email",
            "link_sequence": 1,
            "send_sequence": 1,
            **fields,
        }
    )
