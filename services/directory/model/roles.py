"""Roles are data: one table of roles and what each may do. A role is added or retired here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CAPABILITIES = (
    "see_all_documents",
    "see_own_documents",
    "approve_expense_reports",
    "file_own_expense_reports",
    "manage_chart_of_accounts",
    "manage_automation_rules",
    "manage_users",
)


@dataclass(frozen=True, slots=True)
class Role:
    """`file_own_expense_reports` is in no role: it is switched on member by member."""

    capabilities: frozenset[str]
    # A retired role is kept by those who have it and given to nobody new.
    retired: bool = False


def _role(*capabilities: str, retired: bool = False) -> Role:
    return Role(frozenset(capabilities), retired)


ROLES: Mapping[str, Role] = {
    "expense_approver": _role("see_all_documents", "see_own_documents", "approve_expense_reports"),
    "standard_user": _role("see_own_documents"),
    "administrator": _role(*(capability for capability in CAPABILITIES if capability != "file_own_expense_reports")),
}
_NONE = _role()


def capabilities(role: str, *, own_expense_reports: bool) -> dict[str, bool]:
    """Every capability with whether this member has it; an unknown role (of a foreign publisher) has none."""
    granted = ROLES.get(role, _NONE).capabilities
    return {
        name: name in granted or (name == "file_own_expense_reports" and own_expense_reports) for name in CAPABILITIES
    }


def may_be_assigned(role: str) -> bool:
    """Whether the role can be given to somebody who does not have it."""
    return role in ROLES and not ROLES[role].retired
