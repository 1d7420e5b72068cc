"""Quiet hours: the person's own clock and calendar, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convive_kit.days_off import is_holiday
from invitation.lifecycle.quiet import NEVER_QUIET, QuietHours

PARIS = ZoneInfo("Europe/Paris")
NIGHTS = QuietHours(time(20), time(8), is_holiday)


def over(at: str, quiet: QuietHours = NIGHTS, zone: str = "Europe/Paris") -> str:
    moment = datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone))
    return quiet.over(moment, zone).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2026-03-03 19:59", "2026-03-03 19:59"),
        ("2026-03-03 20:00", "2026-03-04 08:00"),
        ("2026-03-04 00:30", "2026-03-04 08:00"),
        ("2026-03-04 07:59", "2026-03-04 08:00"),
        ("2026-03-04 08:00", "2026-03-04 08:00"),
        ("2026-03-07 21:00", "2026-03-09 08:00"),  # over a Sunday
        ("2026-03-08 12:00", "2026-03-09 08:00"),
        ("2026-04-05 12:00", "2026-04-07 08:00"),  # Easter Sunday and Monday
        ("2026-07-13 20:00", "2026-07-15 08:00"),  # the 14th of July
        ("2026-12-25 10:00", "2026-12-26 08:00"),
        ("2026-03-28 22:00", "2026-03-30 08:00"),  # the night in which the clocks go forward
        ("2026-10-24 22:00", "2026-10-26 08:00"),  # and back
    ],
)
def test_what_falls_into_quiet_hours_waits_for_their_end(at: str, until: str) -> None:
    assert over(at) == until


def test_quiet_hours_may_lie_within_a_day() -> None:
    noon = QuietHours(time(12), time(14))

    assert over("2026-03-03 11:59", noon) == "2026-03-03 11:59"
    assert over("2026-03-03 12:00", noon) == "2026-03-03 14:00"
    assert over("2026-03-03 22:00", noon) == "2026-03-03 22:00"


def test_it_is_the_persons_own_evening() -> None:
    at = datetime(2026, 3, 3, 21, tzinfo=PARIS)

    assert NIGHTS.over(at, "America/Martinique") == at
    assert NIGHTS.over(at, "Indian/Reunion") == datetime(2026, 3, 4, 8, tzinfo=ZoneInfo("Indian/Reunion"))


def test_a_time_zone_that_nobody_knows_is_taken_for_utc() -> None:
    assert NIGHTS.over(datetime(2026, 3, 3, 20, tzinfo=UTC), "Mars/Olympus") == datetime(2026, 3, 4, 8, tzinfo=UTC)


def test_where_the_clocks_skip_the_end_it_is_when_they_go_on() -> None:
    # Midnight was skipped there, after a Sunday.
    assert over("2021-03-21 23:30", QuietHours(time(22), time(0, 30)), "Asia/Tehran") == "2021-03-22 01:00"


def test_without_quiet_hours_nothing_waits_on_sundays_either() -> None:
    sunday = datetime(2026, 3, 8, 3, tzinfo=PARIS)

    assert NEVER_QUIET.over(sunday, "Europe/Paris") == sunday


def test_a_calendar_of_nothing_but_holidays_holds_nothing_for_ever() -> None:
    at = datetime(2026, 3, 3, 12, tzinfo=PARIS)

    assert QuietHours(time(20), time(8), lambda _: True).over(at, "Europe/Paris") < at + timedelta(days=90)


_TIMES = st.times().map(lambda clock: clock.replace(microsecond=0))


@given(
    days=st.integers(0, 15_000),
    clock=_TIMES,
    starts=_TIMES,
    ends=_TIMES,
    zone=st.sampled_from(["Europe/Paris", "America/Havana", "Australia/Lord_Howe", "Asia/Beirut", "Pacific/Apia", "?"]),
    holidays=st.frozensets(st.integers(1, 31), max_size=3),
)
def test_what_it_leads_to_is_never_quiet_and_never_earlier(days, clock, starts, ends, zone, holidays) -> None:
    def is_holiday(day: date) -> bool:
        return day.day in holidays

    at = datetime.combine(date(2000, 1, 1) + timedelta(days), clock, UTC)
    quiet = QuietHours(starts, ends, is_holiday)

    until = quiet.over(at, zone)

    assert until >= at
    assert quiet.over(until, zone) == until
    assert until - at < timedelta(days=8)
