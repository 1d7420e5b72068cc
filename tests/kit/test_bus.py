"""The bus on a real broker: nothing published is lost, nothing handled is forgotten."""

from __future__ import annotations

import asyncio
from typing import Any

import aio_pika
import pytest

from convive_contracts import topology
from convive_contracts.publisher import declare_topology
from convive_kit.bus import Bus, BusAway, Unroutable
from convive_kit.consuming import HandlerFailed, Incoming
from convive_kit.errors import Reject, Retry
from convive_kit.unreadable import RAW_PROPERTIES
from tests.faults import Proxy
from tests.kit.driving import KEY, QUEUE, Heard, Parked, outside, put, put_raw, running, take, until, waiting

pytestmark = pytest.mark.broker


async def publish(bus: Bus, body: bytes, key: str = KEY, **fields: Any) -> None:
    await bus.publish(key=key, body=body, message_id=body.decode(), **fields)


# --- topology and publishing -------------------------------------------------------------------------------------


async def test_the_topology_may_be_declared_again_and_from_anywhere(amqp_url: str) -> None:
    async with outside(amqp_url) as one, outside(amqp_url) as other:
        await asyncio.gather(declare_topology(one), declare_topology(other))
        await declare_topology(one)

        for queue in topology.QUEUES:
            await other.declare_queue(queue.name, passive=True)


async def test_what_is_published_before_anybody_consumes_is_kept(amqp_url: str) -> None:
    async with running(amqp_url) as bus:
        await publish(bus, b"early")
    heard = Heard()

    async with running(amqp_url, heard):
        await until(lambda: heard.bodies == [b"early"])


async def test_a_message_comes_as_it_was_published(amqp_url: str) -> None:
    heard = Heard()
    async with running(amqp_url, heard) as bus:
        await bus.publish(key=KEY, body=b"{}", message_id="m-1", correlation_id="c-1")
        await until(lambda: heard.messages)

    (message,) = heard.messages
    assert (message.queue, message.routing_key, message.exchange) == (QUEUE, KEY, topology.EXCHANGE)
    assert (message.message_id, message.correlation_id) == ("m-1", "c-1")
    assert message.content_type == "application/cloudevents+json"


async def test_a_published_message_outlives_the_broker(amqp_url: str) -> None:
    async with running(amqp_url) as bus:
        await publish(bus, b"kept")

    message = await take(amqp_url, QUEUE)

    assert message is not None
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT


async def test_a_mistyped_key_ends_in_the_parking_queue(amqp_url: str) -> None:
    async with running(amqp_url) as bus:
        await publish(bus, b"lost?", key="usr.created")

    message = await take(amqp_url, topology.INVITATION_PARKED)

    assert message is not None
    assert (message.body, message.routing_key) == (b"lost?", "usr.created")


async def test_what_no_queue_would_take_is_unroutable(amqp_url: str) -> None:
    async def only_an_exchange(channel: aio_pika.abc.AbstractChannel) -> aio_pika.abc.AbstractExchange:
        return await channel.declare_exchange("lonely", "topic", auto_delete=True)

    async with running(amqp_url, declare=only_an_exchange) as bus:
        with pytest.raises(Unroutable) as caught:
            await publish(bus, b"x", key="nobody.listens")

    assert caught.value.slug == "unroutable"
    assert isinstance(caught.value, Reject)


async def test_publishing_without_a_connection_fails_at_once() -> None:
    bus = Bus("amqp://guest:guest@127.0.0.1:1/")

    with pytest.raises(BusAway):
        await publish(bus, b"x")


async def test_many_publishers_overlap_their_confirms(amqp_url: str) -> None:
    async with running(amqp_url) as bus:
        await asyncio.gather(*(publish(bus, f"{number}".encode()) for number in range(200)))

    assert await waiting(amqp_url) == 200


# --- handling ----------------------------------------------------------------------------------------------------


async def test_a_message_whose_handler_has_not_returned_comes_again(amqp_url: str) -> None:
    never = asyncio.Event()

    async def hang(_message: Incoming) -> None:
        await never.wait()

    first, second = Heard(hang), Heard()
    async with Proxy(amqp_url) as proxy, running(proxy.url, first) as bus:
        await publish(bus, b"x")
        await until(lambda: first.bodies)
        proxy.cut()
        async with running(amqp_url, second):
            # Whoever is quicker: both consume.
            await until(lambda: second.bodies or len(first.bodies) == 2)
        never.set()


async def test_prefetch_bounds_what_is_in_hand(amqp_url: str) -> None:
    may_end, most, now = asyncio.Event(), 0, 0

    async def count(_message: Incoming) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await may_end.wait()
        now -= 1

    await put(amqp_url, *(f"{number}".encode() for number in range(20)))
    heard = Heard(count)
    async with running(amqp_url, heard, prefetch=5):
        await until(lambda: len(heard.messages) == 5)
        assert await waiting(amqp_url) == 15
        may_end.set()
        await until(lambda: len(heard.messages) == 20)

    assert most == 5


async def test_a_message_that_must_wait_is_held_and_not_delivered_again(amqp_url: str) -> None:
    tries = 0

    async def away_three_times(_message: Incoming) -> None:
        nonlocal tries
        tries += 1
        if tries <= 3:
            raise Retry

    heard, parked = Heard(away_three_times), Parked()
    async with running(amqp_url, heard, park=parked) as bus:
        await publish(bus, b"x")
        await until(lambda: tries == 4)

    assert [message.redelivered for message in heard.messages] == [False] * 4
    assert not any("x-delivery-count" in message.headers for message in heard.messages)
    assert parked.messages == []
    assert await waiting(amqp_url) == 0


async def test_while_one_message_must_wait_no_more_are_tried_than_are_in_hand(amqp_url: str) -> None:
    is_away = True

    async def away(_message: Incoming) -> None:
        if is_away:
            raise Retry

    await put(amqp_url, *(f"{number}".encode() for number in range(10)))
    heard = Heard(away)
    async with running(amqp_url, heard, prefetch=3):
        await until(lambda: len(heard.messages) >= 9)
        assert set(heard.bodies) == {b"0", b"1", b"2"}
        is_away = False
        await until(lambda: set(heard.bodies) == {f"{number}".encode() for number in range(10)})

    assert await waiting(amqp_url) == 0


async def test_a_message_that_can_never_be_handled_is_parked_and_then_acknowledged(amqp_url: str) -> None:
    async def refuse(message: Incoming) -> None:
        if message.body == b"bad":
            raise Reject("no good")

    heard, parked = Heard(refuse), Parked()
    async with running(amqp_url, heard, park=parked) as bus:
        await publish(bus, b"bad")
        await publish(bus, b"good")
        await until(lambda: len(heard.messages) == 2 and parked.messages)

    assert [(message.body, str(error)) for message, error in parked.messages] == [(b"bad", "no good")]
    assert await waiting(amqp_url) == 0


async def test_a_bug_in_a_handler_parks_the_message_and_the_next_one_is_handled(amqp_url: str) -> None:
    async def stumble(message: Incoming) -> None:
        if message.body == b"bad":
            raise ZeroDivisionError("personal data may be in here")

    heard, parked = Heard(stumble), Parked()
    async with running(amqp_url, heard, park=parked) as bus:
        await publish(bus, b"bad")
        await publish(bus, b"good")
        await until(lambda: len(heard.messages) == 2 and parked.messages)

    ((_, error),) = parked.messages
    assert isinstance(error, HandlerFailed)
    assert (error.slug, str(error)) == ("handler_failed", "ZeroDivisionError")


@pytest.mark.parametrize("failure", [Retry(), Reject("the database refuses it"), RuntimeError("a bug")])
async def test_a_message_that_cannot_even_be_parked_is_kept(amqp_url: str, failure: Exception) -> None:
    tries: list[float] = []

    async def no_place(_message: Incoming, _error: Exception) -> None:
        tries.append(asyncio.get_running_loop().time())
        if len(tries) < 4:
            raise failure

    async def refuse(_message: Incoming) -> None:
        raise Reject("no good")

    heard = Heard(refuse)
    async with running(amqp_url, heard, park=no_place) as bus:
        await publish(bus, b"bad")
        await until(lambda: len(tries) == 4)

    assert len(heard.messages) == 1
    assert tries[-1] - tries[0] > 0.3, "it was tried again without a pause"
    assert await waiting(amqp_url) == 0


async def test_the_outcome_of_each_message_is_observed(amqp_url: str) -> None:
    async def refuse(message: Incoming) -> None:
        if message.body == b"bad":
            raise Reject

    outcomes: list[tuple[str, str, str]] = []
    async with running(amqp_url, Heard(refuse), taken=lambda *seen: outcomes.append(seen)) as bus:
        await publish(bus, b"bad")
        await publish(bus, b"good")
        await until(lambda: len(outcomes) == 2)

    assert sorted(outcomes) == [(QUEUE, KEY, "handled"), (QUEUE, KEY, "parked")]


async def test_draining_lets_what_is_in_hand_end_and_takes_no_more(amqp_url: str) -> None:
    may_end = asyncio.Event()
    ended: list[bytes] = []

    async def slowly(message: Incoming) -> None:
        await may_end.wait()
        ended.append(message.body)

    await put(amqp_url, *(f"{number}".encode() for number in range(10)))
    heard = Heard(slowly)
    async with running(amqp_url, heard, prefetch=2) as bus:
        await until(lambda: len(heard.messages) == 2)
        draining = asyncio.create_task(bus.drain())
        await asyncio.sleep(0.1)
        assert not draining.done()
        may_end.set()
        await draining
        # What those in hand led to can still be announced.
        await publish(bus, b"announced")

    assert len(ended) == len(heard.messages) == 2
    await until(lambda: _is_waiting(amqp_url, 9))


async def test_draining_several_times_at_once_ends_in_peace(amqp_url: str) -> None:
    for _ in range(10):
        async with running(amqp_url, Heard()) as bus:
            await asyncio.gather(bus.drain(), bus.drain(), bus.drain())


async def _is_waiting(url: str, count: int) -> bool:
    return await waiting(url) == count


# --- trouble -----------------------------------------------------------------------------------------------------


async def test_a_queue_deleted_under_its_consumer_is_made_again_and_consumed(amqp_url: str) -> None:
    heard = Heard()
    async with running(amqp_url, heard) as bus:
        async with outside(amqp_url) as channel:
            await channel.queue_delete(QUEUE)
        await until(lambda: not bus.healthy)
        await until(lambda: bus.healthy)
        await publish(bus, b"after")
        await until(lambda: heard.bodies == [b"after"])


@pytest.mark.parametrize(
    "properties",
    [
        {"content_type": b"text/\xff"},
        {"message_id": b"\xff"},
        {"headers": {b"\xff": 1}},
        {"headers": {"bytes": b"\xff\xfe"}},
        {"timestamp": 1_772_443_800_000},
        {"timestamp": 2**63},
        {"headers": {"deep": [{"é": [1, None, True, 2**40]}]}},
        {"correlation_id": "x" * 255},
    ],
)
async def test_properties_that_are_no_text_do_not_stop_the_queue(amqp_url: str, properties: dict[str, Any]) -> None:
    heard = Heard()
    async with running(amqp_url, heard) as bus:
        await asyncio.to_thread(put_raw, amqp_url, b"strange", properties)
        await publish(bus, b"healthy")
        await until(lambda: b"healthy" in heard.bodies and b"strange" in heard.bodies)
        assert bus.healthy


async def test_a_routing_key_that_is_no_text_does_not_stop_the_queue(amqp_url: str) -> None:
    heard = Heard()
    async with running(amqp_url, heard) as bus:
        await asyncio.to_thread(put_raw, amqp_url, b"strange", {}, key=b"user.\xff")
        await publish(bus, b"healthy")
        await until(lambda: b"healthy" in heard.bodies and b"strange" in heard.bodies)
        assert bus.healthy


async def test_properties_that_cannot_be_read_are_kept_as_they_came(amqp_url: str) -> None:
    heard = Heard()
    async with running(amqp_url, heard):
        await asyncio.to_thread(put_raw, amqp_url, b"strange", {"message_id": b"\xff\xfe", "timestamp": 2**63})
        await until(lambda: heard.messages)

    assert b"\xff\xfe" in heard.messages[0].headers[RAW_PROPERTIES]
