"""Roles are data: one table of roles and what each may do. A role is added here; one is retired by a setting."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias, get_args

from directory.model.refusals import FieldRefused

Capability: TypeAlias = Literal[
    "see_all_documents",
    "see_own_documents",
    "approve_expense_reports",
    "file_own_expense_reports",
    "manage_chart_of_accounts",
    "manage_automation_rules",
    "manage_users",
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)

# `file_own_expense_reports` is in no role: it is switched on member by member.
ROLES: Mapping[str, frozenset[Capability]] = {
    "expense_approver": frozenset({"see_all_documents", "see_own_documents", "approve_expense_reports"}),
    "standard_user": frozenset({"see_own_documents"}),
    "administrator": frozenset(CAPABILITIES) - {"file_own_expense_reports"},
}


def capabilities(role: str, *, own_expense_reports: bool) -> dict[str, bool]:
    """Every capability with whether this member has it; an unknown role (of a foreign publisher) has none."""
    granted = ROLES.get(role, frozenset())
    return {
        name: name in granted or (name == "file_own_expense_reports" and own_expense_reports) for name in CAPABILITIES
    }


def refuse_unassignable(role: str, retired: Collection[str] = (), *, field: str = "role") -> None:
    """Refuse to give the role to somebody who does not have it. A retired role is kept by those who have it."""
    if role not in ROLES or role in retired:
        raise FieldRefused("This role is no longer given to anybody: choose another.", field=field)
