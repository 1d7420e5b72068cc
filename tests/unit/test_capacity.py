"""What a number of invitations a day needs: the arithmetic, and that the costs it rests on are there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from invitation.capacity import BUSY, PARTS, PROCESSES, Costs, Habits, measured, plan
from invitation.cli.program import app

NOTHING = dict.fromkeys(PARTS, 0.0)
EACH = dict.fromkeys(PARTS, 2.0)
COSTS = Costs(
    measured="2026-01-31",
    machine="a machine",
    idle=dict.fromkeys(PARTS, 0.01),
    invitation=[(10.0, dict.fromkeys(PARTS, 4.0)), (1000.0, EACH)],
    page=dict.fromkeys(PARTS, 1.0),
    opening=NOTHING,
    password=dict.fromkeys(PARTS, 30.0),
    document_bytes=700,
    index_bytes=1000,
    event_bytes=1000,
)


def cores(per_day: float, habits: Habits, costs: Costs = COSTS) -> dict[str, float]:
    return {part.name: part.cores for part in plan(per_day, habits, costs).parts}


def test_a_cost_between_two_measured_ones_is_read_off_by_the_logarithm_of_the_rate() -> None:
    assert COSTS.each("worker", 1) == 4.0
    assert COSTS.each("worker", 100) == pytest.approx(3.0)
    assert COSTS.each("worker", 5000) == 2.0


def test_cores_are_the_idle_ones_the_invitations_and_what_people_do() -> None:
    habits = Habits(busiest_hour=0.36, opened=0.5, chose_a_password=0.25, pages_each=2)
    # 1,000,000 × 0.36 ÷ 3,600 = 100 a second: 100 × 3 ms, 100 pages × 1 ms, 25 passwords × 30 ms.
    assert cores(1_000_000, habits)["directory"] == pytest.approx(0.01 + 0.3 + 0.1 + 0.75)


def test_sizes_are_those_of_a_year_and_of_thirty_days() -> None:
    told = plan(1000, Habits(), COSTS)
    assert told.stored_in_a_year == 1000 * 365 * 1700
    assert told.log == 1000 * 30 * 6 * 1000


@given(st.floats(1, 1e8), st.floats(1, 10))
def test_more_invitations_never_need_less_and_no_process_is_busier_than_it_may_be(per_day: float, times: float) -> None:
    costs = measured()
    less, more = plan(per_day, Habits(), costs), plan(per_day * times, Habits(), costs)
    for fewer, many in zip(less.parts, more.parts, strict=True):
        # Costs fall with the rate, and never faster than the rate grows.
        assert many.cores >= fewer.cores * 0.999
        if many.name in PROCESSES:
            assert many.count >= 2
            assert many.cores / many.count <= BUSY + 1e-9


def test_the_costs_that_come_with_this_version_are_whole() -> None:
    costs = measured()
    assert {part for _, each in costs.invitation for part in each} == set(PARTS)
    assert [rate for rate, _ in costs.invitation] == sorted(rate for rate, _ in costs.invitation)
    assert all(value > 0 for value in (costs.document_bytes, costs.index_bytes, costs.event_bytes))
    # What the two services and the database do for one is never free.
    assert all(each[part] > 0 for _, each in costs.invitation for part in ("directory", "worker", "database"))


def test_the_command_says_it_for_people_and_for_programs() -> None:
    said = CliRunner().invoke(app, ["capacity", "--per-day", "1000000"])
    assert said.exit_code == 0
    assert "55.6 invitations" in said.stdout
    assert all(part in said.stdout for part in PARTS)

    document = json.loads(CliRunner().invoke(app, ["capacity", "--per-day", "1000000", "--json"]).stdout)
    assert document["invitations"] == pytest.approx(1_000_000 * 0.2 / 3600)
    assert [part["name"] for part in document["parts"]] == list(PARTS)


@pytest.mark.parametrize("wrong", [["--per-day", "0"], ["--per-day", "ten"], ["--per-day", "5", "--opened", "2"], []])
def test_what_cannot_be_worked_out_is_refused_by_the_name_of_the_option(wrong: list[str]) -> None:
    said = CliRunner().invoke(app, ["capacity", *wrong])
    assert said.exit_code == 2
    assert "--opened" in said.output if "--opened" in wrong else "--per-day" in said.output
