"""What operators do with parked messages, on a real database and both drivers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from convive_contracts.envelope import Malformed
from convive_kit.consuming import Incoming
from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import Collection, Driver, close_client, open_client
from convive_kit.parked import Parked, ParkedMessages
from convive_kit.parking import Parking

pytestmark = pytest.mark.database

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)


class Lot:
    """A parking place and its clock."""

    def __init__(self, collection: Collection) -> None:
        self.now = NOW
        self.collection = collection
        self.parked = ParkedMessages(collection)
        self.parking = Parking(GroupCommit(collection), now=lambda: self.now, step="intake")

    async def park(self, body: bytes = b"{", *, at: datetime = NOW, error: Exception | None = None) -> None:
        self.now = at
        message = Incoming(queue="q", routing_key="user.created", body=body, headers={"ce-id": "1"})
        await self.parking.park(message, error or Malformed("no JSON"))

    async def all(self) -> list[Parked]:
        return list(await self.parked.latest(limit=200))


@pytest.fixture(params=["motor", "pymongo"])
async def lot(request: pytest.FixtureRequest, mongo_url: str, database: str) -> AsyncGenerator[Lot]:
    driver: Driver = request.param
    client = open_client(mongo_url, driver=driver)
    lot = Lot(client[database]["parked"])
    await lot.parked.prepare()
    yield lot
    await close_client(client)


async def test_they_are_listed_last_seen_first_without_gaps_repeats_or_bodies(lot: Lot) -> None:
    for number in range(11):
        await lot.park(str(number).encode(), at=NOW + timedelta(minutes=number // 3))

    found: list[Parked] = []
    after = None
    while page := await lot.parked.latest(limit=4, after=after):
        found += page
        after = (page[-1].fields["last_seen"], page[-1].id)

    keys = [(parked.fields["last_seen"], parked.id) for parked in found]
    assert len(keys) == 11
    assert keys == sorted(keys, reverse=True)
    assert all("body" not in parked.fields for parked in found)


async def test_one_is_read_as_it_came(lot: Lot) -> None:
    await lot.park(b"{")
    (listed,) = await lot.all()

    whole = await lot.parked.one(listed.id)

    assert whole is not None
    assert whole.message() == Incoming(queue="q", routing_key="user.created", body=b"{", headers={"ce-id": "1"})
    assert await lot.parked.one(str(uuid4())) is None


async def test_those_that_failed_alike_are_a_group(lot: Lot) -> None:
    await lot.park(b"1")
    await lot.park(b"2", at=NOW + timedelta(minutes=1))
    await lot.park(b"3", error=RuntimeError("bug"))
    await lot.park(b"4", at=NOW + timedelta(days=2))

    groups = {group.fingerprint: group for group in await lot.parked.groups()}

    assert {group.fingerprint: group.messages for group in groups.values()} == {
        "intake:malformed": 3,
        "intake:unexpected": 1,
    }
    alike = groups["intake:malformed"]
    assert (alike.first_seen, alike.last_seen) == (NOW, NOW + timedelta(days=2))
    assert [((day - alike.per_day[0][0]).days, messages) for day, messages in alike.per_day] == [(0, 2), (2, 1)]


async def test_what_is_parked_after_the_freeze_is_not_swept_in(lot: Lot) -> None:
    await lot.park(b"early")
    frozen_at = NOW + timedelta(seconds=1)
    await lot.park(b"late", at=NOW + timedelta(seconds=2))

    swept = [parked.fields["body"] async for parked in lot.parked.frozen(frozen_at, after=None)]

    assert swept == [b"early"]


async def test_a_replayed_one_is_out_of_the_list_and_kept(lot: Lot) -> None:
    await lot.park()
    (one,) = await lot.all()

    await lot.parked.replayed(one.id, "ops", "fixed", NOW)

    assert await lot.all() == []
    (kept,) = await lot.parked.latest(limit=10, status="replayed")
    assert kept.fields["settled"] == {"at": NOW, "by": "ops", "reason": "fixed"}


async def test_an_edit_keeps_the_original_and_ties_the_copy_to_it(lot: Lot) -> None:
    await lot.park(b"wrong")
    (listed,) = await lot.all()
    original = await lot.parked.one(listed.id)
    assert original is not None

    copy_id = await lot.parked.edited(original, b"right", None, "ops", NOW)

    copy, kept = await lot.parked.one(copy_id), await lot.parked.one(original.id)
    assert copy is not None
    assert kept is not None
    shown = ("body", "edited_from", "edited_to", "status")
    assert [copy.fields.get(name) for name in shown] == [b"right", original.id, None, "parked"]
    assert [kept.fields.get(name) for name in shown] == [b"wrong", None, copy_id, "edited"]


async def test_one_that_fails_again_counts_up_and_stays(lot: Lot) -> None:
    await lot.park()
    (one,) = await lot.all()

    await lot.parked.failed_again(one.id, Malformed("still no JSON"), NOW + timedelta(hours=1))

    (stays,) = await lot.all()
    assert (stays.fields["count"], stays.fields["reason"]) == (2, "still no JSON")


async def test_a_discarded_one_that_comes_again_is_back(lot: Lot) -> None:
    await lot.park()
    (one,) = await lot.all()
    await lot.parked.discarded(one.id, "ops", "noise", NOW)
    assert await lot.all() == []

    await lot.park()

    (back,) = await lot.all()
    assert back.fields["count"] == 2
