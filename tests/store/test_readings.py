"""What /metrics reads from a database: each from an index, and right."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from convive_kit.mongo import Collection, Database, close_client, open_client
from convive_kit.outbox import OUTBOX_INDEX, outbox_waiting
from convive_kit.parked import ParkedMessages
from invitation.store.due import overdue
from invitation.store.mongo import INVITATIONS, create_indexes
from invitation.store.replays import Replay, Replays
from tests.unit.lifecycle.making import NOW, later

pytestmark = pytest.mark.database


@pytest.fixture
async def there(mongo_url: str, database: str) -> AsyncGenerator[Database]:
    client = open_client(mongo_url)
    yield client[database]
    await close_client(client)


async def test_what_is_due_is_counted_with_how_late_the_longest_due_is(there: Database) -> None:
    await create_indexes(there)
    assert await overdue(there, NOW) == (0, 0.0)
    await there[INVITATIONS].insert_many(
        [
            {"_id": "late", "channel": "email", "due_at": later(seconds=-90)},
            {"_id": "later", "channel": "none", "due_at": later(seconds=-30)},
            {"_id": "not yet", "channel": "sms", "due_at": later(seconds=30)},
            {"_id": "never", "channel": "email"},
        ]
    )
    assert await overdue(there, NOW) == (2, 90.0)


@pytest.mark.parametrize(
    ("rebuilds", "over"),
    [
        ([], False),
        ([{"status": "done"}], True),
        ([{"status": "running"}], False),
        ([{"status": "aborted"}], False),
        ([{"status": "failed"}], False),
        ([{"status": "aborted"}, {"status": "done"}], True),
        ([{"status": "done"}, {"status": "running"}], False),
        ([{"status": "done"}, {"status": "running", "dry_run": True}], True),
        ([{"status": "done"}, {"status": "running", "rebuild": False}], True),
    ],
)
async def test_what_was_folded_in_is_due_once_the_last_rebuild_is_over(
    there: Database, rebuilds: Sequence[dict[str, Any]], over: bool
) -> None:
    await create_indexes(there)
    folded_in = {"_id": "folded in", "channel": "email", "due_once_armed": later(seconds=-120), "disarmed": True}
    await there[INVITATIONS].insert_many([folded_in, {"_id": "late", "channel": "sms", "due_at": later(seconds=-90)}])
    for number, fields in enumerate(rebuilds):
        what = {"rebuild": True, **fields}
        await Replays(there).begin(
            Replay(id=f"{number}", actor="ops", created_at=later(seconds=number), origin="log", frozen_at=NOW, **what)
        )
    assert await Replays(there).rebuilt() is over
    assert await overdue(there, NOW) == ((2, 120.0) if over else (1, 90.0))


async def test_an_outbox_tells_how_many_wait_and_since_when(there: Database) -> None:
    collection: Collection = there["documents"]
    await collection.create_indexes([OUTBOX_INDEX])
    assert await outbox_waiting(collection, NOW) == (0, 0.0)
    await collection.insert_many(
        [
            {"_id": "two", "outbox": [{"at": later(seconds=-5)}, {"at": later(seconds=-45)}]},
            {"_id": "one", "outbox": [{"at": later(seconds=-10)}]},
            {"_id": "none", "outbox": []},
            {"_id": "never"},
        ]
    )
    assert await outbox_waiting(collection, NOW) == (2, 45.0)
    assert await outbox_waiting(collection, NOW - timedelta(minutes=5)) == (2, 0.0), "clocks differ"


async def test_parked_messages_are_counted_by_fingerprint_and_settled_ones_are_not(there: Database) -> None:
    parked = ParkedMessages(there["parked"])
    await parked.prepare()
    assert await parked.numbers() == {}
    statuses = [("intake:malformed", "parked"), ("intake:malformed", "parked"), ("intake:malformed", "replayed")]
    found = [*statuses, ("intake:oversize", "parked"), ("intake:unknown_type", "discarded")]
    await there["parked"].insert_many(
        [
            {"_id": str(number), "fingerprint": fingerprint, "status": status, "last_seen": NOW}
            for number, (fingerprint, status) in enumerate(found)
        ]
    )
    assert await parked.numbers() == {"intake:malformed": 2, "intake:oversize": 1}


async def test_runs_that_have_ended_are_not_under_way(there: Database) -> None:
    await create_indexes(there)
    assert list(await Replays(there).under_way()) == []
