"""A circuit breaker: a provider that is down is asked by one message at a time while the rest waits.

Pure but for the clock it is given (Nygard, "Release It!", 2nd edition, chapter 5).
"""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Closed: as many as there is room for. Open: nobody, for a while that doubles. Half open: one."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        failures: int = 5,
        first_pause: float = 1.0,
        longest_pause: float = 60.0,
    ) -> None:
        """Opens after `failures` in a row; pauses in seconds."""
        self._monotonic = monotonic
        self._failures = failures
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._in_a_row = 0
        self._pause = 0.0
        self._open_until = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the provider counts as down."""
        return self._pause > 0

    @property
    def opens_in(self) -> float:
        """Seconds until the next message may try."""
        return max(self._open_until - self._monotonic(), 0.0)

    @property
    def lets_through(self) -> bool:
        """Whether one more message may be tried now."""
        return not self.is_open or (not self._probing and self.opens_in == 0)

    def enter(self) -> None:
        """A message is about to be tried."""
        self._probing = self.is_open

    def left(self) -> None:
        """A message that entered was not tried after all."""
        self._probing = False

    def succeeded(self) -> None:
        """The provider answered, be it yes or no."""
        self._in_a_row = 0
        self._pause = 0.0
        self._probing = False

    def failed(self) -> None:
        """The provider did not answer, or takes nothing from anybody."""
        self._in_a_row += 1
        self._probing = False
        # Those that were under way together fail together: only the first of them, and later each probe, counts.
        if self._in_a_row >= self._failures and self.opens_in == 0:
            self._pause = min(max(self._pause * 2, self._first_pause), self._longest_pause)
            self._open_until = self._monotonic() + self._pause
