"""Folding the log: what is handed over while something is still being written keeps its order."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from convive_contracts import invitation_id, new_event
from convive_contracts.envelope import Event
from convive_contracts.events import DIRECTORY_SOURCE
from convive_kit.mongo import DatabaseAway
from invitation.intake.events import Replayed
from invitation.intake.rebuilding import Rebuilding
from invitation.lifecycle.invitation import Change
from invitation.lifecycle.states import State
from invitation.store.memory import MemoryStore
from tests.unit.contracts.making import MEMBER, user_data
from tests.unit.lifecycle.making import NOW, POLICY

MARK = Replayed("replay-1", "ops", "the database was lost")
OTHER = "11111111-1111-4111-8111-111111111111"
ID = invitation_id(DIRECTORY_SOURCE, MEMBER)


class Slow(MemoryStore):
    """Saves nothing of `MEMBER` before it may, and not the first time when it is `away`."""

    def __init__(self) -> None:
        super().__init__()
        self.may_save = asyncio.Event()
        self.other_saved = asyncio.Event()
        self.away = False

    async def save(self, change: Change) -> None:
        if change.after.id != ID:
            await super().save(change)
            self.other_saved.set()
            return
        await self.may_save.wait()
        if self.away:
            self.away = False
            raise DatabaseAway
        await super().save(change)


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
        await store.other_saved.wait()
        assert await store.load(ID) is None
        store.may_save.set()
        assert [await first, await second] == [["done"], ["done", "done"]]
    assert not rebuilding.something_came_early
    await rebuilding.arm(MARK)
    removed, other = await store.load(ID), await store.load(invitation_id(DIRECTORY_SOURCE, OTHER))
    assert removed is not None
    assert other is not None
    assert (removed.state, other.state) == (State.REVOKED, State.PENDING)


async def test_what_could_not_be_written_is_not_overtaken_by_what_comes_later() -> None:
    store = Slow()
    store.away = True
    rebuilding = Rebuilding(store, store, policy=POLICY, now=lambda: NOW)
    folds = [
        rebuilding.fold([event(f"user.{what}", MEMBER, n)], MARK) for n, what in enumerate(("created", "removed"), 1)
    ]
    folding = asyncio.gather(*folds, return_exceptions=True)
    store.may_save.set()
    assert [type(outcome) for outcome in await folding] == [DatabaseAway, DatabaseAway]
    assert not rebuilding.something_came_early
