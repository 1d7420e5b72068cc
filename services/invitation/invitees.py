"""The person an event tells of, as an invitation keeps them."""

from __future__ import annotations

from convive_contracts.events import UserCreated
from convive_kit.addresses import email_key, normalise_email
from invitation.lifecycle.records import Invitee


def invitee_of(data: UserCreated) -> Invitee:
    """The person and their place. Raises `BadEmail` for an address that no mail can reach."""
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
