"""Makes a database as it is after a year: `python -m tests.bench.population --url … --database … --count 1000000`.

Some thousand lives are lived through the aggregate itself, by the hour; each invitation then has one of them, moved to
another time, with a person, dossier and cabinet of its own, and is written as the store writes it. The same seed makes
the same database.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import accumulate
from multiprocessing import get_context
from typing import Any, TypeVar, cast
from uuid import UUID

from bson import ObjectId
from pymongo import MongoClient

from convive_contracts.events import DIRECTORY_SOURCE, invitation_id
from convive_kit.group_commit import RING
from invitation.lifecycle.invitation import Cause, Change, Channel, Invitation, Invitee, Step, Told
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.store.documents import to_document
from invitation.store.mongo import INDEXES, INVITATIONS
from tests.bench.names import FIRST_NAMES, LAST_NAMES, REASONS, TRADES

Value = TypeVar("Value")

YEAR = timedelta(days=365)
POLICY = Policy()
LIVES = 400
"""Different lives that come to one state; each is shared by those it is moved to other times for."""
BATCH = 1000
CHUNK = 20_000
_ORIGIN = datetime(2026, 1, 1, tzinfo=UTC)


# --- lives ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Life:
    """Where an invitation has come to, how, and by how many saves; `lasted` since its creation."""

    invitation: Invitation
    steps: tuple[Step, ...]
    saves: int

    @property
    def lasted(self) -> timedelta:
        return self.invitation.updated_at - self.invitation.created_at


class Living:
    """Lives one life, a thing at a time."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.now = _ORIGIN
        self.invitation = Invitation.blank("life", DIRECTORY_SOURCE, _ORIGIN)
        self.steps: list[Step] = []
        self.saves = 0

    def cause(self, actor: str, **more: Any) -> Cause:
        return Cause(self.now, actor, **more)

    def event(self) -> Cause:
        return self.cause(f"event:{DIRECTORY_SOURCE}", event_id=str(UUID(int=self._chance.getrandbits(128), version=4)))

    def takes(self, change: Change | None) -> None:
        if change is not None:
            self.invitation = change.after
            self.steps += change.steps
            self.saves += 1

    def wait(self, most: timedelta) -> None:
        self.now += most * self._chance.random() + timedelta(milliseconds=self._chance.randint(1, 999))

    def create(self, channel: Channel) -> None:
        invitee = a_person(self._chance, 0, 1)
        self.takes(self.invitation.created(invitee, channel, Told(self.now, 1), self.event(), POLICY))

    def send(self, *, deferred: int = 0) -> None:
        for _ in range(deferred):
            self._attempt()
            send = self.invitation.send_sequence, self.invitation.attempt
            reason = a_reason(self._chance, for_good=False)
            self.takes(self.invitation.refused(send, reason, self.cause("system"), POLICY, for_good=False))
            self.now = self.invitation.send_at or self.now
        self._attempt()
        self.takes(self.invitation.accepted(self.invitation.send_sequence, self.cause("system"), POLICY))

    def fail(self) -> None:
        self._attempt()
        send = self.invitation.send_sequence, self.invitation.attempt
        reason = a_reason(self._chance, for_good=True)
        self.takes(self.invitation.refused(send, reason, self.cause("system"), POLICY, for_good=True))

    def _attempt(self) -> None:
        self.takes(self.invitation.claimed("worker", self.now, POLICY))
        self.wait(timedelta(seconds=3))

    def expire(self) -> None:
        self.now = self.invitation.expires_at or self.now
        self.takes(self.invitation.came_due(self.cause("system"), POLICY))

    def again(self) -> None:
        """Somebody asks for another link: the firm, or the person."""
        self.wait(timedelta(days=3))
        if self._chance.random() < 0.5:
            cause = self.cause("cabinet:1", event_id=self.event().event_id, detail={"reason": "asked by phone"})
            self.takes(self.invitation.resent(None, cause, POLICY))
        else:
            self.takes(self.invitation.renewed(self.cause("person"), POLICY))
        self.send()

    def open(self) -> None:
        self.wait(timedelta(days=2))
        self.takes(self.invitation.opened(self.cause("person"), POLICY))


def a_life(chance: random.Random, state: State) -> Life:
    """A life that has come to `state`, by one of the ways there."""
    life = Living(chance)
    if state is State.PENDING and chance.random() < 0.5:
        life.create("none")
    else:
        life.create("sms" if chance.random() < 0.15 else "email")
        if state is State.FAILED:
            life.fail()
        elif state is not State.PENDING:
            life.send(deferred=chance.choices((0, 1, 3), (90, 7, 3))[0])
            for _ in range(chance.choices((0, 1, 2, 5), (80, 14, 5, 1))[0] if state is not State.SENT else 0):
                life.again()
            _end(life, state)
    return Life(life.invitation, tuple(life.steps), life.saves)


def _end(life: Living, state: State) -> None:
    account = str(UUID(int=life.cause("person").at.microsecond + 1))
    match state:
        case State.OPENED:
            life.open()
        case State.PASSWORD_SET | State.ACTIVE:
            life.open()
            life.wait(timedelta(minutes=5))
            life.takes(life.invitation.redeemed(account, "new", life.cause("directory")))
            if state is State.ACTIVE:
                life.wait(timedelta(seconds=5))
                life.takes(life.invitation.signed_in(account, life.event()))
        case State.EXPIRED:
            life.expire()
        case State.REVOKED:
            life.wait(timedelta(days=10))
            life.takes(life.invitation.revoked("requested", life.event()))
        case State.DECLINED:
            life.wait(timedelta(days=2))
            life.takes(life.invitation.declined(life.cause("person")))
        case _:
            life.wait(timedelta(hours=1))


YOUNG = {
    State.ACTIVE: 45, State.SENT: 30, State.OPENED: 8, State.PENDING: 6, State.FAILED: 5, State.REVOKED: 3,
    State.PASSWORD_SET: 2, State.DECLINED: 1,
}  # fmt: skip
OLD = {State.ACTIVE: 72, State.EXPIRED: 15, State.FAILED: 5, State.REVOKED: 4, State.PASSWORD_SET: 2, State.DECLINED: 2}
"""Percent of those within the life of a link, and of those beyond it."""


@cache
def lives(seed: int) -> dict[State, list[Life]]:
    """Lives by what they have come to."""
    chance = random.Random(f"{seed} lives")
    return {
        state: [a_life(chance, state) for _ in range(LIVES * 4 if state is State.ACTIVE else LIVES)] for state in State
    }


# --- people and places --------------------------------------------------------------------------------------------


def a_reason(chance: random.Random, *, for_good: bool) -> str:
    """What a mail server says; of some, every reply is another."""
    said = chance.choices(*REASONS[for_good])[0]
    return said.replace("…", f"{chance.getrandbits(40):010x}")


def an_id(*parts: object) -> str:
    return str(UUID(int=random.Random(" ".join(map(str, parts))).getrandbits(128), version=4))


@cache
def cabinets(count: int) -> tuple[Sequence[int], Sequence[float]]:
    """Their numbers and running weights: a few are large, thousands are small (Zipf)."""
    numbers = range(max(20, count // 300))
    return numbers, list(accumulate(1 / (number + 2) ** 0.9 for number in numbers))


def a_person(chance: random.Random, number: int, count: int) -> Invitee:
    """Somebody in a dossier of a cabinet; one person in twenty is in several."""
    numbers, weights = cabinets(count)
    cabinet = chance.choices(numbers, cum_weights=weights)[0]
    share = (weights[cabinet] - (weights[cabinet - 1] if cabinet else 0)) / weights[-1]
    dossier = int(chance.paretovariate(1.2)) % max(1, int(share * count / 4))
    trade, owner = TRADES[(cabinet + dossier) % len(TRADES)], LAST_NAMES[(cabinet * 7 + dossier) % len(LAST_NAMES)]
    who = chance if chance.random() > 0.05 else random.Random(f"person {number % 997}")
    first, last = who.choice(FIRST_NAMES), who.choice(LAST_NAMES)
    email = f"{first}.{last}{who.randrange(10**6)}@example.com".replace(" ", "-").replace("'", "").lower()
    return Invitee(
        member_id=an_id("member", number, chance.getrandbits(32)),
        first_name=first,
        last_name=last,
        email=email,
        email_key=email,
        phone=f"+336{who.randrange(10**8):08}" if who.random() < 0.4 else None,
        employee_code=f"E{number % 500}" if chance.random() < 0.3 else None,
        locale="en" if chance.random() < 0.03 else "fr",
        role=chance.choices(("standard_user", "expense_approver", "administrator"), (80, 15, 5))[0],
        own_expense_reports=chance.random() < 0.4,
        dossier_id=an_id("dossier", cabinet, dossier),
        dossier_name=f"{trade} {owner}",
        cabinet_id=an_id("cabinet", cabinet),
        cabinet_name=f"Cabinet {LAST_NAMES[cabinet % len(LAST_NAMES)]} {cabinet}",
        invited_by=f"cabinet:{cabinet}" if chance.random() < 0.8 else None,
    )


# --- documents ----------------------------------------------------------------------------------------------------


def documents(numbers: range, count: int, seed: int, until: datetime) -> Iterator[dict[str, Any]]:
    """Invitations with these numbers of `count`, as the store keeps them, created one after another in the year before
    `until`."""
    chance = random.Random(f"{seed} {numbers.start}")
    for number in numbers:
        age = YEAR * ((count - number - chance.random()) / count)
        shares = YOUNG if age < POLICY.link_life * 0.9 else OLD
        life = chance.choice(lives(seed)[chance.choices(list(shares), list(shares.values()))[0]])
        person = a_person(chance, number, count)
        if life.invitation.channel == "sms":
            person = replace(person, phone=person.phone or f"+337{number % 10**8:08}")
        began = until - max(age, life.lasted)
        moved = partial(later, by=began.replace(microsecond=began.microsecond // 1000 * 1000) - _ORIGIN)
        invitation = replace(
            moved(life.invitation), id=invitation_id(DIRECTORY_SOURCE, person.member_id), invitee=person
        )
        document = to_document(Change(None, invitation, moved(life.steps), ()), [])
        # As the group commit leaves them.
        yield {**document, "writes": [ObjectId() for _ in range(min(life.saves, RING))]}


def later(value: Value, by: timedelta) -> Value:
    """The same with every moment in it moved, to the millisecond."""
    it: Any = value
    if isinstance(it, datetime):
        moment = it + by
        return cast("Value", moment.replace(microsecond=moment.microsecond // 1000 * 1000))
    if isinstance(it, tuple):
        return cast("Value", tuple(later(one, by) for one in cast("tuple[Any, ...]", it)))
    if is_dataclass(it) and not isinstance(it, (type, Invitee)):
        return cast("Value", replace(it, **{f.name: later(getattr(it, f.name), by) for f in _timed(type(it))}))
    return value


@cache
def _timed(kind: type) -> list[Any]:
    return [field for field in fields(kind) if any(word in str(field.type) for word in ("datetime", "Lease", "Told"))]


# --- writing ------------------------------------------------------------------------------------------------------


def _write(numbers: range, *, url: str, database: str, count: int, seed: int, until: datetime) -> int:
    with MongoClient[dict[str, Any]](url) as client:
        batch: list[dict[str, Any]] = []
        for document in documents(numbers, count, seed, until):
            batch.append(document)
            if len(batch) == BATCH:
                client[database][INVITATIONS].insert_many(batch, ordered=False)
                batch = []
        if batch:
            client[database][INVITATIONS].insert_many(batch, ordered=False)
    return len(numbers)


def populate(
    url: str, database: str, count: int, *, seed: int = 1, until: datetime, told: Callable[[str], None] = print
) -> dict[str, float]:
    """Write `count` invitations and make the service's indexes; returns bytes per invitation, by what holds them."""
    began = time.monotonic()
    chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
    write = partial(_write, url=url, database=database, count=count, seed=seed, until=until)
    written = 0
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as writers:
        for number, one in enumerate(writers.map(write, chunks), 1):
            written += one
            if number % 10 == 0:
                told(f"  {written:,} of {count:,} in {time.monotonic() - began:.0f} s")
    with MongoClient[dict[str, Any]](url) as client:
        invitations = client[database][INVITATIONS]
        invitations.create_indexes(list(INDEXES))
        client.admin.command("fsync")  # else the sizes on disk are those of a while ago
        stats = client[database].command("collStats", INVITATIONS)
    told(f"  {count:,} invitations and their indexes in {time.monotonic() - began:.0f} s")
    return {
        "seconds": time.monotonic() - began,
        "document": stats["size"] / count,
        "stored": stats["storageSize"] / count,
        "indexes": stats["totalIndexSize"] / count,
        **{f"index {name}": size / count for name, size in sorted(stats["indexSizes"].items())},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench.population", description=__doc__)
    parser.add_argument("--url", required=True, help="the address of a MongoDB server")
    parser.add_argument("--database", default="convive_invitation")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    now = datetime.now(UTC)
    for what, value in populate(options.url, options.database, options.count, seed=options.seed, until=now).items():
        print(f"{what}: {value:,.1f}")


if __name__ == "__main__":
    main()
