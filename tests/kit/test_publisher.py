"""The publisher for other teams, on a real broker."""

from __future__ import annotations

import pytest

from convive_contracts import Event, Malformed, UnknownType, parse_event, topology
from convive_contracts.publisher import Publisher
from tests.kit.driving import Heard, running, take, until, waiting
from tests.unit.contracts.making import MEMBER, user_data

pytestmark = pytest.mark.broker


async def read(url: str, queue: str) -> Event:
    message = await take(url, queue)
    assert message is not None
    return parse_event(message.body, content_type=message.content_type, headers=message.headers)


async def test_three_lines_publish_a_new_member(amqp_url: str) -> None:
    async with Publisher(amqp_url, source="/payroll") as publisher:
        published = await publisher.publish("user.created", subject=MEMBER, data=user_data())

    event = await read(amqp_url, topology.INVITATION_EVENTS)
    assert (event.id, event.source, event.subject) == (published.id, "/payroll", MEMBER)
    assert event.data == published.data


async def test_the_bulk_lane_is_the_other_queue(amqp_url: str) -> None:
    async with Publisher(amqp_url, source="/payroll") as publisher:
        await publisher.publish("user.created", subject=MEMBER, data=user_data(), lane="bulk")

    assert await waiting(amqp_url, topology.INVITATION_EVENTS) == 0
    assert (await read(amqp_url, topology.INVITATION_BULK)).short_type == "user.created"


async def test_wrong_data_are_refused_before_anything_is_sent(amqp_url: str) -> None:
    async with Publisher(amqp_url, source="/payroll") as publisher:
        with pytest.raises(Malformed, match=r"data\.member\.email"):
            await publisher.publish("user.created", subject=MEMBER, data=user_data({"email": "nobody"}))
        with pytest.raises(UnknownType):
            await publisher.publish("user.vanished", subject=MEMBER, data={})

    assert await waiting(amqp_url, topology.INVITATION_EVENTS) == 0


async def test_what_is_published_is_heard_by_a_consumer_already_there(amqp_url: str) -> None:
    heard = Heard()
    async with running(amqp_url, heard), Publisher(amqp_url, source="/payroll") as publisher:
        for number in range(20):
            await publisher.publish("user.created", subject=MEMBER, data=user_data(), id=f"event-{number}")
        await until(lambda: len(heard.messages) == 20)

    assert [message.message_id for message in heard.messages] == [f"event-{number}" for number in range(20)]


async def test_outside_of_its_block_a_publisher_says_how_to_use_it(amqp_url: str) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await Publisher(amqp_url, source="/payroll").publish("user.created", subject=MEMBER, data=user_data())


async def test_a_broker_that_is_not_there_is_an_error_within_the_time_limit() -> None:
    with pytest.raises((TimeoutError, OSError)):
        async with Publisher("amqp://guest:guest@127.0.0.1:1/", source="/payroll", timeout=1):
            pass
