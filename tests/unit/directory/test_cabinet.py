"""A firm's face and policies."""

from __future__ import annotations

from typing import Any

import pytest

from convive_contracts.events import CabinetState, Policies
from directory.model.refusals import FieldRefused
from tests.unit.directory.making import a_cabinet


def test_what_a_firm_changes_is_announced_in_full() -> None:
    change = a_cabinet(phone="01 44 55 66 77").edited({"colour": "#7a1f5c", "policies": {"link_days": 30}})
    assert change is not None
    (announced,) = change.announcements
    assert announced.type == "cabinet.updated"
    state = CabinetState.model_validate(announced.data)
    assert (state.name, state.phone, state.colour) == ("Cabinet Léger", "01 44 55 66 77", "#7a1f5c")
    assert state.policies == Policies(link_days=30)


def test_policies_that_are_not_named_stay() -> None:
    first = a_cabinet().edited({"policies": {"link_days": 30, "sms_after_bounce": True}})
    assert first is not None
    second = first.after.edited({"policies": {"link_days": None, "reminder_days": (3,)}})
    assert second is not None
    assert second.after.policies == Policies(reminder_days=(3,), sms_after_bounce=True)


def test_nothing_is_announced_where_nothing_differs() -> None:
    assert a_cabinet().edited({"name": "Cabinet Léger", "policies": {}}) is None


@pytest.mark.parametrize(
    ("policies", "field"),
    [
        ({"reminder_days": (2, 14)}, "policies.reminder_days"),
        ({"link_days": 5, "reminder_days": (5,)}, "policies.reminder_days"),
        ({"quiet_from": "20:00"}, "policies.quiet_until"),
        ({"quiet_until": "20:00"}, "policies.quiet_from"),
        ({"quiet_from": "08:30", "quiet_until": "08:00"}, "policies.quiet_until"),
    ],
)
def test_policies_that_would_leave_people_without_a_message_are_refused(policies: dict[str, Any], field: str) -> None:
    with pytest.raises(FieldRefused) as refused:
        a_cabinet().edited({"policies": policies})
    assert refused.value.about == {"field": field}


def test_a_quiet_time_over_midnight_one_in_the_day_and_none_are_fine() -> None:
    for quiet in (("20:00", "08:00"), ("12:00", "14:00"), ("00:00", "00:00")):
        assert a_cabinet().edited({"policies": dict(zip(("quiet_from", "quiet_until"), quiet, strict=True))})
