"""Several processes, orderly ends and power cuts: everything ends as sent, and twice at most what was in the slots."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from uuid import uuid4

from deploy.local.processes import plain_environment
from tests.running import Stack
from tests.speaking import FOREIGN_SOURCE, Member, Wire, cloud_event, new_address, until, user_data
from tests.stacks import OwnStack

SLOTS = 8


async def invite_many(stack: Stack, amount: int, copies: int = 1) -> list[Member]:
    members = [Member(str(uuid4()), new_address(), FOREIGN_SOURCE) for _ in range(amount)]

    async def invite(wire: Wire, member: Member) -> None:
        event = cloud_event("user.created", member.id, user_data(member.id, member.email))
        for _ in range(copies):
            await wire.send(event, "user.created")

    async with stack.wire() as wire:
        await asyncio.gather(*(invite(wire, member) for member in members))
    return members


async def recorded_as_sent(stack: Stack, members: list[Member]) -> int:
    async with stack.documents() as database:
        query = {"_id": {"$in": [member.invitation_id for member in members]}, "state": "sent"}
        return await database["invitations"].count_documents(query)


async def all_are_sent(stack: Stack, members: list[Member]) -> int:
    """Wait until every one of them is sent; returns how many mails were one too many."""

    async def done() -> bool:
        return await recorded_as_sent(stack, members) == len(members)

    await until(done, within=45, what="all are sent")
    mails: dict[str, int] = Counter()
    for message in (await stack.inbox.call("GET", "/api/messages?limit=10000")).ok():
        mails[message["to"]] += 1
    assert all(mails[member.email] for member in members), "recorded as sent, and there is no mail"
    for member in (member for member in members if mails[member.email] > 1):
        # The same message once more, for the mailbox to recognise.
        twice = await stack.mails(member.email)
        assert len({mail.link for mail in twice}) == 1
        ids = {line for mail in twice for line in mail.source.splitlines() if line.lower().startswith("message-id:")}
        assert len(ids) == 1
    return sum(mails[member.email] - 1 for member in members)


async def test_two_processes_share_the_work_and_send_each_mail_once(stack: Stack) -> None:
    async with stack.another("invitation", role="worker") as worker:
        members = await invite_many(stack, 60, copies=3)
        assert await all_are_sent(stack, members) == 0
        # A worker answers for its health, and for nothing else.
        assert (await worker.call("GET", "/readyz")).status == 200
        assert (await worker.call("GET", "/v1/invitations", token=stack.ops_token)).status == 404
    async with stack.another("invitation", role="web") as web:
        (await web.call("GET", "/v1/invitations", token=stack.ops_token)).ok()


async def test_an_orderly_end_finishes_what_was_begun_and_loses_nothing(own_stack: OwnStack) -> None:
    # A minute's lease, as in production: what only waited must not wait for its end.
    stack = await own_stack(invitation_settings={"CONVIVE_DELIVERY_LEASE": "PT60S"})
    members = await invite_many(stack, 150)

    async def begun() -> int:
        return await recorded_as_sent(stack, members)

    await until(begun)
    service = stack.invitation_service
    await service.stop(grace=15)
    assert service.process.exit_code == 0
    async with stack.documents() as database:
        # All that came of it was announced before the bus was closed.
        assert await database["invitations"].count_documents({"outbox": {"$ne": []}}) == 0
    await service.start()
    # What was in the slots was finished; what only waited was given back for the next process.
    assert await all_are_sent(stack, members) == 0


async def test_an_orderly_end_waits_for_a_slow_attempt_but_not_for_ever(own_stack: OwnStack) -> None:
    stack = await own_stack(invitation_settings={"CONVIVE_DELIVERY_LEASE": "PT6S"})
    address = new_address("slow")
    await stack.misbehave("hang", match=address)
    member, _ = await stack.invite(address)

    async def begun() -> bool:
        async with stack.documents() as database:
            return await database["invitations"].count_documents({"lease": {"$ne": None}}) == 1

    await until(begun)
    # Whatever has not ended by itself after the grace is killed, and its exit code is another.
    await asyncio.gather(stack.invitation_service.stop(grace=15), stack.directory_service.stop(grace=15))
    assert stack.invitation_service.process.exit_code == 0
    assert stack.directory_service.process.exit_code == 0
    await stack.misbehave("accept")
    await asyncio.gather(stack.invitation_service.start(), stack.directory_service.start())
    await stack.until_state(member, "sent")
    assert len(await stack.mails(address)) == 1


async def test_power_cuts_in_the_middle_lose_nothing_and_repeat_no_more_than_the_slots(own_stack: OwnStack) -> None:
    settings = {"CONVIVE_DELIVERY_LEASE": "PT9S", "CONVIVE_DELIVERY_SLOTS": str(SLOTS)}
    stack = await own_stack(invitation_settings=settings)
    service = stack.invitation_service
    members: list[Member] = []
    cuts = 3
    for _ in range(cuts):
        new = await invite_many(stack, 60, copies=2)
        members += new

        async def some_are_out(new: list[Member] = new) -> bool:
            return await recorded_as_sent(stack, new) >= 5

        await until(some_are_out)
        service.process.kill()
        await service.start()
    assert await all_are_sent(stack, members) <= SLOTS * cuts
    async with stack.documents() as database:
        async for found in database["invitations"].find():
            assert (found["link_sequence"], found["send_sequence"]) == (1, 1)
            assert [step["trigger"] for step in found["history"]].count("created") == 1


async def test_without_a_secret_it_refuses_to_start_and_says_which() -> None:
    secrets = ("SERVICE_TOKEN", "OPS_TOKEN", "LINK_KEYS")

    async def start_without(missing: str) -> tuple[int | None, str]:
        given = {f"CONVIVE_{name}": f"a-secret-of-some-length-{name}" for name in secrets if name != missing}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "invitation",
            env=plain_environment(**given),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            said, _ = await process.communicate()
        return process.returncode, said.decode()

    for missing, (code, said) in zip(secrets, await asyncio.gather(*map(start_without, secrets)), strict=True):
        assert code == 2
        assert f"CONVIVE_{missing} is missing" in said
        assert "a-secret-of-some-length" not in said
