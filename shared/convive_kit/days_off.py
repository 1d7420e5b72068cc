"""The public holidays of France."""

from __future__ import annotations

from datetime import date
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holidays import HolidayBase


def is_holiday(day: date) -> bool:
    """Whether nobody works on that day, by law and everywhere in France."""
    return day in _of_france()


@cache
def _of_france() -> HolidayBase:
    # The library loads every country of the world as soon as it is asked for one: a tenth of a start.
    from holidays import country_holidays

    return country_holidays("FR")
