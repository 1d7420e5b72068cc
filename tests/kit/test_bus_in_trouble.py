"""The bus when the broker or the way to it is in trouble: it comes back by itself, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractQueue
from aio_pika.exceptions import DeliveryError

from convive_contracts import topology
from convive_contracts.publisher import Publisher, declare_topology
from convive_kit import bus as bus_module
from convive_kit.bus import Bus, BusAway
from convive_kit.bus_examined import examine
from convive_kit.consuming import Incoming
from convive_kit.event_log import EventLog
from deploy.local.broker import Broker
from tests.faults import Proxy, until_frozen
from tests.kit.driving import KEY, QUEUE, Heard, outside, put, running, until, waiting
from tests.real_parts import finished
from tests.unit.contracts.making import MEMBER, user_data

NOBODY = "amqp://guest:guest@127.0.0.1:1/"
QUORUM_QUEUES = [queue.name for queue in topology.QUEUES if queue.name != topology.LOG]

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def fragile_broker(run_folder: Path) -> Generator[Broker]:
    """A broker that the tests of this module may stop, kill and freeze; each leaves it running and its queues empty."""
    broker = Broker(run_folder / "fragile-broker")
    try:
        yield finished(broker.start())
    finally:
        finished(broker.close())


@pytest.fixture
async def url(fragile_broker: Broker) -> str:
    async with outside(fragile_broker.url) as channel:
        await declare_topology(channel)
        for name in QUORUM_QUEUES:
            await (await channel.get_queue(name)).purge()
    return fragile_broker.url


@pytest.fixture
def quick_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent connection is given up after three seconds instead of three times eight."""
    monkeypatch.setattr(bus_module, "_HEARTBEAT", 1)


async def publish_until_kept(bus: Bus, body: bytes) -> int:
    """Publish as the outbox does: again and again until it is known to be kept; returns how often it was tried."""
    tries = 0
    async with asyncio.timeout(40):
        while True:
            tries += 1
            try:
                await bus.publish(key=KEY, body=body, message_id=body.decode())
            except BusAway:
                await asyncio.sleep(0.05)
            else:
                return tries


async def test_consuming_and_publishing_go_on_after_a_restart_and_nothing_is_lost(
    fragile_broker: Broker, url: str
) -> None:
    heard = Heard()
    async with running(url, heard, publish_timeout=3) as bus:
        await publish_until_kept(bus, b"before")
        publishing = asyncio.gather(*(publish_until_kept(bus, f"{n}".encode()) for n in range(50)))
        await fragile_broker.restart()
        await publishing
        await publish_until_kept(bus, b"after")
        everything = {b"before", b"after", *(f"{n}".encode() for n in range(50))}
        await until(lambda: set(heard.bodies) == everything, within=30)
        assert bus.healthy


async def test_consuming_and_publishing_go_on_after_a_power_cut(fragile_broker: Broker, url: str) -> None:
    heard = Heard()
    async with running(url, heard, publish_timeout=3) as bus:
        for name in QUORUM_QUEUES:
            await fragile_broker.until_on_disk(name)
        await publish_until_kept(bus, b"before")
        fragile_broker.kill()
        await until(lambda: not bus.healthy)
        with pytest.raises(BusAway):
            await bus.publish(key=KEY, body=b"meanwhile", message_id="meanwhile")
        await fragile_broker.start()
        await publish_until_kept(bus, b"after")
        await until(lambda: {b"before", b"after"} <= set(heard.bodies), within=30)
        assert bus.healthy


async def test_a_frozen_broker_costs_a_publisher_its_deadline_and_no_more(fragile_broker: Broker, url: str) -> None:
    heard = Heard()
    async with running(url, heard, publish_timeout=0.5) as bus:
        fragile_broker.stop_process()
        await until_frozen(fragile_broker.server.pid)
        try:
            started = asyncio.get_running_loop().time()
            with pytest.raises(BusAway):
                await bus.publish(key=KEY, body=b"slow", message_id="slow")
            assert 0.4 < asyncio.get_running_loop().time() - started < 3
        finally:
            fragile_broker.continue_process()
        await publish_until_kept(bus, b"after")
        # The first one may have been kept though nobody could know: that is what event ids are for.
        await until(lambda: b"after" in heard.bodies)
        assert set(heard.bodies) <= {b"slow", b"after"}


async def test_a_half_open_connection_is_noticed_and_replaced(amqp_url: str, quick_heartbeat: None) -> None:
    heard = Heard()
    async with Proxy(amqp_url) as proxy, running(proxy.url, heard) as bus:
        proxy.freeze()
        await put(amqp_url, b"while nothing gets through")
        await until(lambda: not bus.healthy)
        proxy.thaw()
        await until(lambda: bus.healthy and heard.bodies)
        assert proxy.connections >= 2
        assert set(heard.bodies) == {b"while nothing gets through"}


async def test_a_publish_that_waits_while_we_close_the_connection_is_unknown_and_not_cancelled(amqp_url: str) -> None:
    heard = Heard()
    async with Proxy(amqp_url) as proxy, running(proxy.url, heard, publish_timeout=60) as bus:
        channel = cast("Any", bus._publishing)
        proxy.freeze()
        publishing = [
            asyncio.create_task(bus.publish(key=KEY, body=f"{number}".encode(), message_id=f"{number}"))
            for number in range(5)
        ]
        await until(lambda: len(channel.confirmations) == 5)
        bus._break()
        outcomes = await asyncio.gather(*publishing, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [BusAway] * 5
        proxy.thaw()
        await publish_until_kept(bus, b"after")


async def test_publishes_that_wait_for_their_turn_to_be_written_end_with_the_connection(amqp_url: str) -> None:
    async with running(amqp_url, Heard(), publish_timeout=3600) as bus:
        publishing = [
            asyncio.create_task(bus.publish(key=KEY, body=b"x", message_id=f"{number}")) for number in range(200)
        ]
        # In the turn in which each of them has begun: one has the channel, the others stand in line.
        asyncio.get_running_loop().call_soon(bus._break)
        async with asyncio.timeout(30):
            outcomes = await asyncio.gather(*publishing, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {BusAway}
        await publish_until_kept(bus, b"after")


async def test_after_a_refusal_another_channel_publishes_and_what_is_in_hand_stays_there(amqp_url: str) -> None:
    go_on = asyncio.Event()

    async def slowly(_: Incoming) -> None:
        await go_on.wait()

    heard = Heard(slowly)
    async with _full(amqp_url) as full, Proxy(amqp_url) as proxy, running(proxy.url, heard) as bus:
        refusing = bus._publishing
        with pytest.raises(BusAway):
            await bus.publish(key=KEY, body=b"refused here", message_id="1")
        await until(lambda: bus._publishing is not refusing)
        assert bus.healthy
        await until(lambda: heard.bodies == [b"refused here"])  # the other queue of that key has it
        await full.purge()
        assert await publish_until_kept(bus, b"after") == 1
        go_on.set()
        await until(lambda: heard.bodies == [b"refused here", b"after"])
        assert not any(message.redelivered for message in heard.messages)
        assert proxy.connections == 1


async def test_a_publisher_that_is_refused_says_so_and_connects_anew(amqp_url: str) -> None:
    async with _full(amqp_url) as full, Proxy(amqp_url) as proxy, Publisher(proxy.url, source="/payroll") as publisher:
        with pytest.raises(DeliveryError):
            await publisher.publish("user.created", subject=MEMBER, data=user_data(), id="first")
        await full.purge()
        await publisher.publish("user.created", subject=MEMBER, data=user_data(), id="first")
        assert proxy.connections == 2


@asynccontextmanager
async def _full(url: str) -> AsyncGenerator[AbstractQueue]:
    """A queue beside those of the product, which takes what they take, and has no place for more."""
    async with outside(url) as channel:
        exchange = await declare_topology(channel)
        arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
        queue = await channel.declare_queue("full", exclusive=True, arguments=arguments)
        await channel.default_exchange.publish(Message(b"in the way"), routing_key=queue.name)
        await queue.bind(exchange, routing_key=KEY)
        yield queue


async def test_whoever_cancels_a_publish_sees_it_cancelled(amqp_url: str) -> None:
    async with Proxy(amqp_url) as proxy, running(proxy.url, Heard(), publish_timeout=60) as bus:
        channel = cast("Any", bus._publishing)
        proxy.freeze()
        publishing = asyncio.create_task(bus.publish(key=KEY, body=b"x", message_id="x"))
        await until(lambda: channel.confirmations)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        proxy.thaw()


async def test_connections_cut_again_and_again_lose_nothing(amqp_url: str) -> None:
    heard = Heard()
    async with Proxy(amqp_url) as proxy, running(proxy.url, heard, publish_timeout=2) as bus:
        expected: set[bytes] = set()
        for number in range(5):
            body = f"{number}".encode()
            expected.add(body)
            publishing = asyncio.create_task(publish_until_kept(bus, body))
            await asyncio.sleep(0.01 * number)
            proxy.cut()
            await publishing
        await until(lambda: set(heard.bodies) == expected)
    await until(lambda: _empty(amqp_url))


async def test_work_in_hand_when_the_connection_breaks_is_handed_out_again(amqp_url: str) -> None:
    cut = asyncio.Event()

    async def hang_until_cut(_message: Incoming) -> None:
        await cut.wait()

    heard = Heard(hang_until_cut)
    async with Proxy(amqp_url) as proxy, running(proxy.url, heard) as bus:
        await put(amqp_url, b"x")
        await until(lambda: heard.bodies)
        proxy.cut()
        await until(lambda: not bus.healthy)
        cut.set()
        await until(lambda: len(heard.bodies) >= 2)
        assert heard.messages[-1].redelivered
    await until(lambda: _empty(amqp_url))


async def test_what_was_begun_when_the_connection_broke_comes_to_its_end(amqp_url: str) -> None:
    going_on, ended = asyncio.Event(), list[bytes]()

    async def slowly(message: Incoming) -> None:
        await going_on.wait()
        ended.append(message.body)

    heard = Heard(slowly)
    async with Proxy(amqp_url) as proxy, running(proxy.url, heard, prefetch=1) as bus:
        await put(amqp_url, b"x")
        await until(lambda: len(heard.messages) == 1)
        for _ in range(3):
            proxy.cut()
            await until(lambda: not bus.healthy)
            await bus.wait_ready()
        await until(lambda: len(heard.messages) == 2)  # it has come again, and the third time it waits
        assert bus.in_hand()[QUEUE] == 2
        going_on.set()
        await until(lambda: len(ended) >= 2)
        await until(lambda: bus.in_hand()[QUEUE] == 0)
    await until(lambda: _empty(amqp_url))


async def test_what_was_only_held_when_the_connection_broke_is_left_to_its_next_coming(amqp_url: str) -> None:
    away = True

    async def sometimes(_: Incoming) -> None:
        if away:
            raise BusAway

    heard = Heard(sometimes)
    async with Proxy(amqp_url) as proxy, running(proxy.url, heard) as bus:
        await put(amqp_url, b"x")
        await until(lambda: len(heard.messages) >= 2)
        for _ in range(3):
            proxy.cut()
            await until(lambda: not bus.healthy)
            await bus.wait_ready()
        await until(lambda: bus.in_hand()[QUEUE] == 1)
        away = False
        await until(lambda: bus.in_hand()[QUEUE] == 0)
    await until(lambda: _empty(amqp_url))


async def test_a_bus_that_starts_before_its_broker_waits_for_it(amqp_url: str) -> None:
    heard = Heard()
    async with Proxy(amqp_url) as proxy:
        proxy.freeze()
        bus = Bus(proxy.url)
        bus.consume(QUEUE, heard, park=_nowhere, prefetch=1)
        task = asyncio.create_task(bus.run())
        await until(lambda: proxy.connections)
        assert not bus.healthy
        proxy.cut()
        proxy.thaw()
        await until(lambda: bus.healthy)
        task.cancel()
        await asyncio.wait([task])


async def test_of_several_addresses_the_next_is_tried_whenever_one_is_away(
    amqp_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()
    async with Proxy(amqp_url) as one, Proxy(amqp_url) as other:
        async with running(f"{NOBODY},{one.url},{other.url}", heard) as bus:
            for number, (way, so_far) in enumerate(((one, (1, 0)), (other, (1, 1)), (one, (2, 1)))):
                await publish_until_kept(bus, f"{number}".encode())
                await until(lambda number=number: f"{number}".encode() in heard.bodies)
                assert (one.connections, other.connections) == so_far
                way.cut()
                await until(lambda: not bus.healthy)
                await bus.wait_ready()
    assert "guest:guest" not in caplog.text


async def test_the_log_the_checks_and_the_publisher_pass_over_an_address_that_is_away(amqp_url: str) -> None:
    several = f"{NOBODY},{amqp_url}"
    async with Publisher(several, source="/payroll") as publisher:
        await publisher.publish("user.created", subject=MEMBER, data=user_data())
    assert await EventLog(several).last_offset() == 0
    assert (await examine(several)).waiting[QUEUE] == 1
    with pytest.raises(BusAway):
        await EventLog(f"{NOBODY},{NOBODY}").last_offset()
    with pytest.raises(ConnectionError):
        await examine(f"{NOBODY},{NOBODY}")


async def test_a_publisher_whose_broker_goes_away_goes_on_at_the_next(amqp_url: str) -> None:
    async with AsyncExitStack() as there:
        other = await there.enter_async_context(Proxy(amqp_url))
        async with Proxy(amqp_url) as one:
            publisher = Publisher(f"{one.url},{other.url}", source="/payroll")
            await there.enter_async_context(publisher)
            await publisher.publish("user.created", subject=MEMBER, data=user_data())
            assert (one.connections, other.connections) == (1, 0)
        with suppress(ConnectionError):  # it may not have heard yet: then this is not known to be kept
            await publisher.publish("user.created", subject=MEMBER, data=user_data(), id="second")
        await publisher.publish("user.created", subject=MEMBER, data=user_data(), id="second")
        assert (one.connections, other.connections) == (1, 1)
    assert await waiting(amqp_url) in (2, 3)


async def test_an_address_that_the_broker_refuses_is_tried_again_and_never_ends_the_process(amqp_url: str) -> None:
    bus = Bus(amqp_url.replace("guest:guest", "guest:wrong"))
    task = asyncio.create_task(bus.run())

    await asyncio.sleep(0.5)

    assert not task.done()
    assert not bus.healthy
    task.cancel()
    await asyncio.wait([task])


async def _nowhere(_message: Incoming, _error: Exception) -> None:
    raise AssertionError("nothing is to be parked here")


async def _empty(url: str) -> bool:
    return await waiting(url) == 0
