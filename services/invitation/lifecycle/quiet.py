"""When nobody is to be disturbed, as the clock and the calendar of the person say it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

_MOST_DAYS = 31
"""A calendar that knows nothing but holidays must not hold a message for ever."""


def _no_holiday(_: date) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From `starts` until `ends`, over midnight where that comes first, and the whole of Sundays and holidays. Where
    both are the same time of day nothing is quiet, Sundays included."""

    starts: time = time()
    ends: time = time()
    is_holiday: Callable[[date], bool] = _no_holiday

    def over(self, moment: datetime, time_zone: str) -> datetime:
        """The first moment from `moment` (aware) on that is not quiet for somebody in that time zone; one that nobody
        knows is taken for UTC."""
        if self.starts == self.ends:
            return moment
        zone, earliest = _zone(time_zone), moment
        for _ in range(2 * _MOST_DAYS):
            local = earliest.astimezone(zone)
            today, clock = local.date(), local.time()
            over_midnight, all_day = self.starts > self.ends, today.isoweekday() == 7 or self.is_holiday(today)
            if all_day or (over_midnight and clock >= self.starts):
                earliest = _at(today + timedelta(days=1), time(), zone)
            elif clock < self.ends and (over_midnight or clock >= self.starts):
                earliest = _at(today, self.ends, zone)
            else:
                break
        return earliest


def _at(day: date, clock: time, zone: tzinfo) -> datetime:
    """When the clocks there show this. One that they skip is the moment they go on at, one that they show twice the
    second (PEP 495), so that it never lies before a moment that is shown earlier."""
    local = datetime.combine(day, clock, zone)
    return max(local.astimezone(UTC), local.replace(fold=1).astimezone(UTC))


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # What a foreign publisher calls a time zone may be none.
        return UTC


NEVER_QUIET = QuietHours()
