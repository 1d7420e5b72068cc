"""The parking place on a real broker and database: nothing dropped, nothing twice, the reason beside it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import rabbitmq
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from convive_contracts import Event, Malformed, Oversize, UnknownType, parse_event, topology
from convive_contracts.envelope import STRUCTURED
from convive_kit.consuming import HandlerFailed, Incoming
from convive_kit.errors import Reject
from convive_kit.group_commit import GroupCommit
from convive_kit.mongo import Collection
from convive_kit.parking import KEPT_OF_OVERSIZE, Parking
from tests.kit.driving import QUEUE, Heard, Outcomes, put, put_raw, running, until, waiting
from tests.unit.contracts.making import document, user_data

pytestmark = pytest.mark.database
NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
LATER = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)


class Clock:
    """Shows the time it is set to."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def parking(collection: Collection, clock: Clock) -> Parking:
    return Parking(GroupCommit(collection), now=clock, step="intake")


def a_message(body: bytes = b"not json", **fields: Any) -> Incoming:
    usual = Incoming(QUEUE, "user.created", body, STRUCTURED, {"traceparent": "00-a-b-01"}, "m-1", "c-1")
    return replace(usual, exchange=topology.EXCHANGE, **fields)


async def kept(collection: Collection) -> list[dict[str, Any]]:
    return [document async for document in collection.find({}).sort("first_seen", 1)]


async def only(collection: Collection) -> dict[str, Any]:
    (document,) = await kept(collection)
    return document


async def test_a_message_is_kept_as_it_came_with_its_reason(parking: Parking, collection: Collection) -> None:
    await parking.park(a_message(), Malformed("the body is not JSON"))

    record = await only(collection)
    assert (record["body"], record["size"], record["sha256"]) == (
        b"not json",
        8,
        hashlib.sha256(b"not json").hexdigest(),
    )
    assert (record["queue"], record["routing_key"], record["exchange"]) == (QUEUE, "user.created", topology.EXCHANGE)
    assert (record["content_type"], record["message_id"], record["correlation_id"]) == (STRUCTURED, "m-1", "c-1")
    assert record["headers"] == [{"name": "traceparent", "value": "00-a-b-01"}]
    assert (record["slug"], record["reason"], record["fingerprint"]) == (
        "malformed",
        "the body is not JSON",
        "intake:malformed",
    )
    assert (record["first_seen"], record["last_seen"], record["count"], record["status"]) == (NOW, NOW, 1, "parked")


async def test_the_same_message_parked_again_counts_up(parking: Parking, collection: Collection, clock: Clock) -> None:
    await parking.park(a_message(), Malformed("x"))
    clock.time = LATER
    redelivered = a_message(redelivered=True, headers={"traceparent": "00-a-b-01", "x-delivery-count": 3})
    await parking.park(redelivered, Malformed("x"))

    record = await only(collection)
    assert (record["count"], record["first_seen"], record["last_seen"]) == (2, NOW, LATER)


async def test_a_message_that_was_dealt_with_and_comes_again_is_parked_again(
    parking: Parking, collection: Collection
) -> None:
    await parking.park(a_message(), Malformed("x"))
    await collection.update_one({}, {"$set": {"status": "discarded"}})

    await parking.park(a_message(), Malformed("x"))

    assert (await only(collection))["status"] == "parked"


async def test_the_same_message_parked_many_times_at_once_is_one_record(
    parking: Parking, collection: Collection, clock: Clock
) -> None:
    other = Parking(GroupCommit(collection), now=clock, step="intake")

    await asyncio.gather(*(place.park(a_message(), Malformed("x")) for place in (parking, other) for _ in range(20)))

    assert (await only(collection))["count"] == 40


@pytest.mark.parametrize(
    "different",
    [
        {"body": b"other"},
        {"queue": "other"},
        {"routing_key": "user.updated"},
        {"content_type": "application/json"},
        {"headers": {"ce-id": "2", "ce-type": "convive.user.vanished.v1"}},
    ],
)
async def test_two_messages_that_differ_are_two_records(
    parking: Parking, collection: Collection, different: dict[str, Any]
) -> None:
    await parking.park(a_message(headers={"ce-id": "1"}), Malformed("x"))
    await parking.park(a_message(**{"headers": {"ce-id": "1"}, **different}), Malformed("x"))

    assert [record["count"] for record in await kept(collection)] == [1, 1]


async def test_an_oversize_message_is_kept_in_part_and_known_by_its_digest(
    parking: Parking, collection: Collection
) -> None:
    body = b"x" * (10 * 1024 * 1024)

    await parking.park(a_message(body), Oversize("too large"))

    record = await only(collection)
    assert len(record["body"]) == KEPT_OF_OVERSIZE
    assert (record["size"], record["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize(
    "headers",
    [
        {"a.b": 1, "$set": 2, "": 3, "nul\x00": "\x00"},
        {"bytes": b"\xff\xfe", "deep": {"x": [1, {"y": None}]}, "time": NOW},
        {f"h{number}": "x" * 10_000 for number in range(500)},
        {"half": "\ud800", "\ud800": 1},
    ],
    ids=["names", "values", "many and long", "half characters"],
)
async def test_any_headers_can_be_kept(parking: Parking, collection: Collection, headers: Mapping[str, Any]) -> None:
    await parking.park(a_message(headers=headers), Malformed("x"))

    assert len((await only(collection))["headers"]) == min(len(headers), 64)


@pytest.mark.parametrize(
    "fields",
    [
        {"body": b"\xff\xfe\x00"},
        {"routing_key": "\ufffd\x00"},
        {"content_type": None, "message_id": None, "correlation_id": None},
        {"message_id": "\ud800", "content_type": "\ud800", "routing_key": "\ud800", "correlation_id": "\ud800"},
    ],
)
async def test_any_message_can_be_kept(parking: Parking, collection: Collection, fields: dict[str, Any]) -> None:
    await parking.park(a_message(**fields), Reject("half a character: \ud800"))

    await only(collection)


async def test_an_error_without_words_says_what_it_is(parking: Parking, collection: Collection) -> None:
    await parking.park(a_message(), ZeroDivisionError())

    record = await only(collection)
    assert record["slug"] == "unexpected"
    assert record["reason"]


@pytest.mark.broker
async def test_what_the_broker_could_not_route_is_kept_as_unroutable(
    parking: Parking, collection: Collection, amqp_url: str
) -> None:
    outcomes = Outcomes()
    queue = topology.INVITATION_PARKED
    async with running(amqp_url, parking.keep_dead_letter, park=parking.park, queue=queue, taken=outcomes):
        await put(amqp_url, b"{}", key="usr.created")
        assert await outcomes.first() == "handled"

    record = await only(collection)
    assert (record["slug"], record["routing_key"]) == ("unroutable", "usr.created")
    assert await waiting(amqp_url, topology.INVITATION_PARKED) == 0


@pytest.mark.broker
async def test_what_the_broker_gave_up_is_kept_as_dead_lettered(
    parking: Parking, collection: Collection, amqp_url: str
) -> None:
    dead = {"x-first-death-queue": QUEUE, "x-death": [{"queue": QUEUE, "reason": "delivery_limit", "count": 1}]}
    outcomes = Outcomes()
    queue = topology.INVITATION_PARKED
    async with running(amqp_url, parking.keep_dead_letter, park=parking.park, queue=queue, taken=outcomes):
        await asyncio.to_thread(put_raw, amqp_url, b"{}", {"headers": dead}, key="usr.created")
        assert await outcomes.first() == "handled"

    record = await only(collection)
    assert record["slug"] == "dead_lettered"
    assert {"name": "x-first-death-queue", "value": QUEUE} in record["headers"]


@pytest.mark.broker
@pytest.mark.parametrize(
    ("body", "slug"),
    [
        (b"not json", "malformed"),
        (b"\xff\xfe", "malformed"),
        (json.dumps(document(type="convive.user.vanished.v1")).encode(), "unknown_type"),
        (json.dumps(document(user_data(invite_by="sms"))).encode(), "malformed"),
        (json.dumps(document(user_data({"email": "a@b.example\nBcc: c@d.example"}))).encode(), "malformed"),
        (b"x" * (300 * 1024), "oversize"),
    ],
    ids=["not JSON", "not UTF-8", "unknown type", "no phone", "header injection", "oversize"],
)
async def test_every_kind_of_bad_message_on_the_bus_ends_parked_and_acknowledged(
    parking: Parking, collection: Collection, amqp_url: str, body: bytes, slug: str
) -> None:
    async def handle(message: Incoming) -> None:
        parse_event(message.body, content_type=message.content_type, headers=message.headers)

    outcomes = Outcomes()
    async with running(amqp_url, handle, park=parking.park, taken=outcomes):
        await put(amqp_url, body, content_type=STRUCTURED)
        assert await outcomes.first() == "parked"

    assert (await only(collection))["slug"] == slug
    await until(lambda: _empty(amqp_url))


@pytest.mark.broker
async def test_both_content_modes_arrive_from_foreign_publishers(amqp_url: str) -> None:
    """The official CloudEvents SDK over plain pika in binary mode, and JSON written by hand in structured mode."""
    read: list[Event] = []

    async def handle(message: Incoming) -> None:
        read.append(parse_event(message.body, content_type=message.content_type, headers=message.headers))

    attributes: dict[str, Any] = {
        "id": "of-the-sdk",
        "source": "/payroll",
        "type": "convive.user.created.v1",
        "subject": user_data()["member"]["id"],
        "datacontenttype": "application/json",
        "sequence": "4",
    }
    sdk = rabbitmq.to_binary(CloudEvent(attributes, user_data()), JSONFormat())
    async with running(amqp_url, Heard(handle)):
        await asyncio.to_thread(put_raw, amqp_url, sdk.body, {"content_type": sdk.content_type, "headers": sdk.headers})
        await put(amqp_url, json.dumps(document(id="by-hand")).encode(), content_type=STRUCTURED)
        await until(lambda: len(read) == 2)

    assert {event.id for event in read} == {"of-the-sdk", "by-hand"}
    assert read[0].data == read[1].data


async def test_a_bug_is_parked_under_the_name_of_its_kind_alone(parking: Parking, collection: Collection) -> None:
    await parking.park(a_message(), HandlerFailed("KeyError"))

    record = await only(collection)
    assert (record["slug"], record["reason"], record["fingerprint"]) == (
        "handler_failed",
        "KeyError",
        "intake:handler_failed",
    )


def test_slugs_are_those_of_the_errors() -> None:
    assert [error.slug for error in (Malformed, UnknownType, Oversize)] == ["malformed", "unknown_type", "oversize"]


async def _empty(url: str) -> bool:
    return await waiting(url) == 0
