"""The faults of a run. Pure: a seed and a length give the same plan on every machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

LEASE = 6.0
"""Seconds for which a sender has a mail to itself; short, so that a run sees many of them end."""
SLOTS = 8
"""Mails that one process sends at the same time: K in the promise."""
INVITATION_1, INVITATION_2, DIRECTORY = "invitation-1", "invitation-2", "directory"
BROKER, DATABASE, MAIL = "broker", "database", "mail server"
SERVICES = (INVITATION_1, INVITATION_2, DIRECTORY)


def line(server: str, client: str) -> str:
    """The name of the connections that a service has to a server."""
    return f"{client} to {server}"


LINES_TO_BROKER = tuple(line(BROKER, service) for service in SERVICES)
LINES_TO_DATABASE = tuple(line(DATABASE, service) for service in SERVICES)
LINES_TO_DIRECTORY = (line(DIRECTORY, INVITATION_1), line(DIRECTORY, INVITATION_2))


class Kind(StrEnum):
    """What is done to the targets of a fault."""

    KILL = "SIGKILL"
    TERMINATE = "SIGTERM"
    PAUSE = "SIGSTOP"
    CUT = "cut"
    SLOW = "slow"
    HALF_OPEN = "half-open"
    REFUSE_FOR_NOW = "answers 451"
    HANG = "hangs"
    CLOSE_MID_DATA = "closes mid-DATA"
    CLOSE_AFTER_DATA = "closes after DATA"
    NO_CONNECTIONS = "refuses connections"


@dataclass(frozen=True, slots=True)
class Fault:
    """`at`: seconds after the load began. `lasts`: seconds until a program is started or goes on again, a line works
    again or mail is taken again."""

    number: int
    kind: Kind
    targets: tuple[str, ...]
    at: float
    lasts: float

    def __str__(self) -> str:
        return f"#{self.number:<3} {self.at:6.1f} s  {self.what}, for {self.lasts:.1f} s"

    @property
    def what(self) -> str:
        """Kind and targets in words; services of one kind are alike."""
        return f"{self.kind} {' + '.join(self.targets)}"

    @property
    def sort(self) -> str:
        """What faults are compared by: the kind, and the sort of its target."""
        target, *others = self.targets
        if len(others) > 1:
            return f"{self.kind} everything"
        for number in ("-1", "-2"):
            target = target.replace(f"invitation{number}", "invitation")
        both = "both " if others else ""
        if self.kind in (Kind.CUT, Kind.SLOW, Kind.HALF_OPEN):
            return f"{self.kind} line to {target.rpartition(' to ')[2]}"
        return f"{self.kind} {both}{target}"


@dataclass(frozen=True, slots=True)
class _Card:
    kind: Kind
    choices: tuple[tuple[str, ...], ...]
    shortest: float
    longest: float


def _each(*targets: str) -> tuple[tuple[str, ...], ...]:
    return tuple((target,) for target in targets)


_INVITATIONS = _each(INVITATION_1, INVITATION_2)
_DECK = (
    _Card(Kind.KILL, _INVITATIONS, 0, 4),
    _Card(Kind.KILL, _INVITATIONS, 0, 8),
    _Card(Kind.TERMINATE, _INVITATIONS, 0, 4),
    _Card(Kind.PAUSE, _INVITATIONS, LEASE + 1, LEASE + 6),
    _Card(Kind.KILL, ((INVITATION_1, INVITATION_2),), 0, 3),
    _Card(Kind.KILL, _each(DIRECTORY), 0, 5),
    _Card(Kind.TERMINATE, _each(DIRECTORY), 0, 3),
    _Card(Kind.PAUSE, _each(DIRECTORY), 4, 12),
    _Card(Kind.KILL, _each(BROKER), 0, 5),
    _Card(Kind.TERMINATE, _each(BROKER), 0, 2),
    _Card(Kind.PAUSE, _each(BROKER), 4, 14),
    _Card(Kind.KILL, _each(DATABASE), 0, 8),
    _Card(Kind.TERMINATE, _each(DATABASE), 0, 2),
    _Card(Kind.PAUSE, _each(DATABASE), 3, LEASE + 6),
    _Card(Kind.KILL, ((*SERVICES, BROKER, DATABASE),), 0, 2),
    _Card(Kind.CUT, _each(*LINES_TO_BROKER), 0, 0),
    _Card(Kind.CUT, _each(*LINES_TO_DATABASE), 0, 0),
    _Card(Kind.CUT, _each(*LINES_TO_DIRECTORY), 0, 0),
    _Card(Kind.SLOW, _each(*LINES_TO_BROKER, *LINES_TO_DATABASE, *LINES_TO_DIRECTORY), 5, 10),
    _Card(Kind.HALF_OPEN, _each(*LINES_TO_BROKER), 5, 14),
    _Card(Kind.HALF_OPEN, _each(*LINES_TO_DATABASE), 5, LEASE + 8),
    _Card(Kind.HALF_OPEN, _each(*LINES_TO_DIRECTORY), 5, 10),
    _Card(Kind.REFUSE_FOR_NOW, _each(MAIL), 3, 8),
    _Card(Kind.HANG, _each(MAIL), 3, 8),
    _Card(Kind.CLOSE_MID_DATA, _each(MAIL), 3, 8),
    _Card(Kind.CLOSE_AFTER_DATA, _each(MAIL), 2, 4),
    _Card(Kind.NO_CONNECTIONS, _each(MAIL), 3, 8),
)
_FIRST_AT = 4.0
# Of a lease when an outage begins, at most; for an attempt may take a third of it.
_ALREADY_GONE = LEASE / 3
_SHORTEST_GAP, _LONGEST_GAP = 7.0, 14.0
# How often a process ends while another fault lasts: what it holds then is what an outage has piled up, and nothing
# piles up more than a database that does not answer.
_IN_COMPANY, _WITHOUT_DATABASE = 0.4, 0.8
_LONG_ENOUGH = 2.0
_OUTAGES = (Kind.PAUSE, Kind.SLOW, Kind.HALF_OPEN, Kind.HANG, Kind.KILL)


def make_plan(seed: int, seconds: float) -> Sequence[Fault]:
    """The faults of a run: every sort once before any comes again, some while another lasts."""
    chance = random.Random(f"plan {seed}")
    faults: list[Fault] = []
    deck: list[_Card] = []
    at = _FIRST_AT
    while at < seconds:
        if not deck:
            deck = chance.sample(_DECK, k=len(_DECK))
        card = deck.pop()
        lasts = min(chance.uniform(card.shortest, card.longest), max(seconds - at, 0.0))
        fault = Fault(len(faults) + 1, card.kind, chance.choice(card.choices), round(at, 2), round(lasts, 2))
        faults.append(fault)
        others = _affected(fault)
        often = _WITHOUT_DATABASE if DATABASE in fault.targets[0] else _IN_COMPANY
        if others and lasts > _LONG_ENOUGH and card.kind in _OUTAGES and chance.random() < often:
            kind = chance.choice((Kind.KILL, Kind.KILL, Kind.TERMINATE))
            then, down = at + lasts * chance.uniform(0.5, 0.9), chance.uniform(0, 2)
            faults.append(Fault(len(faults) + 1, kind, (chance.choice(others),), round(then, 2), round(down, 2)))
        at += chance.uniform(_SHORTEST_GAP, _LONGEST_GAP)
    return faults


def _affected(fault: Fault) -> Sequence[str]:
    """The services that hold something back because of a fault."""
    cut_off = [service for service in SERVICES if fault.targets[0].startswith(f"{service} to ")]
    return cut_off or [service for service in SERVICES if service not in fault.targets]


def repeats_allowed(fault: Fault, lasted: float) -> int:
    """How many mails a fault may have sent twice, by the promise: K per process death, per pause that outlasts a lease
    and, for each process that sends, per outage of the database that does; so is a line on which a write may take
    longer than a lease. `lasted`: seconds until all answered again.
    (A connection cut after DATA counts one for itself.)"""
    senders = sum(target in (INVITATION_1, INVITATION_2) for target in fault.targets)
    outlasts = lasted > LEASE - _ALREADY_GONE
    match fault.kind:
        case Kind.KILL if senders:
            return senders * SLOTS
        case Kind.PAUSE if senders:
            return senders * SLOTS if outlasts else 0
        case Kind.KILL | Kind.TERMINATE | Kind.PAUSE if DATABASE in fault.targets:
            return 2 * SLOTS if outlasts else 0
        case Kind.HALF_OPEN | Kind.SLOW if fault.targets[0] in LINES_TO_DATABASE[:2]:
            return SLOTS if outlasts else 0
        case _:
            return 0
