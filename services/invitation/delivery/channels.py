"""What delivery asks of a channel, and the ways in which a provider can say no."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from invitation.lifecycle.invitation import Invitation


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message. `detail` goes into the history and holds no address."""

    detail: dict[str, str] = field(default_factory=dict[str, str])


class NotTaken(Exception):
    """The provider did not take the message. `str()` is the reason, `said` what the provider said where that is more;
    neither holds the address."""

    def __init__(self, reason: str, *, said: str | None = None) -> None:
        super().__init__(reason)
        self.said = said


class RefusedForNow(NotTaken):
    """Worth another try later, for this message."""


class RefusedForGood(NotTaken):
    """No other try can help, for this message."""


class ProviderAway(NotTaken):
    """The provider takes nothing from anybody at the moment: this message is not at fault."""


class NotYet(Exception):
    """Neither the message nor the provider is at fault: it may go out at `until`. Nothing was tried."""

    def __init__(self, reason: str, *, until: datetime) -> None:
        super().__init__(reason)
        self.until = until


class Channel(Protocol):
    """One way to reach a person. Every attempt at one send carries the same link and the same message id."""

    async def send(self, invitation: Invitation, now: datetime) -> Accepted:
        """Hand one message to the provider, or raise a `NotTaken` or `NotYet`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
