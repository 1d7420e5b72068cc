from __future__ import annotations

from typing import get_args

import pytest

from convive_contracts.events import Role
from directory.model.refusals import FieldRefused
from directory.model.roles import CAPABILITIES, ROLES, capabilities, refuse_unassignable
from directory.web.wording import CAPABILITIES as WORDED_CAPABILITIES
from directory.web.wording import ROLES as WORDED_ROLES


@pytest.mark.parametrize(
    ("role", "granted"),
    [
        ("expense_approver", {"see_all_documents", "see_own_documents", "approve_expense_reports"}),
        ("standard_user", {"see_own_documents"}),
        (
            "administrator",
            {
                "see_all_documents",
                "see_own_documents",
                "approve_expense_reports",
                "manage_chart_of_accounts",
                "manage_automation_rules",
                "manage_users",
            },
        ),
    ],
)
def test_each_role_may_do_what_the_table_says(role: str, granted: set[str]) -> None:
    assert {name for name, has in capabilities(role, own_expense_reports=False).items() if has} == granted


@pytest.mark.parametrize("role", ROLES)
def test_filing_own_expense_reports_is_switched_on_whatever_the_role(role: str) -> None:
    assert capabilities(role, own_expense_reports=True)["file_own_expense_reports"]
    assert not capabilities(role, own_expense_reports=False)["file_own_expense_reports"]


def test_a_role_nobody_knows_may_do_nothing() -> None:
    assert not any(capabilities("emperor", own_expense_reports=False).values())
    with pytest.raises(FieldRefused):
        refuse_unassignable("emperor")


def test_a_retired_role_is_given_to_nobody_and_says_which_field_to_change() -> None:
    with pytest.raises(FieldRefused) as refused:
        refuse_unassignable("expense_approver", ("expense_approver",), field="members.0.role")
    assert refused.value.about == {"field": "members.0.role"}
    refuse_unassignable("standard_user", ("expense_approver",))


def test_other_teams_know_the_roles_of_the_table() -> None:
    assert set(get_args(Role)) == set(ROLES)


def test_every_role_and_capability_has_words_for_people() -> None:
    assert set(WORDED_ROLES) == set(ROLES)
    assert set(WORDED_CAPABILITIES) == set(CAPABILITIES)
