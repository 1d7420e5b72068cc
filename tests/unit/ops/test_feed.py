"""The one reader of the log, and those who listen to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import cast
from uuid import uuid4

import pytest

import convive_kit.feed
from convive_kit.bus import BusAway
from convive_kit.consuming import Incoming
from convive_kit.event_log import EventLog, Logged, Start
from convive_kit.feed import MOST_WAITING, Feed

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def fact(offset: int) -> Logged:
    place = {f"{name}_id": str(uuid4()) for name in ("invitation", "member", "dossier", "cabinet")}
    numbers = {"version": offset + 1, "link_sequence": 1, "send_sequence": 1}
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/convive/invitation",
        "type": "convive.invitation.sent.v1",
        "subject": place["invitation_id"],
        "time": "2026-01-01T00:00:00Z",
        "data": {**place, **numbers, "state": "sent", "channel": "email"},
    }
    body = json.dumps(event).encode()
    return Logged(offset, Incoming("log", "invitation.sent", body, "application/cloudevents+json"))


class Log:
    """A log that says when it was followed from where, and breaks when it is told to."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Logged | None] = asyncio.Queue()
        self.followed: list[Start] = []
        self.read = False
        self.leaving, self.left = asyncio.Event(), asyncio.Event()
        self.left.set()

    def tell(self, logged: Logged) -> None:
        """As whoever reads what comes next hears it: what is told while nobody reads is missed."""
        if self.read:
            self.events.put_nowait(logged)

    async def follow(self, start: Start, attached: Callable[[], object]) -> AsyncGenerator[Logged]:
        self.followed.append(start)
        self.read = True
        attached()
        try:
            while True:
                logged = await self.events.get()
                if logged is None:
                    raise BusAway
                yield logged
        finally:
            self.read = False
            self.leaving.set()
            await self.left.wait()


def feed_of(log: Log) -> Feed:
    return Feed(cast("EventLog", log), families=("invitation",), now=lambda: NOW)


async def test_whoever_is_too_slow_is_let_go_and_the_others_are_not() -> None:
    log = Log()
    feed = feed_of(log)
    running = asyncio.create_task(feed.run(asyncio.Event()))
    async with feed.listening() as slow, feed.listening() as quick:
        for offset in range(MOST_WAITING + 1):
            log.events.put_nowait(fact(offset))
            told = await quick.get()
            assert told is not None
            assert told.offset == offset
        assert await slow.get() is None
        assert slow.empty()
        log.events.put_nowait(fact(MOST_WAITING + 1))
        told = await quick.get()
        assert told is not None
        assert slow.empty()
    running.cancel()


async def test_after_an_outage_it_goes_on_behind_the_last_event() -> None:
    log = Log()
    feed = feed_of(log)
    running = asyncio.create_task(feed.run(asyncio.Event()))
    async with feed.listening() as waiting:
        log.events.put_nowait(None)
        # Nothing was heard before: what came meanwhile is found by the time since when it was attached.
        async with asyncio.timeout(10):
            while len(log.followed) < 2:
                await asyncio.sleep(0)
        log.events.put_nowait(fact(7))
        assert await waiting.get() is not None
        log.events.put_nowait(None)
        log.events.put_nowait(fact(8))
        assert await waiting.get() is not None
    assert log.followed == ["next", NOW, 8]
    running.cancel()


async def test_whoever_comes_while_it_is_leaving_the_log_waits_until_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convive_kit.feed, "_LINGER", 0.0)
    log = Log()
    feed = feed_of(log)
    running = asyncio.create_task(feed.run(asyncio.Event()))
    async with feed.listening():
        pass
    log.left.clear()
    log.tell(fact(1))

    async def listen() -> int:
        async with feed.listening() as waiting:
            log.tell(fact(2))
            told = await waiting.get()
            assert told is not None
            return told.offset

    async def leave() -> None:
        log.left.set()

    async with asyncio.timeout(10):
        await log.leaving.wait()
        # In this order: it is let go once somebody has asked to listen.
        heard, _ = await asyncio.gather(listen(), leave())
    assert heard == 2
    assert log.followed == ["next", "next"]
    running.cancel()


async def test_asked_to_end_it_ends_everybody_and_takes_nobody_more() -> None:
    feed, stopping = feed_of(Log()), asyncio.Event()
    running = asyncio.create_task(feed.run(stopping))
    async with feed.listening() as waiting:
        stopping.set()
        await running
        assert await waiting.get() is None
    with pytest.raises(BusAway):
        async with feed.listening():
            pass
