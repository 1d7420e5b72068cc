"""What happens to invitations, heard as it happens."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from deploy.local.broker import Broker
from tests.running import Stack
from tests.speaking import FIRST_NAME, until
from tests.stacks import OwnStack


@dataclass
class Listener:
    """Whoever reads a stream: the events that came, the comments, and whether it ended as it should."""

    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    comments: int = 0
    ended: bool = False

    async def read(self, response: aiohttp.ClientResponse) -> None:
        fields: dict[str, str] = {}
        async for raw in response.content:
            line = raw.decode().rstrip("\r\n")
            if line.startswith(":"):
                self.comments += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                self.events.append({**fields, "data": json.loads(fields["data"])})
                fields = {}
        self.ended = True

    def names(self, invitation_id: str) -> list[str]:
        return [event["event"] for event in self.events if event["data"]["invitation_id"] == invitation_id]

    async def until(self, name: str, invitation_id: str, *, count: int = 1, within: float = 15.0) -> dict[str, Any]:
        async def there() -> list[dict[str, Any]]:
            of_it = [event for event in self.events if event["data"]["invitation_id"] == invitation_id]
            found = [event for event in of_it if event["event"] == name]
            return found if len(found) >= count else []

        return (await until(there, within=within, what=f"{count} × {name} is heard"))[-1]


@asynccontextmanager
async def listening(
    stack: Stack, query: str = "", *, token: str | None = None, after: str = ""
) -> AsyncGenerator[Listener]:
    """A listener, from the moment on when nothing is missed."""
    headers = {"Authorization": f"Bearer {token or stack.ops_token}"} | ({"Last-Event-ID": after} if after else {})
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=15)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        async with session.get(f"{stack.invitation.url}/v1/stream{query}", headers=headers) as response:
            assert response.status == 200, await response.text()
            assert response.content_type == "text/event-stream"
            listener = Listener()
            reading = asyncio.create_task(listener.read(response))
            try:
                yield listener
            finally:
                reading.cancel()
                await asyncio.wait([reading])


async def test_what_happens_is_heard_with_its_place_and_without_the_person(stack: Stack) -> None:
    async with listening(stack) as listener:
        member = await stack.new_member()
        await listener.until("invitation.sent", member.invitation_id)
        (await stack.operate(member, "revoke")).ok(202)
        revoked = await listener.until("invitation.revoked", member.invitation_id)

    assert listener.names(member.invitation_id) == ["invitation.sent", "invitation.revoked"]
    assert (revoked["data"]["state"], revoked["data"]["member_id"]) == ("revoked", member.id)
    assert revoked["data"]["at"].endswith("Z")
    offsets = [int(event["id"]) for event in listener.events]
    assert offsets == sorted(set(offsets))
    for private in (member.email, FIRST_NAME):
        assert private not in str(listener.events)


async def test_filters_choose_what_is_heard(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    one = await stack.add_member(cabinet, dossier)
    other = await stack.new_member()
    for member in (one, other):
        await stack.until_state(member, "sent")
    queries = (
        f"?invitation_id={one.invitation_id}",
        f"?cabinet_id={cabinet.id}",
        f"?state=revoked&state=active&cabinet_id={cabinet.id}",
    )
    async with listening(stack, queries[0]) as first, listening(stack, queries[1]) as second:
        async with listening(stack, queries[2]) as third, listening(stack) as everything:
            for member in (other, one):
                (await stack.operate(member, "resend")).ok(202)
                await everything.until("invitation.sent", member.invitation_id)
                (await stack.operate(member, "revoke")).ok(202)
                await everything.until("invitation.revoked", member.invitation_id)
            for listener in (first, second, third):
                await listener.until("invitation.revoked", one.invitation_id)
                assert listener.names(other.invitation_id) == []
    assert (
        first.names(one.invitation_id) == second.names(one.invitation_id) == ["invitation.sent", "invitation.revoked"]
    )
    assert third.names(one.invitation_id) == ["invitation.revoked"]


async def test_whoever_comes_back_hears_what_was_missed_once(stack: Stack) -> None:
    async with listening(stack) as before:
        member = await stack.new_member()
        seen = await before.until("invitation.sent", member.invitation_id)
    for _ in range(3):
        (await stack.operate(member, "resend")).ok(202)
        await stack.until_state(member, "sent")

    async with listening(stack, f"?invitation_id={member.invitation_id}", after=seen["id"]) as after:
        (await stack.operate(member, "revoke")).ok(202)
        await after.until("invitation.revoked", member.invitation_id)
        assert after.names(member.invitation_id) == ["invitation.sent"] * 3 + ["invitation.revoked"]
        offsets = [int(event["id"]) for event in after.events]
        assert offsets == sorted(set(offsets))
        assert offsets[0] > int(seen["id"])


async def test_a_revoked_token_hears_no_more(stack: Stack) -> None:
    made = await stack.new_ops_token("reader")
    async with listening(stack, token=made["token"]) as listener:
        (await stack.invitation.call("DELETE", f"/v1/tokens/{made['id']}", token=stack.ops_token)).ok()

        async def ended() -> bool:
            return listener.ended

        await until(ended, within=30)


async def test_what_cannot_be_asked_for_is_said(stack: Stack) -> None:
    for query, after, field_ in (("?state=gone", "", "state.0"), ("?nope=1", "", "nope"), ("", "x", "Last-Event-ID")):
        headers = {"Last-Event-ID": after} if after else None
        answer = await stack.invitation.call("GET", f"/v1/stream{query}", token=stack.ops_token, headers=headers)
        assert (answer.status, answer.json()["errors"][0]["field"]) == (422, field_)


async def test_a_process_that_is_asked_to_end_ends_its_streams_properly(own_stack: OwnStack) -> None:
    stack = await own_stack()
    async with listening(stack) as listener:
        await stack.invitation_service.stop()

        async def ended() -> bool:
            return listener.ended

        # Cut off, it would have ended with an error.
        await until(ended)
    lines = [line["event"] for line in stack.log_lines("invitation")]
    assert "process.stopped" in lines
    assert "process.drain_timed_out" not in lines


async def test_a_broker_that_restarts_costs_no_event(own_stack: OwnStack, own_broker: Broker) -> None:
    stack = await own_stack(broker=own_broker)
    async with listening(stack) as listener:
        first = await stack.new_member()
        await listener.until("invitation.sent", first.invitation_id, within=30)
        await own_broker.restart()
        second = await stack.new_member()
        await listener.until("invitation.sent", second.invitation_id, within=60)
        assert listener.names(first.invitation_id) == ["invitation.sent"]
        assert not listener.ended
