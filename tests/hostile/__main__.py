"""Takes hostile messages in as the service does, without a broker: parser, intake and parking on a real database.

Prints one line of JSON: what became of them, and the resident memory after half of them and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import structlog
import uvloop

from convive_contracts import topology
from convive_kit.consuming import Consumer, Incoming
from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import close_client, open_client
from convive_kit.parked import ParkedMessages
from convive_kit.parking import Parking
from invitation.delivery.slots import Delivery
from invitation.intake.events import Intake
from invitation.lifecycle.schedule import Policy
from invitation.store.mongo import INVITATIONS, PARKED, MongoStore, create_indexes
from tests.hostile.generating import Hostility, Message

AT_ONCE = 500


_BEGAN = datetime.now(UTC)
_TIMES = 3000
"""How fast time passes: what names an unknown invitation is tried for ten minutes, and nobody wants to wait here."""


def _now() -> datetime:
    return _BEGAN + (datetime.now(UTC) - _BEGAN) * _TIMES


def _resident() -> float:
    """MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def take_in(url: str, database_name: str, count: int, seed: int) -> dict[str, object]:
    """Handle or park all of them."""
    client = open_client(url)
    database = client[database_name]
    await create_indexes(database)
    await ParkedMessages(database[PARKED]).prepare()
    store = MongoStore(database, GroupCommit(database[INVITATIONS]), announce=None)
    policy = Policy()
    # Without slots what is healthy stays due: this is about taking in.
    delivery = Delivery(store, {}, owner="test", policy=policy, now=_now, slots=0)
    intake = Intake(store, delivery, policy=policy, now=_now, due_changed=lambda: None)
    parking = Parking(GroupCommit(database[PARKED]), now=_now, step="intake")
    consumer = Consumer(topology.INVITATION_EVENTS, intake.receive, parking.park, AT_ONCE, lambda *_: None)
    outcomes: Counter[str] = Counter()
    healthy: list[str] = []

    async def one(message: Message) -> None:
        incoming = Incoming(
            queue=topology.INVITATION_EVENTS,
            routing_key=message.key,
            body=message.body,
            content_type=message.content_type,
            headers=message.headers,
        )
        outcome = await consumer._until_decided(incoming, 0) or "left"
        outcomes[outcome] += 1
        if message.healthy is not None:
            healthy.append(message.healthy)
            assert outcome == "handled"

    warm = 0.0
    # As the prefetch does it: what waits holds its own place and nobody else's.
    places = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as group:
        for number, message in enumerate(Hostility(seed).messages(count)):
            await places.acquire()
            group.create_task(one(message)).add_done_callback(lambda _: places.release())
            if number == count // 2:
                warm = _resident()
    at_the_end = _resident()
    kept = [document async for document in database[PARKED].find({}, {"count": 1, "slug": 1})]
    there = await database[INVITATIONS].count_documents({"_id": {"$in": healthy}, "state": "pending"})
    await close_client(client)
    slugs: Counter[str] = Counter()
    for document in kept:
        slugs[document["slug"]] += document["count"]
    return {
        **outcomes,
        "kept": sum(document["count"] for document in kept),
        "records": len(kept),
        "slugs": slugs,
        "healthy": len(healthy),
        "invitations": there,
        "warm": warm,
        "at_the_end": at_the_end,
    }


def main() -> None:
    """Take in as many as asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("database")
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(take_in(asked.url, asked.database, asked.count, asked.seed))))


if __name__ == "__main__":
    main()
