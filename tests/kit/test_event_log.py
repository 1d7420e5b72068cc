"""Reading the log: where it ends, and everything up to there."""

from __future__ import annotations

import asyncio

import pytest

from convive_contracts.publisher import Publisher
from convive_kit.event_log import EventLog
from tests.unit.contracts.making import MEMBER, user_data

pytestmark = pytest.mark.broker

MORE_THAN_ARE_SENT_AHEAD = 1300


async def test_a_log_ends_with_what_was_published_last_however_much_came_at_once(amqp_url: str) -> None:
    log = EventLog(amqp_url)
    async with Publisher(amqp_url, source="/payroll") as publisher:
        for total in (MORE_THAN_ARE_SENT_AHEAD, 2 * MORE_THAN_ARE_SENT_AHEAD):
            await asyncio.gather(
                *(
                    publisher.publish("user.created", subject=MEMBER, data=user_data())
                    for _ in range(MORE_THAN_ARE_SENT_AHEAD)
                )
            )
            assert await log.last_offset() == total - 1
    read = [logged.offset async for logged in log.read("first", 2 * MORE_THAN_ARE_SENT_AHEAD - 1)]
    assert read == list(range(2 * MORE_THAN_ARE_SENT_AHEAD))
