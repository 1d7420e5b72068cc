"""When something must happen next. One `due_at` per invitation carries it all; no other timer exists."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from invitation.lifecycle.states import OPENED, PENDING, SENT, State

LINK_IS_ALIVE = frozenset((PENDING, SENT, OPENED))


@dataclass(frozen=True, slots=True)
class Policy:
    """The times of an invitation's life.

    An attempt's deadline is at most a third of the lease, so a lease never runs out under a sender that keeps to it.
    """

    link_life: timedelta = timedelta(days=14)
    lease: timedelta = timedelta(seconds=60)
    attempt_deadline: timedelta = timedelta(seconds=20)
    most_attempts: int = 12
    first_backoff: timedelta = timedelta(seconds=15)
    longest_backoff: timedelta = timedelta(hours=2)

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
    expires_at: datetime | None,
) -> datetime | None:
    """The moment at which the due loop has to look at an invitation again, or None for never."""
    if lease_until is not None:
        return lease_until
    ends = expires_at if state in LINK_IS_ALIVE else None
    if send_at is None:
        return ends
    return send_at if ends is None else min(send_at, ends)
