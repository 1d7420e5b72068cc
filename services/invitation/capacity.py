"""What so many invitations a day need: arithmetic on measured costs, nothing else.

`capacity.json` holds the costs; `make bench CASE=capacity` measures them, and checks this model at loads between those
it was measured at. Cores are those of the machine that is named there: a faster one needs fewer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from math import ceil, log
from typing import Any

PARTS: Sequence[str] = ("directory", "web", "worker", "database", "broker")
PROCESSES: Sequence[str] = ("directory", "web", "worker")
"""Those of which there may be any number, each busy with one core at most."""
LOG_DAYS = 30
BUSY = 0.6
"""How busy a core may be in the busiest hour: the rest is for bursts and for one machine less."""
CORES_OF_A_SHARD = 16
EVENTS_EACH = 6
"""Of one way in, as the log keeps them: created, sent, opened, password set, active, and the account's."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What people do: shares of those invited, and the share of a day's work in its busiest hour."""

    busiest_hour: float = 0.2
    opened: float = 0.8
    chose_a_password: float = 0.6
    pages_each: float = 3.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Milliseconds of a core, by part. An invitation costs less the more there are at a time, for they travel in
    groups: `invitation` maps rates per second to costs. `idle` is cores, whatever the load."""

    measured: str
    machine: str
    idle: Mapping[str, float]
    invitation: Sequence[tuple[float, Mapping[str, float]]]
    page: Mapping[str, float]
    opening: Mapping[str, float]
    password: Mapping[str, float]
    document_bytes: float
    index_bytes: float
    event_bytes: float

    @classmethod
    def kept(cls, document: Mapping[str, Any]) -> Costs:
        """From the JSON document that holds them."""
        fields: dict[str, Any] = dict(document)
        fields["invitation"] = [(one["rate"], one["ms"]) for one in document["invitation"]]
        return cls(**fields)

    def each(self, part: str, rate: float) -> float:
        """What an invitation costs a part at that rate: between two measured ones by the logarithm of the rate, beyond
        them as at the nearest."""
        known = [(known_rate, costs[part]) for known_rate, costs in self.invitation]
        if rate <= known[0][0]:
            return known[0][1]
        for (low, cheap), (high, dear) in pairwise(known):
            if rate <= high:
                return cheap + (dear - cheap) * log(rate / low) / log(high / low)
        return known[-1][1]

    def invitations(self, part: str, rate: float) -> float:
        """Cores that a part is busy with, so many invitations a second going out."""
        return self.idle[part] + rate * self.each(part, rate) / 1000


@dataclass(frozen=True, slots=True)
class Part:
    """`cores` are busy in the busiest hour; `count` is how many processes, or machines of the database, that takes."""

    name: str
    cores: float
    count: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Rates are per second, in the busiest hour; sizes in bytes, without copies."""

    per_day: float
    invitations: float
    pages: float
    passwords: float
    parts: Sequence[Part]
    stored_in_a_year: float
    log: float


def measured() -> Costs:
    """The costs that come with this version."""
    return Costs.kept(json.loads((files("invitation") / "capacity.json").read_text()))


def plan(per_day: float, habits: Habits, costs: Costs) -> Plan:
    """What that many invitations a day need."""
    rate = per_day * habits.busiest_hour / 3600
    openings, passwords = rate * habits.opened, rate * habits.chose_a_password
    pages = openings * habits.pages_each
    parts: list[Part] = []
    for part in PARTS:
        by_people = pages * costs.page[part] + openings * costs.opening[part] + passwords * costs.password[part]
        cores = costs.invitations(part, rate) + by_people / 1000
        # Two of each at least: one may be on its way down at any time.
        of_one = BUSY if part in PROCESSES else BUSY * CORES_OF_A_SHARD
        parts.append(Part(part, cores, max(ceil(cores / of_one), 2 if part in PROCESSES else 1)))
    return Plan(
        per_day=per_day,
        invitations=rate,
        pages=pages,
        passwords=passwords,
        parts=parts,
        stored_in_a_year=per_day * 365 * (costs.document_bytes + costs.index_bytes),
        log=per_day * LOG_DAYS * EVENTS_EACH * costs.event_bytes,
    )
