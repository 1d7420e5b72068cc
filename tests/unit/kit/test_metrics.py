"""What is counted, and what is read from the database for a scrape."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from convive_kit.metrics import MOST_FINGERPRINTS, Metrics, parked_reading
from convive_kit.mongo import DatabaseAway
from convive_kit.readings import Declared, Readings, Samples

GAUGE = Declared("guests", "convive_guests", "Who is here.", ("table",))


class Guests:
    """Something to read, that can be away or slow."""

    def __init__(self) -> None:
        self.number = 1
        self.reads = 0
        self.away = False
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.now = 0.0
        self.registry = CollectorRegistry(auto_describe=True)
        self.readings = Readings(self.registry, [GAUGE], patience=0.05, monotonic=lambda: self.now)
        self.readings.fill("guests", self.read)

    async def read(self) -> dict[str, Samples]:
        self.reads += 1
        await self.may_answer.wait()
        if self.away:
            raise DatabaseAway
        return {"convive_guests": {("window",): float(self.number)}}

    async def scrape(self) -> str:
        await self.readings.refresh()
        return generate_latest(self.registry).decode()


async def test_what_was_read_is_told_again_until_it_is_no_longer_fresh() -> None:
    guests = Guests()
    assert 'convive_guests{table="window"} 1.0' in await guests.scrape()
    guests.number = 2
    guests.now = 14.9
    assert 'convive_guests{table="window"} 1.0' in await guests.scrape()
    guests.now = 15.0
    assert 'convive_guests{table="window"} 2.0' in await guests.scrape()
    assert guests.reads == 2


async def test_what_cannot_be_read_is_left_out_and_said() -> None:
    guests = Guests()
    assert 'convive_reading_success{reading="guests"} 1.0' in await guests.scrape()
    guests.away, guests.now = True, 60.0
    text = await guests.scrape()
    assert "convive_guests{" not in text
    assert 'convive_reading_success{reading="guests"} 0.0' in text
    assert 'convive_reading_timestamp_seconds{reading="guests"}' in text, "when it last succeeded is still known"
    guests.away, guests.now = False, 120.0
    assert "convive_guests{" in await guests.scrape()


async def test_a_scrape_does_not_wait_for_what_takes_long_and_never_reads_twice_at_once() -> None:
    guests = Guests()
    guests.may_answer.clear()
    texts = await asyncio.gather(*(guests.scrape() for _ in range(5)))
    assert not any("convive_guests{" in text for text in texts)
    assert guests.reads == 1
    guests.may_answer.set()
    assert "convive_guests{" in await guests.scrape()
    assert guests.reads == 1


async def test_only_the_largest_groups_of_parked_messages_have_a_label_of_their_own() -> None:
    numbers = {f"intake:kind_{number}": 1000 - number for number in range(MOST_FINGERPRINTS + 5)}

    async def read() -> dict[str, int]:
        return numbers

    samples = (await parked_reading(read)())["convive_parked_messages"]
    assert len(samples) == MOST_FINGERPRINTS + 1
    assert sum(samples.values()) == sum(numbers.values())
    assert samples["intake:kind_0",] == 1000
    assert samples["other",] == sum(sorted(numbers.values())[:5])


def test_a_type_that_nobody_knows_is_counted_as_unknown() -> None:
    metrics = Metrics("sample")
    for key in ("user.created", "user.created.bulk", "user.vanished", "jeanne@example.com", ""):
        metrics.taken("invitation.events", key, "handled")
    text = generate_latest(metrics.registry).decode()
    assert 'convive_events_total{outcome="handled",queue="invitation.events",type="user.created"} 2.0' in text
    assert 'convive_events_total{outcome="handled",queue="invitation.events",type="unknown"} 3.0' in text
    assert "@" not in text
