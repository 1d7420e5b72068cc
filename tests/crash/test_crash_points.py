"""A process may die at any await, and nothing is lost and nothing happens twice.

`places.json` enumerates every place at which the services wait between an event, or a click, and the last write that
follows from it. The processes are killed with SIGKILL at each of them in turn, on the real broker and database, and
begun anew. By default each place is visited once; `CONVIVE_EVERY_CRASH_POINT=1` visits each in every scenario, before
and after what it waits for, every time it is passed.

To enumerate anew after a change: `CONVIVE_ENUMERATE=1 make test ARGS="tests/crash -k enumerated"`, then read the
difference: each new line is a new moment at which a crash has to be right.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.broker import Broker
from deploy.local.programs import REPOSITORY
from tests.crash.guests import Guest, Scenario
from tests.crash.lanes import Child, Lane, Nursery
from tests.crash.scenarios import SCENARIOS
from tests.crash.sources import source
from tests.real_parts import finished
from tests.speaking import until

ENUMERATION = Path(__file__).with_name("places.json")
LANES = 4
_ONLY = os.environ.get("CONVIVE_CRASH_ONLY", "")
_EVERY = os.environ.get("CONVIVE_EVERY_CRASH_POINT") == "1"
_ENUMERATE = os.environ.get("CONVIVE_ENUMERATE") == "1"
_SEED = int(os.environ.get("CONVIVE_CRASH_SEED", "1"))
# Beyond these, only what has not come to all of its places yet: some are come to by who loses a race.
_RECORDINGS_OF_ALL = 3 if _ENUMERATE else 1
_RECORDINGS = 20
_TRIES = 20
_MOST_TIMES = 4

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.slow, pytest.mark.timeout(1800)]

HOW_TO_ADD = (
    "A place in this list is a moment at which a process may die. Look at what is written before it and what after it:"
    " is each true if the other never happens, and who takes up what is left? Then enumerate anew with"
    ' CONVIVE_ENUMERATE=1 make test ARGS="tests/crash -k enumerated", and commit places.json with your change.'
)


@dataclass
class Seen:
    """What was recorded in this run."""

    places: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    awaits: set[tuple[str, str, str]] = field(default_factory=set[tuple[str, str, str]])

    @property
    def all(self) -> set[str]:
        """Every place, whatever was going on."""
        return {place for places in self.places.values() for place in places}


@dataclass(frozen=True)
class Point:
    """Where to kill. `scenarios`: where that place is come to; one of them is enough."""

    scenarios: tuple[str, ...]
    place: str
    moment: str
    times: int = 1

    def __str__(self) -> str:
        nth = f" for the {self.times}. time" if self.times > 1 else ""
        return f"{self.scenarios[0]}{nth} {self.moment} {self.place}"


@pytest.fixture(scope="module")
def seen() -> Seen:
    return Seen()


@pytest.fixture(scope="module")
def lanes(run_folder: Path, broker: Broker, mongo_url: str) -> Generator[Sequence[Lane]]:
    """Several of the product beside each other, each to be killed on its own."""
    nursery = Nursery(run_folder / "crash" / "nursery.log")
    lanes: list[Lane] = []
    vhosts: list[str] = []
    try:
        for number in range(LANES):
            vhosts.append(f"crash-{number}-{uuid4().hex[:8]}")
            url = finished(broker.create_vhost(vhosts[-1]))
            lane = Lane(number, nursery, run_folder / "crash" / str(number), amqp_url=url, mongo_url=mongo_url)
            lanes.append(lane)
            finished(lane.start())
        yield lanes
    finally:
        for lane in lanes:
            lane.kill()
        nursery.close()
        for vhost in vhosts:
            finished(broker.delete_vhost(vhost))
        for lane in lanes:
            lane.drop_databases()


def enumerated() -> dict[str, Any]:
    return json.loads(ENUMERATION.read_text()) if ENUMERATION.exists() else {"places": {}, "awaits": {}}


async def record(lane: Lane, scenario: Scenario, seen: Seen, name: str, *, dawdle: bool) -> None:
    """Let a scenario happen and note where its victim waits, who may `dawdle` to lose races."""
    guest = await scenario.prepare(lane)
    await lane.rest()
    await lane.forget_others(guest.member.invitation_id)
    child = lane.children[scenario.victim]
    child.ask("record", loops=scenario.loops, dawdle=dawdle)
    await scenario.act(lane, guest)
    await until_over(lane, scenario, guest)
    told = child.ask("stop")
    places = seen.places.setdefault(name, Counter())
    for place, times in told["places"].items():
        places[place] = max(places[place], times)
    seen.awaits |= {(file, function, label) for file, function, label in told["awaits"]}
    await scenario.check(lane, guest)
    assert child.deaths == 0 or not child.dead


async def until_over(lane: Lane, scenario: Scenario, guest: Guest) -> None:
    """What was begun has come to its end."""
    await until(lambda: scenario.over(lane, guest), within=30, what="it is over")
    await lane.rest()


async def crash(lane: Lane, scenario: Scenario, point: Point, *, dawdle: bool) -> bool:
    """Kill the victim, who may `dawdle` to lose races, at a place, begin it anew and check that all is well; False when
    it never came there."""
    guest = await scenario.prepare(lane)
    await lane.rest()
    await lane.forget_others(guest.member.invitation_id)
    child = lane.children[scenario.victim]
    before = child.deaths
    where = {"place": point.place, "moment": point.moment, "times": point.times}
    with suppress(ConnectionError):  # what runs all the time may come there, and die, before it has answered
        child.ask("kill", **where, loops=scenario.loops, dawdle=dawdle)

    async def watch_over() -> bool:
        while True:
            if child.dead:
                await child.restart()
                return True
            await asyncio.sleep(0.01)

    async def act() -> None:
        await scenario.act(lane, guest)
        await until_over(lane, scenario, guest)

    watching, acting = asyncio.create_task(watch_over()), asyncio.create_task(act())
    try:
        await acting
        # Not whether the watch is over: it still brings up whoever left nothing behind to wait for.
        died = child.dead or child.deaths > before or not spared(child)
        if died:
            await watching
            # What it had in hand when it died comes back only now.
            await until_over(lane, scenario, guest)
    finally:
        watching.cancel()
        acting.cancel()
        await asyncio.gather(watching, acting, return_exceptions=True)
    await scenario.check(lane, guest)
    return died


def spared(child: Child) -> bool:
    """Whether it need not die any more; False when it came there after all before it could be told."""
    try:
        child.ask("spare")
    except ConnectionError:
        return False
    return True


def missing(places: set[str], seen: Seen) -> set[str]:
    """Which of these places were not come to. To enumerate anew, what the code has no more is not waited for."""
    unseen = places - seen.all
    if not _ENUMERATE:
        return unseen
    labels: dict[str, set[str]] = {}
    for function, found in awaits_on_the_way(seen).items():
        labels.setdefault(function.partition(": ")[2], set()).update(found)

    def is_there(place: str) -> bool:
        way, _, label = place.partition(": ")
        functions = way.split(" > ")
        return labels.keys() >= set(functions) and label in labels[functions[-1]]

    return {place for place in unseen if is_there(place)}


def awaits_on_the_way(seen: Seen) -> dict[str, list[str]]:
    """Every await of every function on the way, come to or not: one in a branch that only trouble takes counts too."""
    return {
        f"{Path(file).relative_to(REPOSITORY)}: {function}": source(file).by_function.get(function, [])
        for file, function in sorted({(file, function) for file, function, _ in seen.awaits})
    }


async def test_every_await_is_enumerated(lanes: Sequence[Lane], seen: Seen) -> None:
    known = enumerated()
    enumerated_places = {place for places in known["places"].values() for place in places}
    for number in range(_RECORDINGS):
        of_all = number < _RECORDINGS_OF_ALL
        unseen: set[str] = set() if of_all else missing(enumerated_places, seen)
        # Some places are come to only by who loses a race: whoever may come there tries again, and dawdles.
        names = [name for name in SCENARIOS if of_all or unseen & set(known["places"].get(name, ()))]
        if not names:
            break
        waiting = iter(names)

        async def work(lane: Lane, names: Iterator[str] = waiting, number: int = number) -> None:
            async with lane.open():
                for name in names:
                    try:
                        await record(lane, SCENARIOS[name], seen, name, dawdle=number > 0)
                    except BaseException as error:
                        error.add_note(f"while nothing was killed: {name}")
                        raise

        async with asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(work(lane))

    on_the_way = awaits_on_the_way(seen)
    if _ENUMERATE:
        # A race that a scenario did not see this time is no reason to forget its place, if it is still in the code.
        places = {name: sorted({*known["places"].get(name, ()), *seen.places[name]} & seen.all) for name in SCENARIOS}
        new = {"places": places, "awaits": on_the_way}
        ENUMERATION.write_text(json.dumps(new, indent=1) + "\n")
        return
    new = sorted(seen.all - enumerated_places)
    gone = sorted(enumerated_places - seen.all)
    assert not new, "\n".join(["Awaits that nobody has enumerated:", *new, HOW_TO_ADD])
    assert not gone, "\n".join(["Awaits that are enumerated and gone:", *gone, HOW_TO_ADD])
    unheard = [
        f"{function}: {label}"
        for function, labels in on_the_way.items()
        for label in labels
        if label not in known["awaits"].get(function, ())
    ]
    assert not unheard, "\n".join(["Awaits on the way that nobody has enumerated:", *unheard, HOW_TO_ADD])


def points(seen: Seen) -> list[Point]:
    """Where to kill in this run: at each place once, or all there is."""
    known: dict[str, list[str]] = enumerated()["places"]
    if _EVERY:
        return [
            Point((name,), place, moment, times)
            for name, places in known.items()
            for place in places
            for times in range(1, min(seen.places.get(name, Counter())[place] or 1, _MOST_TIMES) + 1)
            for moment in ("at", "after")
            if _ONLY in name
        ]
    where: dict[str, list[str]] = {}
    for name, places in known.items():
        for place in places:
            where.setdefault(place, []).append(name)
    # Another scenario and another moment in each run of the suite, the same ones again with the same seed.
    chosen = random.Random(_SEED)
    return [
        point
        for place, names in where.items()
        for point in [Point(tuple(chosen.sample(names, len(names))), place, chosen.choice(("at", "after")))]
        if _ONLY in str(point)
    ]


async def test_a_process_may_die_at_any_await(lanes: Sequence[Lane], seen: Seen) -> None:
    # The last first: those that read the log from its beginning, which grows with everything that happens.
    order = iter(enumerate(todo := points(seen)[::-1], start=1))
    failures: list[str] = []
    missed: list[str] = []
    died: Counter[str] = Counter()

    async def visit(lane: Lane, point: Point) -> bool:
        for number in range(_TRIES):
            scenario = SCENARIOS[point.scenarios[number % len(point.scenarios)]]
            if number:
                # Some places are come to in a young process only, such as where it connects.
                await lane.children[scenario.victim].begin_anew()
            if await crash(lane, scenario, point, dawdle=number > 0):
                return True
        return False

    async def work(lane: Lane) -> None:
        for number, point in order:
            began = time.monotonic()
            there = False
            try:
                async with lane.open():
                    there = await visit(lane, point)
            except (Exception, pytest.fail.Exception) as error:
                failures.append(f"{point}: {type(error).__name__}: {str(error)[:1500]}")
                print(failures[-1], lane.last_words(), sep="\n", flush=True)
                async with lane.open():
                    await lane.recover()
            if there:
                died[point.place] += 1
            else:
                missed.append(str(point))
            print(f"{number}/{len(todo)} {time.monotonic() - began:.1f} s {there} {point}", flush=True)

    async with asyncio.TaskGroup() as group:
        for lane in lanes:
            group.create_task(work(lane))

    print(f"{died.total()} deaths at {len(died)} places in {len(SCENARIOS)} scenarios, seed {_SEED}")
    assert not failures, "\n\n".join([f"{len(failures)} of {len(todo)} (seed {_SEED}):", *failures])
    never = {point.place for point in todo} - died.keys()
    assert not never, "\n".join(["Enumerated, and nobody died there:", *sorted(never)])
