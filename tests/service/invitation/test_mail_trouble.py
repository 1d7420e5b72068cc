"""A mail server that refuses, hangs, breaks off or is away: retried or failed with the reason; nobody else waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest
from aiosmtpd.smtp import SMTP

from tests.running import Stack
from tests.service.invitation.mail_server import Taken, confirm, cut, mail_server
from tests.speaking import Member, new_address, removal_data, until
from tests.stacks import OwnStack


@pytest.fixture
async def tempered(stack: Stack) -> AsyncGenerator[Stack]:
    """The shared stack, whose mail server is in a good mood again afterwards."""
    yield stack
    await stack.misbehave("accept")


async def others_are_served(stack: Stack) -> None:
    """Somebody else's mail arrives at once."""
    started = time.monotonic()
    member, _ = await stack.invite(new_address("other"))
    await stack.mail(member.email)
    assert time.monotonic() - started < 3


async def until_deferred(stack: Stack, member: Member) -> Any:
    async def there() -> Any:
        detail = await stack.detail(member)
        deferred = detail and any(step["trigger"] == "deferred" for step in detail["history"])
        return detail if deferred and detail["reason"] else None

    return await until(there, within=20, what="a deferred attempt")


async def test_refused_for_now_is_tried_again_and_sent(tempered: Stack) -> None:
    stack = tempered
    address = new_address("busy")
    await stack.misbehave("refuse_temporarily", match=address)
    member, _ = await stack.invite(address)
    detail = await until_deferred(stack, member)
    assert detail["state"] == "pending"
    assert detail["reason"].startswith("4")
    assert address not in detail["reason"]
    await others_are_served(stack)
    await stack.misbehave("accept")
    detail = await stack.until_state(member, "sent")
    assert detail["reason"] is None
    assert detail["attempt"] >= 2
    assert len(await stack.mails(address)) == 1
    assert (detail["link_sequence"], detail["send_sequence"]) == (1, 1)


async def test_refused_for_good_is_failed_with_the_reason_and_told(tempered: Stack) -> None:
    stack = tempered
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    address = new_address("nobody")
    await stack.misbehave("refuse_permanently", match=address)
    async with stack.listening("invitation.*") as heard:
        member = await stack.add_member(cabinet, dossier, address)
        failed = await heard.until("invitation.failed", member.id)
    detail = await stack.detail(member)
    assert (detail["state"], detail["attempt"], detail["due_at"]) == ("failed", 1, None)
    assert detail["reason"] == "unknown_address"
    assert detail["history"][-1]["detail"]["reply"] == "550 5.1.1 No such mailbox"
    assert failed["data"]["reason"] == detail["reason"]
    assert address not in str(failed)

    async def shown() -> bool:
        path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
        told = (await stack.directory.call("GET", path, token=cabinet.key)).ok()["invitation"]
        return told["state"] == "failed" and told["reason"] == detail["reason"]

    await until(shown)
    await others_are_served(stack)
    # Once the mailbox is there, a resend is all it takes.
    await stack.misbehave("accept")
    (await stack.operate(member, "resend")).ok(202)
    await stack.mail(address)
    assert (await stack.until_state(member, "sent"))["reason"] is None


async def test_a_hanging_server_holds_up_nobody_else_and_is_tried_again(tempered: Stack) -> None:
    stack = tempered
    address = new_address("hangs")
    await stack.misbehave("hang", match=address)
    member, _ = await stack.invite(address)
    await asyncio.gather(*(others_are_served(stack) for _ in range(5)))
    assert (await stack.detail(member))["state"] == "pending"
    detail = await until_deferred(stack, member)
    assert detail["reason"] == "timeout"
    await stack.misbehave("accept")
    await stack.until_state(member, "sent")
    assert len(await stack.mails(address)) == 1


async def test_a_server_that_refuses_now_and_then_gets_everything_in_the_end(tempered: Stack) -> None:
    stack = tempered
    for mode in ("refuse_temporarily", "close_mid_data"):
        part = f"flaky-{mode.replace('_', '-')}"
        await stack.misbehave(mode, match=part, rate=0.3)
        members = [member for member, _ in await asyncio.gather(*(stack.invite(new_address(part)) for _ in range(10)))]
        await asyncio.gather(*(stack.until_state(member, "sent", within=30) for member in members))
        for member in members:
            assert len(await stack.mails(member.email)) == 1


# --- a mail server of the test's own ------------------------------------------------------------------------------


async def test_a_mail_cut_off_after_its_data_goes_out_again_as_the_same_message(own_stack: OwnStack) -> None:
    async with mail_server() as server:
        stack = await own_stack(invitation_settings={"CONVIVE_SMTP_PORT": str(server.port)})

        async def cut_twice(taken: Taken, connection: SMTP) -> str:
            return await (cut if len(server.to(taken.to)) <= 2 else confirm)(taken, connection)

        server.answer = cut_twice
        member, _ = await stack.invite()
        other, _ = await stack.invite()
        await stack.until_state(member, "sent", within=20)
        await stack.until_state(other, "sent", within=20)
        taken = server.to(member.email)
        assert len(taken) == 3
        assert len({mail.message_id for mail in taken}) == 1
        assert len({mail.link for mail in taken}) == 1
        # The same link again on purpose is a message of its own.
        server.answer = confirm
        (await stack.operate(member, "resend")).ok(202)
        await stack.until_state(member, "sent")
        assert server.to(member.email)[-1].message_id != taken[0].message_id


async def test_a_removal_during_delivery_leaves_no_usable_link(own_stack: OwnStack) -> None:
    async with mail_server() as server:
        stack = await own_stack(invitation_settings={"CONVIVE_SMTP_PORT": str(server.port)})
        now = asyncio.Event()

        async def when_told(taken: Taken, connection: SMTP) -> str:
            await now.wait()
            return await confirm(taken, connection)

        server.answer = when_told
        async with stack.listening("invitation.*") as heard:
            member, data = await stack.invite(sequence=1)

            async def on_its_way() -> bool:
                return bool(server.taken)

            await until(on_its_way)
            await stack.publish("user.removed", member.id, removal_data(data), sequence=2)
            await stack.until_state(member, "revoked")
            now.set()

            async def noted() -> bool:
                return any(step["trigger"] == "accepted" for step in (await stack.detail(member))["history"])

            await until(noted)
            assert heard.of("invitation.sent", member.id) == []
        detail = await stack.detail(member)
        assert (detail["state"], detail["due_at"]) == ("revoked", None)
        [taken] = server.taken
        for answer in (await stack.invitation.call("GET", taken.link), await stack.redeem(taken.link)):
            assert (answer.status, answer.json()["reason"]) == (410, "revoked")


async def test_the_late_outcome_of_an_older_send_changes_nothing(own_stack: OwnStack) -> None:
    async with mail_server() as server:
        stack = await own_stack(invitation_settings={"CONVIVE_SMTP_PORT": str(server.port)})
        now = asyncio.Event()

        async def first_one_late(taken: Taken, connection: SMTP) -> str:
            if taken is server.taken[0]:
                await now.wait()
                return "550 5.1.1 nobody here"
            return await confirm(taken, connection)

        server.answer = first_one_late
        async with stack.listening("invitation.*") as heard:
            member, _ = await stack.invite()

            async def on_its_way() -> bool:
                return bool(server.taken)

            await until(on_its_way)
            (await stack.operate(member, "resend")).ok(202)
            before = await stack.until_state(member, "sent")
            now.set()

            async def noted() -> Any:
                detail = await stack.detail(member)
                return detail if detail["version"] > before["version"] else None

            after = await until(noted)
            assert (after["state"], after["reason"], after["send_sequence"]) == ("sent", None, 2)
            assert heard.of("invitation.failed", member.id) == []
        assert (await stack.redeem(server.taken[1].link)).status == 200


async def test_addresses_of_any_alphabet_are_written_to(stack: Stack) -> None:
    for address in (new_address("zoé.müller"), f"jeanne.{uuid4().hex[:8]}@bäckerei-例え.example.com"):
        member, _ = await stack.invite(address)
        await stack.until_state(member, "sent", "failed")
        assert (await stack.detail(member))["state"] == "sent", await stack.detail(member)


async def test_a_provider_that_is_away_is_waited_for_without_using_up_attempts(own_stack: OwnStack) -> None:
    async with mail_server() as server:
        stack = await own_stack(invitation_settings={"CONVIVE_SMTP_PORT": str(server.port)})
        await server.close()
        members = [member for member, _ in await asyncio.gather(*(stack.invite() for _ in range(40)))]
        await asyncio.sleep(1)
        details = [await stack.detail(member) for member in members]
        assert {detail["state"] for detail in details} == {"pending"}
        # What comes in meanwhile is taken from the bus all the same.
        late, _ = await stack.invite()
        assert (await stack.until_state(late, "pending"))["attempt"] <= 1
        await server.open()
        for member in [*members, late]:
            detail = await stack.until_state(member, "sent", within=30)
            assert detail["attempt"] == 1
            assert len(server.to(member.email)) == 1
