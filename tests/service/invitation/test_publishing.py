"""An event published over HTTP is like one published on the bus, checked before it goes out."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from deploy.local.broker import Broker
from tests.running import Stack
from tests.speaking import cloud_event, new_address, user_data
from tests.stacks import OwnStack


async def publish(stack: Stack, event: dict[str, Any]) -> Any:
    return await stack.invitation.call("POST", "/v1/events", json=event, token=stack.ops_token)


def created() -> dict[str, Any]:
    member = str(uuid4())
    return cloud_event("user.created", member, user_data(member, new_address()), source="/tests/by-hand")


async def test_a_person_announced_over_http_gets_their_mail_once(stack: Stack) -> None:
    event = created()
    async with stack.listening("user.created") as heard:
        answer = (await publish(stack, event)).ok(202)
        (await publish(stack, event)).ok(202)
        published = await heard.until("user.created", event["subject"], count=2)
    assert (published["id"], published["source"]) == (event["id"], "/tests/by-hand")
    await stack.until_state(answer["invitation_id"], "sent")
    assert len(await stack.mails(event["data"]["member"]["email"])) == 1


async def test_it_is_in_the_audit_without_the_person(stack: Stack) -> None:
    event = created()
    (await publish(stack, event)).ok(202)
    path = f"/v1/audit?target=event:{event['id']}"
    (record,) = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["items"]
    assert (record["action"], record["outcome"]) == ("event.publish", "done")
    assert record["after"] == {"type": event["type"], "source": event["source"], "subject": event["subject"]}
    assert event["data"]["member"]["email"] not in json.dumps(record)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"source": "/convive/directory"}, "source"),
        ({"source": "/Convive/invitation"}, "source"),
        ({"source": "/convive"}, "source"),
        ({"type": "convive.user.invented.v1"}, "type"),
        ({"specversion": "0.3"}, "specversion"),
        ({"time": "yesterday"}, "time"),
        ({"sequence": "-1"}, "sequence"),
        ({"subject": str(uuid4())}, "subject"),
        ({"data": {}}, "data.member"),
        ({"data": "text"}, "data"),
    ],
)
async def test_what_is_no_event_of_others_is_refused_by_its_field(
    stack: Stack, wrong: dict[str, Any], field: str
) -> None:
    answer = await publish(stack, {**created(), **wrong})
    assert answer.status == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_without_the_broker_it_is_not_said_to_be_published(own_stack: OwnStack, own_broker: Broker) -> None:
    stack = await own_stack(broker=own_broker)
    await own_broker.stop()
    answer = await publish(stack, created())
    assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True)
    (record,) = (await stack.invitation.call("GET", "/v1/audit", token=stack.ops_token)).ok()["items"]
    assert (record["action"], record["outcome"]) == ("event.publish", "failed")
