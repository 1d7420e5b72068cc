"""When something must happen next. One `due_at` per invitation carries it all; no other timer exists."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta

from convive_contracts.events import Policies
from invitation.lifecycle.quiet import NEVER_QUIET, QuietHours
from invitation.lifecycle.states import OPENED, PENDING, SENT, State

LINK_IS_ALIVE = frozenset((PENDING, SENT, OPENED))
REMINDED = frozenset((SENT, OPENED))
"""States in which people are reminded: also of what they have opened, for it is there that they stall."""
NOTHING_CHOSEN = Policies()


@dataclass(frozen=True, slots=True)
class Policy:
    """The times of an invitation's life. `reminders`, rising, are counted from when a provider took the link; nobody is
    reminded, and nothing goes out by SMS, in quiet hours.

    An attempt's deadline is at most a third of the lease, so a lease never runs out under a sender that keeps to it.
    """

    link_life: timedelta = timedelta(days=14)
    lease: timedelta = timedelta(seconds=60)
    attempt_deadline: timedelta = timedelta(seconds=20)
    most_attempts: int = 12
    first_backoff: timedelta = timedelta(seconds=15)
    longest_backoff: timedelta = timedelta(hours=2)
    reminders: tuple[timedelta, ...] = (timedelta(days=2), timedelta(days=5), timedelta(days=10))
    quiet: QuietHours = NEVER_QUIET
    sms_after_bounce: bool = False

    def of(self, firm: Policies) -> Policy:
        """As a firm has it: what it chose, and this for the rest."""
        if firm is NOTHING_CHOSEN or firm == NOTHING_CHOSEN:
            return self
        days, quiet = firm.reminder_days, self.quiet
        return replace(
            self,
            link_life=self.link_life if firm.link_days is None else timedelta(days=firm.link_days),
            reminders=self.reminders if days is None else tuple(timedelta(days=day) for day in sorted(set(days))),
            quiet=replace(
                quiet,
                starts=time.fromisoformat(firm.quiet_from) if firm.quiet_from else quiet.starts,
                ends=time.fromisoformat(firm.quiet_until) if firm.quiet_until else quiet.ends,
            ),
            sms_after_bounce=firm.sms_after_bounce,
        )

    def backoff(self, attempt: int, spread: Callable[[], float] = random.random) -> timedelta:
        """How long to wait after the given failed attempt (1, 2, …): doubling, bounded, and jittered by a half so
        that what failed together does not come back together ("equal jitter", AWS Architecture Blog, 2015)."""
        longest = min(self.first_backoff * 2 ** min(attempt - 1, 20), self.longest_backoff)
        return longest / 2 + longest / 2 * spread()


def next_due(
    *,
    state: State,
    lease_until: datetime | None,
    send_at: datetime | None,
    remind_at: datetime | None,
    expires_at: datetime | None,
) -> datetime | None:
    """The moment at which the due loop has to look at an invitation again, or None for never."""
    if lease_until is not None:
        return lease_until
    moments = (send_at, remind_at, expires_at if state in LINK_IS_ALIVE else None)
    return min((moment for moment in moments if moment is not None), default=None)
