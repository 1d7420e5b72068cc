from __future__ import annotations

from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from convive_contracts.topology import DIRECTORY_EVENTS, DIRECTORY_PARKED
from tests.service.directory.driving import SERVICE, Driver, Firm, eventually, person

EXPLODED = b"""{"specversion": "1.0", "id": "1", "source": "/convive/invitation", "time": "2026-01-01T00:00:00Z",
    "type": "convive.invitation.exploded.v1", "subject": "00000000-0000-0000-0000-000000000001", "data": {}}"""


@pytest.fixture
async def member(firm: Firm) -> dict[str, Any]:
    return (await firm.dossier(person()))["members"][0]


async def shown(firm: Firm, member: dict[str, Any]) -> dict[str, Any]:
    return (await firm.call("GET", f"/v1/dossiers/{member['dossier_id']}/members/{member['id']}")).ok()


async def until(firm: Firm, member: dict[str, Any], state: str) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await shown(firm, member)
        return found if found["invitation"]["state"] == state else None

    return await eventually(look)


async def drained(driver: Driver) -> None:
    """Return when every message of the directory's queues has been dealt with."""
    async with await aio_pika.connect(driver.amqp_url) as connection:
        channel = await connection.channel()

        async def empty() -> bool:
            counts = [
                (await channel.declare_queue(name, passive=True)).declaration_result.message_count
                for name in (DIRECTORY_EVENTS, DIRECTORY_PARKED)
            ]
            return not any(counts)

        await eventually(empty)


async def test_the_member_list_shows_what_the_invitation_service_says(
    driver: Driver, firm: Firm, member: dict[str, Any]
) -> None:
    await driver.tell(member, "sent", 2)
    sent = await until(firm, member, "sent")
    assert sent["invitation"].keys() == {"id", "state", "channel", "updated_at", "expires_at", "reason"}
    await driver.tell(member, "opened", 3)
    await until(firm, member, "opened")
    assert not (await shown(firm, member))["has_signed_in"]
    await driver.tell(member, "active", 5)
    assert (await until(firm, member, "active"))["has_signed_in"]


async def test_an_older_fact_that_arrives_late_changes_nothing(
    driver: Driver, firm: Firm, member: dict[str, Any]
) -> None:
    await driver.tell(member, "opened", 5)
    await until(firm, member, "opened")
    await driver.tell(member, "sent", 4)
    await driver.tell(member, "opened", 5)
    await driver.tell(member, "failed", 6)
    await until(firm, member, "failed")
    document = await driver.database["members"].find_one({"_id": member["id"]})
    assert document
    assert document["invitation"]["version"] == 6


async def test_requests_other_sources_and_unknown_members_are_ignored(
    driver: Driver, firm: Firm, member: dict[str, Any]
) -> None:
    await driver.tell(member, "sent", 9, source="/somebody/else")
    await driver.tell({"id": str(uuid4())}, "sent", 2)
    await driver.publish("invitation.resend_requested", b"not even JSON")
    await driver.tell(member, "opened", 3)
    await until(firm, member, "opened")
    await drained(driver)
    assert await driver.database["parked"].count_documents({}) == 0


@pytest.mark.parametrize(
    ("key", "body", "slug"),
    [
        ("invitation.sent", b"not JSON", "malformed"),
        ("invitation.sent", b"\xff\xfe", "malformed"),
        ("invitation.sent", b"{}", "malformed"),
        ("invitation.sent", b"x" * 300_000, "oversize"),
        (
            "invitation.exploded",
            EXPLODED,
            "unknown_type",
        ),
    ],
)
async def test_what_cannot_be_read_is_parked_with_its_reason(
    driver: Driver, firm: Firm, member: dict[str, Any], key: str, body: bytes, slug: str
) -> None:
    await driver.publish(key, body)
    parked = await eventually(lambda: driver.database["parked"].find_one({}))
    assert (parked["slug"], parked["queue"], parked["routing_key"]) == (slug, DIRECTORY_EVENTS, key)
    assert parked["reason"]
    assert body.startswith(parked["body"])
    await driver.tell(member, "sent", 2)
    await until(firm, member, "sent")


async def test_operators_can_read_what_is_parked_page_by_page(driver: Driver) -> None:
    for number in range(3):
        await driver.publish("invitation.sent", f"not JSON {number}".encode())

    async def all_there() -> bool:
        return await driver.database["parked"].count_documents({}) == 3

    await eventually(all_there)
    ids: list[str] = []
    cursor = ""
    while cursor is not None:
        page = (await driver.call("GET", f"/internal/v1/parked?limit=1{cursor}", None, SERVICE)).ok()
        ids += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    assert len(set(ids)) == 3
    one = (await driver.call("GET", f"/internal/v1/parked/{ids[0]}", None, SERVICE)).ok()
    assert one["body"].startswith("not JSON")
    assert (one["slug"], one["count"], one["fingerprint"]) == ("malformed", 1, "directory:malformed")


async def test_dead_letters_are_drained_into_the_database(driver: Driver) -> None:
    async with await aio_pika.connect(driver.amqp_url) as connection:
        channel = await connection.channel()
        await channel.default_exchange.publish(aio_pika.Message(b"dead"), routing_key=DIRECTORY_PARKED)
    parked = await eventually(lambda: driver.database["parked"].find_one({}))
    assert (parked["queue"], parked["body"]) == (DIRECTORY_PARKED, b"dead")
