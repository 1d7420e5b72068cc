"""What was asked of the system and what it answered. The checker believes this, and holds the system to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from convive_contracts.events import DIRECTORY_SOURCE, invitation_id

PAYROLL = "/chaos/payroll"
"""The foreign publisher."""


@dataclass(slots=True)
class Guest:
    """One member's way in, as the outside world knows it.

    `accepted`: the POST was answered 201, or the broker has confirmed the event. `ends`: the states in which the
    invitation may rest once everything asked for was answered; empty while the story is not told to its end.
    """

    number: int
    story: str
    email: str
    source: str
    member_id: str = ""
    dossier_id: str = ""
    cabinet_id: str = ""
    sequence: int = 0
    accepted: bool = False
    removed: bool = False
    revoked: bool = False
    addresses: set[str] = field(default_factory=set[str])
    # How many new links and repeated mails may have been asked for, unclear answers included.
    new_links: int = 0
    renewals: int = 0
    told_passwords: list[str] = field(default_factory=list[str])
    refused_passwords: list[str] = field(default_factory=list[str])
    tried_password: bool = False
    told_signed_in: bool = False
    tried_sign_in: bool = False
    ends: frozenset[str] = frozenset()

    @property
    def own(self) -> bool:
        return self.source == DIRECTORY_SOURCE

    @property
    def invitation_id(self) -> str:
        return invitation_id(self.source, self.member_id)


@dataclass(slots=True)
class Ledger:
    """Everybody who was invited, and what went against what was promised while they came in."""

    guests: list[Guest] = field(default_factory=list[Guest])
    # SHA-256 of the messages that must end in the parking place.
    poison: set[str] = field(default_factory=set[str])
    surprises: list[str] = field(default_factory=list[str])
    calls: int = 0
    retried: int = 0
    published: int = 0
