"""Failures at the console: groups, a group handled again after a look, one message put right, and one discarded."""

from __future__ import annotations

import html
import json
import re
from typing import Any
from uuid import uuid4

from tests.running import Stack
from tests.service.invitation.console import Operator, operator, words
from tests.speaking import Answer, Member, cloud_event, new_address, until, user_data
from tests.stacks import OwnStack


async def broken(stack: Stack, number: int = 1) -> list[tuple[Member, dict[str, Any]]]:
    """People whose announcement lacks the dossier's name, and what it should have said."""
    people: list[tuple[Member, dict[str, Any]]] = []
    async with stack.wire() as wire:
        for _ in range(number):
            member = Member(str(uuid4()), new_address(), "/tests/payroll")
            data = user_data(member.id, member.email)
            wrong = json.loads(json.dumps(data))
            del wrong["dossier"]["name"]
            await wire.send(cloud_event("user.created", member.id, wrong), "user.created")
            people.append((member, data))
    return people


async def parked_with(stack: Stack, word: str) -> str:
    async def there() -> str:
        for one in await stack.parked():
            if word in (await stack.parked_message(one["id"]))["body"]:
                return one["id"]
        return ""

    return await until(there, what="the parked message")


def message(id: str, rest: str = "") -> str:
    return f"/ops/failures/messages/{id}{rest}"


async def finished(one: Operator, answer: Answer) -> Answer:
    place = answer.headers["Location"]

    async def ended() -> bool:
        return "Finished" in words(await one.get(place))

    await until(ended, within=30, what="the end of the replay")
    return await one.get(place)


async def test_one_message_is_opened_for_a_reason_corrected_and_handled(stack: Stack) -> None:
    ((member, data),) = await broken(stack)
    id = await parked_with(stack, member.id)
    name = f"anne.{uuid4().hex[:8]}"
    one = await operator(stack, "writer", name)
    groups = await one.get("/ops/failures")
    assert "intake:malformed" in words(groups)
    assert 'class="trend"' in groups.text
    listed = await one.get("/ops/failures/messages?fingerprint=intake%3Amalformed&limit=200")
    assert message(id) in listed.text
    page = await one.get(message(id))
    assert "dossier.name" in words(page)
    for closed in (groups, listed, page):
        assert member.email not in closed.text

    again = await one.post(message(id, "/replay"))
    assert (again.status, "It was refused again" in words(again)) == (409, True)
    assert (await one.post(message(id, "/show"), reason=" ")).status == 422
    opened = await one.post(message(id, "/show"), reason="to correct it")
    shown = html.unescape(re.findall(r"<textarea[^>]*>\n(.*?)</textarea>", opened.text, re.DOTALL)[0])
    assert member.email in shown
    right = json.dumps(cloud_event("user.created", member.id, data), indent=1).replace("\n", "\r\n")
    assert (await one.post(message(id, "/edit"), body=" ", reason="nothing")).status == 422
    edited = await one.post(message(id, "/edit"), body=right, reason="the name was missing")
    copy = await one.follow(edited)
    assert "A corrected copy is parked" in words(copy)
    copy_path = edited.headers["Location"].partition("?")[0]
    handled = await one.follow(await one.post(f"{copy_path}/replay", reason="corrected"))

    assert "The message was handled" in words(handled)
    await stack.until_state(member, "sent")
    late = await one.post(message(id, "/discard"), reason="too late")
    assert (late.status, "dealt with this message already" in words(late)) == (409, True)
    path = f"/v1/audit?actor=ops:{name}"
    records = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["items"]
    assert [(record["action"], record["outcome"]) for record in records] == [
        ("parked.discard", "refused"),
        ("parked.replay", "done"),
        ("parked.edit", "done"),
        ("parked.revealed", "done"),
        ("parked.replay", "refused"),
    ]
    assert member.email not in str(records)


async def test_a_message_is_discarded_for_a_reason_and_kept(stack: Stack) -> None:
    ((member, _),) = await broken(stack)
    id = await parked_with(stack, member.id)
    one = await operator(stack)
    await one.get(message(id))
    assert (await one.post(message(id, "/discard"))).status == 422
    gone = await one.follow(await one.post(message(id, "/discard"), reason="noise"))
    assert "out of sight" in words(gone)
    assert message(id) not in (await one.get("/ops/failures/messages?limit=200")).text
    assert message(id) in (await one.get("/ops/failures/messages?status=discarded&limit=200")).text


async def test_a_reader_sees_groups_and_opens_nothing(stack: Stack) -> None:
    ((member, _),) = await broken(stack)
    id = await parked_with(stack, member.id)
    one = await operator(stack, "reader")
    page = await one.get(message(id))
    assert page.status == 200
    assert f'action="{message(id)}' not in page.text
    for path in (message(id, "/show"), message(id, "/replay"), message(id, "/discard"), "/ops/failures/replay"):
        assert (await one.post(path, reason="x", fingerprint="intake:malformed")).status == 403, path


async def test_a_group_is_looked_at_and_then_handled_again(own_stack: OwnStack) -> None:
    stack = await own_stack()
    # Requests about invitations that nobody knows, old enough not to be waited for.
    members = [Member(str(uuid4()), new_address(), "/tests/payroll") for _ in range(10)]
    async with stack.wire() as wire:
        for member in members:
            event = cloud_event(
                "invitation.resend_requested", member.invitation_id, {"invitation_id": member.invitation_id}
            )
            await wire.send(event | {"time": "2026-01-01T00:00:00.000Z"}, "invitation.resend_requested")

    async def all_parked() -> list[Any]:
        found = await stack.parked()
        return found if len(found) == len(members) else []

    fingerprint = (await until(all_parked, within=30))[0]["fingerprint"]
    for member in members[:8]:
        await stack.publish("user.created", member.id, user_data(member.id, member.email))
        await stack.until_state(member, "sent")
    one = await operator(stack)
    assert f">{fingerprint}<" in (await one.get("/ops/failures")).text

    looked = await finished(
        one, await one.post("/ops/failures/replay", fingerprint=fingerprint, reason="they are here now")
    )
    assert "What a replay would do" in words(looked)
    assert "Handle these 10 messages again" in words(looked)
    assert len(await stack.parked()) == 10
    done = await finished(
        one,
        await one.post("/ops/failures/replay", fingerprint=fingerprint, reason="they are here now", go="yes"),
    )

    said = words(done)
    assert "Fitting 10 Handled 8 Failed again 2" in said
    assert len(await stack.parked()) == 2
    for member in members[:8]:
        await stack.mail(member.email, count=2)
    refused = await one.post("/ops/failures/replay", fingerprint=fingerprint, reason="")
    assert refused.status == 422
