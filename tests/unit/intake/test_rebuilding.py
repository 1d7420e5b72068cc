"""Folding the log: what is handed over while something is still being written keeps its order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from convive_contracts import invitation_id, new_event
from convive_contracts.envelope import Event
from convive_contracts.events import DIRECTORY_SOURCE
from invitation.intake.events import Replayed
from invitation.intake.rebuilding import Rebuilding
from invitation.lifecycle.invitation import Change
from invitation.lifecycle.states import State
from invitation.store.memory import MemoryStore
from tests.unit.contracts.making import MEMBER, user_data
from tests.unit.lifecycle.making import NOW, POLICY

MARK = Replayed("replay-1", "ops", "the database was lost")
OTHER = "11111111-1111-4111-8111-111111111111"


class Slow(MemoryStore):
    """Saves nothing of `MEMBER` before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_save = asyncio.Event()
        self.saved: list[str] = []

    async def save(self, change: Change) -> None:
        if change.after.id == invitation_id(DIRECTORY_SOURCE, MEMBER):
            await self.may_save.wait()
        await super().save(change)
        self.saved.append(change.after.id)


def event(short: str, member: str, sequence: int) -> Event:
    data, moment = user_data({"id": member}), NOW + timedelta(seconds=sequence)
    return new_event(short, source=DIRECTORY_SOURCE, subject=member, data=data, time=moment, sequence=sequence)


async def test_what_comes_later_of_the_same_person_waits_and_others_do_not() -> None:
    store = Slow()
    rebuilding = Rebuilding(store, store, policy=POLICY, now=lambda: NOW)
    first = asyncio.create_task(rebuilding.fold([event("user.created", MEMBER, 1)], MARK))
    second = asyncio.create_task(
        rebuilding.fold([event("user.removed", MEMBER, 2), event("user.created", OTHER, 1)], MARK)
    )
    async with asyncio.timeout(30):
        while not store.saved:
            await asyncio.sleep(0)
        assert store.saved == [invitation_id(DIRECTORY_SOURCE, OTHER)]
        store.may_save.set()
        assert [await first, await second] == [["done"], ["done", "done"]]
    assert not rebuilding.something_came_early
    await rebuilding.arm(MARK)
    removed, other = [await store.load(invitation_id(DIRECTORY_SOURCE, member)) for member in (MEMBER, OTHER)]
    assert removed is not None
    assert other is not None
    assert (removed.state, other.state) == (State.REVOKED, State.PENDING)
