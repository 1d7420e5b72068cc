"""Whatever the bus delivers, how often and in which order: one invitation, one mail, and no link where none belongs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pika
import pytest
from cloudevents.core.bindings import amqp, rabbitmq
from cloudevents.core.v1.event import CloudEvent

from convive_contracts import topology
from convive_contracts.publisher import Publisher
from convive_kit.http import rfc3339
from tests.running import Stack
from tests.speaking import (
    FIRST_NAME,
    FOREIGN_SOURCE,
    PASSWORD,
    Member,
    cloud_event,
    code_of,
    new_address,
    removal_data,
    until,
    user_data,
)
from tests.stacks import OwnStack


async def all_is_handled(stack: Stack) -> None:
    """Somebody invited now has their mail: what was published before has been taken from the bus."""
    member, _ = await stack.invite()
    await stack.mail(member.email)


async def is_dead(stack: Stack, link: str) -> None:
    """Nothing that can be done with this link leads anywhere but to 410."""
    assert (await stack.invitation.call("GET", link)).status == 410
    assert (await stack.invitation.page(link)).status == 410
    steps: dict[str, Any] = {
        "open": {"proof": "input"},
        "password": {"password": "un autre mot bien compliqué"},
        "accept": {"password": "un autre mot bien compliqué"},
        "renew": {},
        "decline": {"reason": "not_wanted"},
    }
    for step, body in steps.items():
        answer = await stack.invitation.call("POST", f"{link}/{step}", json=body)
        assert answer.status == 410, f"{step}: {answer.status} {answer.text}"


async def document(stack: Stack, member: Member) -> dict[str, Any]:
    """The invitation as it is stored, tombstones and what is held included; empty while there is none."""
    async with stack.documents() as database:
        return await database["invitations"].find_one({"_id": member.invitation_id}) or {}


async def until_document(stack: Stack, member: Member, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async def there() -> dict[str, Any]:
        found = await document(stack, member)
        return found if found and condition(found) else {}

    return await until(there)


@pytest.mark.parametrize("copies", [2, 10, 50])
async def test_the_same_event_at_once_is_one_invitation_and_one_mail(stack: Stack, copies: int) -> None:
    async with stack.listening("invitation.*") as heard:
        member, _ = await stack.invite(copies=copies)
        await stack.until_state(member, "sent")
        await all_is_handled(stack)

        assert len(await stack.mails(member.email)) == 1
        assert len(heard.of("invitation.sent", member.id)) == 1
    detail = await stack.detail(member)
    assert (detail["link_sequence"], detail["send_sequence"]) == (1, 1)
    assert [step["trigger"] for step in detail["history"]] == ["created", "accepted"]


async def test_several_publishers_repeating_themselves_are_one_invitation(stack: Stack) -> None:
    member = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    data = user_data(member.id, member.email)
    event = cloud_event("user.created", member.id, data)
    # The same fact also under other event ids: a publisher that lost its memory.
    events = [event, cloud_event("user.created", member.id, data), cloud_event("user.created", member.id, data)]

    async def one_publisher() -> None:
        async with stack.wire() as wire:
            for _ in range(5):
                await asyncio.gather(*(wire.send(each, "user.created") for each in events))

    await asyncio.gather(*(one_publisher() for _ in range(4)))
    await stack.until_state(member, "sent")
    await all_is_handled(stack)
    assert len(await stack.mails(member.email)) == 1
    assert (await stack.detail(member))["link_sequence"] == 1


async def test_the_same_event_days_later_sends_nothing_more(stack: Stack) -> None:
    member, data = await stack.invite(sequence=1)
    await stack.until_state(member, "sent")
    session = await stack.come_in(member)
    assert session
    version = (await stack.until_state(member, "active"))["version"]
    await stack.publish("user.created", member.id, data, sequence=1)
    await all_is_handled(stack)
    assert len(await stack.mails(member.email)) == 1
    assert (await stack.detail(member))["version"] == version


async def test_a_removal_that_comes_first_keeps_the_late_creation_from_sending(stack: Stack) -> None:
    member = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    data = user_data(member.id, member.email)
    await stack.publish("user.removed", member.id, removal_data(data), sequence=2)
    await until_document(stack, member, lambda found: "removal" in found)
    await stack.publish("user.created", member.id, data, sequence=1)
    await until_document(stack, member, lambda found: len(found["handled"]) == 2)
    await all_is_handled(stack)
    assert await stack.mails(member.email) == []
    found = await document(stack, member)
    assert (found["state"], found.get("due_at")) == ("revoked", None)


async def test_a_removal_first_without_sequences_is_told_by_its_time(stack: Stack) -> None:
    member = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    data = user_data(member.id, member.email)
    now = datetime.now(UTC)
    await stack.publish("user.removed", member.id, removal_data(data), time=now)
    await until_document(stack, member, lambda found: "removal" in found)
    await stack.publish("user.created", member.id, data, time=now - timedelta(seconds=5))
    await until_document(stack, member, lambda found: len(found["handled"]) == 2)
    await all_is_handled(stack)
    assert await stack.mails(member.email) == []


async def test_creation_and_removal_at_once_leave_no_usable_link(stack: Stack) -> None:
    """Before, during and after delivery: wherever the removal meets the invitation, its links are dead in the end."""
    members: list[Member] = []
    async with stack.wire() as wire:

        async def come_and_go(delay: float) -> None:
            member = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
            members.append(member)
            data = user_data(member.id, member.email)
            await wire.send(cloud_event("user.created", member.id, data, sequence=1), "user.created")
            await asyncio.sleep(delay)
            gone = cloud_event("user.removed", member.id, removal_data(data), sequence=2)
            await wire.send(gone, "user.removed")

        await asyncio.gather(*(come_and_go(number * 0.002) for number in range(30)))
    for member in members:
        await until_document(stack, member, lambda found: found["state"] == "revoked")
    await all_is_handled(stack)
    mails = [mail for member in members for mail in await stack.mails(member.email)]
    assert mails, "none of them was sent: the removals came too early for this test to say much"
    for mail in mails:
        await is_dead(stack, mail.link)


async def test_after_a_removal_every_link_ever_mailed_is_dead(stack: Stack) -> None:
    member, data = await stack.invite(sequence=1)
    first = await stack.mail(member.email)
    (await stack.operate(member, "resend")).ok(202)
    second = await stack.mail(member.email, count=2)
    (await stack.invitation.call("POST", f"{second.link}/open", json={"proof": "input"})).ok()
    await stack.publish("user.removed", member.id, removal_data(data), sequence=2)
    await stack.until_state(member, "revoked")
    assert first.link != second.link
    for link in (first.link, second.link):
        await is_dead(stack, link)


async def test_whoever_is_created_again_with_a_higher_sequence_gets_a_new_link(stack: Stack) -> None:
    member, data = await stack.invite(sequence=1)
    old = await stack.mail(member.email)
    await stack.publish("user.removed", member.id, removal_data(data), sequence=2)
    await stack.until_state(member, "revoked")
    # An older one changes nothing …
    await stack.publish("user.created", member.id, data, sequence=1)
    await all_is_handled(stack)
    assert (await stack.detail(member))["state"] == "revoked"
    # … a newer one begins anew.
    await stack.publish("user.created", member.id, data, sequence=3)
    new = await stack.mail(member.email, count=2)
    await stack.until_state(member, "sent")
    assert (await stack.invitation.call("GET", old.link)).json()["reason"] == "superseded"
    (await stack.redeem(new.link)).ok()


async def test_whoever_is_created_again_without_an_invitation_has_no_link_to_extend(stack: Stack) -> None:
    member, data = await stack.invite(sequence=1)
    old = await stack.mail(member.email)
    await stack.publish("user.removed", member.id, removal_data(data), sequence=2)
    await stack.until_state(member, "revoked")
    await stack.publish("user.created", member.id, {**data, "invite_by": "none"}, sequence=3)
    before = await stack.until_state(member, "pending")
    later = rfc3339(datetime.now(UTC) + timedelta(days=3))
    refused = await stack.operate(member, "extend", until=later)
    assert (refused.status, refused.json()["slug"]) == (409, "wrong_state")
    assert (await stack.detail(member))["version"] == before["version"]
    await is_dead(stack, old.link)
    # A new link is something else: it can be extended.
    (await stack.operate(member, "resend", channel="email")).ok(202)
    await stack.mail(member.email, count=2)
    (await stack.operate(member, "extend", until=later)).ok(202)


async def test_whoever_had_come_in_and_is_created_again_accepts_anew_and_is_active_again(stack: Stack) -> None:
    member, data = await stack.invite(sequence=1)
    await stack.come_in(member)
    await stack.until_state(member, "active")
    await stack.publish("user.removed", member.id, removal_data(data), sequence=2)
    await until_document(stack, member, lambda found: "removal" in found)
    await stack.publish("user.created", member.id, data, sequence=3)
    new = await stack.mail(member.email, count=2)
    await stack.until_state(member, "sent")
    assert (await stack.invitation.call("GET", new.link)).ok()["account"] == "existing"
    answer = (await stack.redeem(new.link, step="accept")).ok()
    await stack.session(code=code_of(answer["next"]))
    await stack.until_state(member, "active")


async def test_a_member_removed_and_added_again_by_the_cabinet_is_invited_anew(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    old = await stack.mail(member.email)
    path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
    (await stack.directory.call("DELETE", path, token=cabinet.key)).ok(204)
    await stack.until_state(member, "revoked")
    again = await stack.add_member(cabinet, dossier, member.email)
    new = await stack.mail(member.email, count=2)
    assert again.invitation_id != member.invitation_id
    await is_dead(stack, old.link)
    answer = (await stack.redeem(new.link)).ok()
    session = await stack.session(code=code_of(answer["next"]))
    assert [place["id"] for place in (await stack.me(session))["dossiers"]] == [dossier.id]
    await stack.until_state(again, "active")
    await is_dead(stack, old.link)


async def test_a_removal_the_bus_has_not_told_yet_stops_a_redemption_all_the_same(own_stack: OwnStack) -> None:
    """The directory knows first, and it decides: the link is refused although the invitation still looks alive."""
    stack = await own_stack()
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    async with stack.another("invitation", role="web") as web:
        # What consumes is stopped, what answers people goes on: the removal waits in the queue.
        await stack.invitation_service.stop()
        path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
        (await stack.directory.call("DELETE", path, token=cabinet.key)).ok(204)
        link = f"{web.url}/i/{mail.token}"
        assert (await web.call("GET", link)).ok()["state"] == "sent"
        answer = await web.call("POST", f"{link}/password", json={"password": PASSWORD})
        assert (answer.status, answer.json()["reason"]) == (410, "revoked")
        assert (await stack.sign_in(member.email, PASSWORD)).status == 401


async def test_an_update_that_comes_first_is_held_and_never_sends(stack: Stack) -> None:
    member = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    old = user_data(member.id, new_address("avant"))
    new = {**old, "member": {**old["member"], "email": member.email}}
    await stack.publish("user.updated", member.id, new, sequence=2)
    await until_document(stack, member, lambda found: not found.get("announced"))
    await all_is_handled(stack)
    assert await stack.mails(member.email) == []
    assert await stack.detail(member) is None
    await stack.publish("user.created", member.id, old, sequence=1)
    await stack.mail(member.email)
    assert await stack.mails(old["member"]["email"]) == []


async def test_a_new_address_gets_a_new_link_and_the_old_link_dies(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    old = await stack.mail(member.email)
    address = new_address("corrigee")
    path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
    (await stack.directory.call("PATCH", path, json={"email": address}, token=cabinet.key)).ok()
    stack.private.add(address)
    new = await stack.mail(address)
    answer = await stack.invitation.call("POST", f"{old.link}/password", json={"password": "un mot bien long et sûr"})
    assert (answer.status, answer.json()["reason"]) == (410, "superseded")
    (await stack.redeem(new.link)).ok()
    assert len(await stack.mails(member.email)) == 1


# --- foreign publishers -------------------------------------------------------------------------------------------


def publish_over_plain_pika(amqp_url: str, body: bytes, key: str, headers: dict[str, Any], content_type: str) -> None:
    connection = pika.BlockingConnection(pika.URLParameters(amqp_url))
    try:
        channel = connection.channel()
        channel.confirm_delivery()
        properties = pika.BasicProperties(content_type=content_type, headers=headers, delivery_mode=2)
        channel.basic_publish(topology.EXCHANGE, key, body, properties, mandatory=True)
    finally:
        connection.close()


@pytest.mark.parametrize("binding", ["rabbitmq", "amqp"])
async def test_the_official_sdk_over_plain_pika_in_binary_mode_ends_as_sent(stack: Stack, binding: str) -> None:
    member = Member(str(uuid4()), new_address(), "/other-team/crm")
    attributes: dict[str, Any] = {
        "id": str(uuid4()),
        "source": member.source,
        "type": "convive.user.created.v1",
        "specversion": "1.0",
        "subject": member.id,
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "sequence": "7",
    }
    event = CloudEvent(attributes, user_data(member.id, member.email))
    if binding == "rabbitmq":
        bound = rabbitmq.to_binary_event(event)
        body, headers, content_type = bound.body, dict(bound.headers), str(bound.content_type)
    else:
        message = amqp.to_binary_event(event)
        body, headers = message.application_data, dict(message.application_properties)
        content_type = str(message.properties["content-type"])
    await asyncio.to_thread(publish_over_plain_pika, stack.amqp_url, body, "user.created", headers, content_type)
    await stack.until_state(member, "sent")
    assert FIRST_NAME in (await stack.mail(member.email)).text


async def test_json_written_by_hand_in_structured_mode_ends_as_sent(stack: Stack) -> None:
    member = Member(str(uuid4()), new_address(), "urn:somebody:else")
    person, dossier, cabinet = member.id, uuid4(), uuid4()
    body = f"""{{
      "specversion" : "1.0", "id" : "A-1", "type" : "convive.user.created.v1", "source" : "{member.source}",
      "subject" : "{person}", "unknownextension" : 7,
      "data" : {{
        "member" : {{"id" : "{person}", "first_name" : "Zo\\u00eb", "last_name" : "D'Aubign\\u00e9",
                      "email" : "{member.email}"}},
        "dossier" : {{"id" : "{dossier}", "name" : "Les Deux Magots"}},
        "cabinet" : {{"id" : "{cabinet}", "name" : "Cabinet & Fils", "unknown" : [1, 2]}}
      }}
    }}""".encode()
    content_type = "application/cloudevents+json; charset=utf-8"
    await asyncio.to_thread(publish_over_plain_pika, stack.amqp_url, body, "user.created", {}, content_type)
    await stack.until_state(member, "sent")
    mail = await stack.mail(member.email)
    assert "Les Deux Magots" in mail.text
    assert "Cabinet & Fils" in mail.text


async def test_the_publisher_for_other_teams_ends_as_sent_also_by_the_bulk_lane(stack: Stack) -> None:
    member, bulk = (Member(str(uuid4()), new_address(), FOREIGN_SOURCE) for _ in range(2))
    async with Publisher(stack.amqp_url, source=FOREIGN_SOURCE) as publisher:
        await publisher.publish("user.created", subject=member.id, data=user_data(member.id, member.email))
        await publisher.publish("user.created", subject=bulk.id, data=user_data(bulk.id, bulk.email), lane="bulk")
    await stack.until_state(member, "sent")
    await stack.until_state(bulk, "sent")


async def test_a_foreign_member_who_redeems_has_a_grant_that_names_the_source(stack: Stack) -> None:
    member, data = await stack.invite(role="expense_approver")
    session = await stack.come_in(member)
    me = await stack.me(session)
    assert me["dossiers"] == []
    [grant] = me["grants"]
    assert (grant["source"], grant["member_id"], grant["role"]) == (FOREIGN_SOURCE, member.id, "expense_approver")
    assert grant["dossier"] == {"id": data["dossier"]["id"], "name": data["dossier"]["name"]}
    await stack.until_state(member, "active")


async def test_only_the_directory_may_say_that_somebody_redeemed_or_signed_in(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")
    account = str(uuid4())
    said = {"account_id": account, "invitation_id": member.invitation_id, "credential": "new"}
    lie = await stack.publish("account.redeemed", account, said)
    signed = {"account_id": account, "invitation_ids": [member.invitation_id]}
    other = await stack.publish("account.signed_in", account, signed)

    async def parked() -> list[Any]:
        found = [one for one in await stack.parked() if one["slug"] == "foreign_source"]
        ids = {json.loads((await stack.parked_message(one["id"]))["body"])["id"] for one in found}
        return found if {lie["id"], other["id"]} <= ids else []

    await until(parked)
    assert (await stack.detail(member))["state"] == "sent"


async def test_a_request_that_comes_long_before_its_invitation_is_set_aside_and_counts_then(stack: Stack) -> None:
    member = Member(str(uuid4()), new_address(), FOREIGN_SOURCE)
    id = member.invitation_id
    await stack.publish("invitation.revoke_requested", id, {"invitation_id": id})

    async def set_aside() -> Any:
        answer = await stack.invitation.call("GET", "/v1/parked?status=waiting&limit=200", token=stack.ops_token)
        for message in answer.ok()["items"]:
            path = f"/v1/parked/{message['id']}"
            whole = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()
            if id in whole["body"]:
                return whole
        return None

    waiting = await until(set_aside, what="it is set aside")
    assert (waiting["slug"], waiting["status"]) == ("unknown_invitation", "waiting")
    await stack.publish("user.created", member.id, user_data(member.id, member.email))

    await stack.until_state(member, "revoked")
    path = f"/v1/parked/{waiting['id']}"

    async def settled() -> Any:
        found = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()
        return found if found["status"] == "replayed" else None

    assert (await until(settled))["settled"]["by"] == "system"
