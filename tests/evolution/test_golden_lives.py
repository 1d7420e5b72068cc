"""Whole lives as they were published once, told again to the code of today: every state, sequence, version and step is
what it was then.

The files in `tests/golden/lives` were recorded once and are never made anew. Code may learn to keep more of an event,
and then more is shown than was expected; what was expected stays as it is. A change of the contracts gets a life of
its own, beside the old ones.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from convive_contracts.events import DATA_BY_TYPE, InvitationState
from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import close_client, open_client
from invitation.store.memory import MemoryStore
from invitation.store.mongo import INVITATIONS, MongoStore, create_indexes
from invitation.store.protocol import Store
from tests.evolution.retelling import event_of, hear, rebuild, shown

FOLDER = Path(__file__).parents[1] / "golden" / "lives"
LIVES: dict[str, Any] = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}

NEVER_CHANGE = (
    "Events that were published once mean something else now. They are in the log, in parked messages and with other"
    " teams, so their meaning stays: adding is allowed, changing is not. Change the code, not the file; for a new"
    " meaning make a new version of the type, and a new life beside the old ones."
)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.database)])
def place(request: pytest.FixtureRequest) -> tuple[str, str] | None:
    """The address and database to test on; None for memory, which needs no server."""
    if request.param == "memory":
        return None
    return request.getfixturevalue("mongo_url"), request.getfixturevalue("database")


@pytest.fixture
async def store(place: tuple[str, str] | None) -> AsyncGenerator[Store]:
    if place is None:
        yield MemoryStore()
        return
    url, name = place
    client = open_client(url)
    await create_indexes(client[name])
    commit = GroupCommit(client[name][INVITATIONS])
    yield MongoStore(client[name], commit, announce=None)
    await commit.close()
    await close_client(client)


def differences(expected: Any, there: Any, where: str = "") -> list[str]:
    """What is expected and not there, or there and different. More fields than expected are no difference."""
    if isinstance(expected, Mapping) and isinstance(there, Mapping):
        return [
            difference
            for name, value in expected.items()
            for difference in differences(value, there.get(name, "nothing"), f"{where}.{name}")
        ]
    return [] if expected == there else [f"{where[1:]}: was {expected!r}, is {there!r}"]


def unchanged(expected: Any, there: Any) -> None:
    found = differences(expected, there)
    assert not found, "\n".join([NEVER_CHANGE, *found])


@pytest.mark.parametrize("name", LIVES)
async def test_a_golden_life_heard_again_leads_to_the_state_it_led_to_then(name: str, store: Store) -> None:
    life = LIVES[name]

    outcomes = await hear(store, life["events"])

    unchanged(life["heard"], await shown(store, list(life["heard"])))
    assert outcomes == life["outcomes"], NEVER_CHANGE


@pytest.mark.parametrize("name", LIVES)
async def test_a_golden_life_heard_twice_changes_nothing_the_second_time(name: str, store: Store) -> None:
    life = LIVES[name]
    # A fact of this service's own is nothing it handles, told once or twice.
    consumed = [one for one in life["events"] if event_of(one).source != "/convive/invitation"]
    await hear(store, consumed)
    before = await shown(store, list(life["heard"]))

    await hear(store, consumed)

    after = await shown(store, list(life["heard"]))
    for id, invitation in after.items():
        kept = ("state", "link_sequence", "send_sequence", "expires_at", "send_at", "invitee", "channel")
        assert {name: invitation[name] for name in kept} == {name: before[id][name] for name in kept}


@pytest.mark.parametrize("name", LIVES)
async def test_a_golden_life_rebuilds_the_state_it_rebuilt_then(name: str, store: Store) -> None:
    life = LIVES[name]

    await rebuild(store, life["events"], list(life["rebuilt"]))

    there = await shown(store, list(life["rebuilt"]))
    unchanged(life["rebuilt"], there)
    for event in map(event_of, life["events"]):
        if isinstance(event.data, InvitationState):
            # Whoever was told this version must not take what comes next for older.
            assert there[event.data.invitation_id]["version"] >= event.data.version


def test_every_type_of_event_occurs_in_a_golden_life() -> None:
    told = {event_of(one).type for life in LIVES.values() for one in life["events"]}

    assert told == set(DATA_BY_TYPE), "A new type of event gets a golden life: see docs/events.md."
