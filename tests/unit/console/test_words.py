"""The console's words cover what they are made for."""

from __future__ import annotations

from convive_contracts.events import BOUNCE_REASONS
from invitation.console.words import REASONS


def test_every_reason_of_a_bounce_has_words() -> None:
    assert REASONS.keys() == BOUNCE_REASONS.keys()
