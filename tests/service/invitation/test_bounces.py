"""Mails that come back: to a return address that names its mail, read, and shown to the firm. Whoever makes one up is
told that there is no such address."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

import pytest

from deploy.local.addresses import LOOPBACK, free_port
from deploy.local.inbox.mail_server import NOTIFICATION
from invitation.delivery.receipts.listener import LARGEST, return_address
from invitation.lifecycle.links import References, Send
from tests.running import Stack
from tests.service.invitation.profiling import profiled
from tests.speaking import Cabinet, Dossier, Member, new_address, until

DOMAIN = "bounces.convive.example"
Value = TypeVar("Value")


@pytest.fixture
async def tempered(stack: Stack) -> AsyncGenerator[Stack]:
    """The shared stack, whose mail server is in a good mood again afterwards."""
    yield stack
    await stack.misbehave("accept")


def address_of(stack: Stack, member: Member, send: int = 1) -> str:
    return return_address(References([stack.link_key]), Send(member.invitation_id, send), DOMAIN)


def notification(action: str = "failed", status: str = "5.1.1", said: str = "550 5.1.1 unknown") -> bytes:
    told = NOTIFICATION.format(sender="x@y.example", address="z@y.example", said=said)
    return told.replace("Action: failed", f"Action: {action}").replace("Status: 5.1.1", f"Status: {status}").encode()


async def talk(port: int, say: Callable[[smtplib.SMTP], Value], client: type[smtplib.SMTP] = smtplib.SMTP) -> Value:
    """Say something to the listener as a mail server does."""

    def conversation() -> Value:
        with client(LOOPBACK, port, timeout=20) as connection:
            connection.ehlo_or_helo_if_needed()
            return say(connection)

    return await asyncio.to_thread(conversation)


async def hand_in(port: int, to: str, content: bytes, client: type[smtplib.SMTP] = smtplib.SMTP) -> int:
    """Hand a mail in; the code that it is answered with."""

    def say(connection: smtplib.SMTP) -> int:
        connection.mail("")
        code, _ = connection.rcpt(to)
        return connection.data(content)[0] if code == 250 else code

    return await talk(port, say, client)


async def invited(stack: Stack) -> tuple[Cabinet, Dossier, Member]:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    await stack.until_state(member, "sent")
    return cabinet, dossier, member


def steps(detail: Any, trigger: str) -> Sequence[Any]:
    return [step for step in detail["history"] if step["trigger"] == trigger]


async def test_a_mail_that_comes_back_is_failed_with_a_reason_and_the_firm_sees_it(tempered: Stack) -> None:
    stack = tempered
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    address = new_address("gone")
    await stack.misbehave("bounce", match=address)
    async with stack.listening("invitation.*") as heard:
        member = await stack.add_member(cabinet, dossier, address)
        bounced = await heard.until("invitation.bounced", member.id)
        failed = await heard.until("invitation.failed", member.id)
    assert failed["data"]["reason"] == bounced["data"]["reason"] == "unknown_address"
    detail = await stack.detail(member)
    assert (detail["state"], detail["reason"], detail["due_at"]) == ("failed", "unknown_address", None)
    [step] = steps(detail, "bounced")
    assert step["detail"] == {
        "send": 1,
        "reason": "unknown_address",
        "status": "5.1.1",
        "reply": "550 5.1.1 <…>: Recipient address rejected: User unknown",
    }
    assert address not in str(detail["history"])

    async def shown() -> bool:
        path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
        told = (await stack.directory.call("GET", path, token=cabinet.key)).ok()["invitation"]
        return told["state"] == "failed" and told["reason"] == "unknown_address"

    await until(shown)
    # At another address all is well.
    await stack.misbehave("accept")
    (await stack.operate(member, "correct", email=new_address("there"))).ok(202)
    assert (await stack.until_state(member, "sent"))["reason"] is None


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
async def test_told_three_times_and_out_of_order_it_counts_once(stack: Stack, protocol: str) -> None:
    _, _, member = await invited(stack)
    to, port = address_of(stack, member), free_port()
    client = {"smtp": smtplib.SMTP, "lmtp": smtplib.LMTP}[protocol]
    settings = {"CONVIVE_BOUNCE_LISTEN": f"{protocol}://{LOOPBACK}:{port}"}
    async with stack.another("invitation", role="worker", **settings), stack.listening("invitation.*") as heard:
        assert await hand_in(port, to, notification("delayed", "4.4.1"), client) == 250
        assert (await stack.detail(member))["state"] == "sent"
        for _ in range(3):
            assert await hand_in(port, to.upper(), notification("failed", "5.2.2", "552 full"), client) == 250
        assert await hand_in(port, to, notification("delivered", "2.0.0"), client) == 250
        await heard.until("invitation.bounced", member.id)
        detail = await stack.detail(member)
    assert (detail["state"], detail["reason"]) == ("failed", "mailbox_full")
    assert [len(steps(detail, trigger)) for trigger in ("bounced", "delivered", "gave_up")] == [1, 1, 1]
    assert len(heard.of("invitation.bounced", member.id)) == len(heard.of("invitation.failed", member.id)) == 1
    assert heard.of("invitation.delivered", member.id) == []


async def test_a_bounce_of_an_older_send_changes_nothing(stack: Stack) -> None:
    _, _, member = await invited(stack)
    (await stack.operate(member, "resend")).ok(202)
    detail = await stack.until_state(member, "sent")
    assert detail["send_sequence"] == 2
    assert await hand_in(stack.around.bounce_port, address_of(stack, member), notification()) == 250
    after = await stack.detail(member)
    assert (after["state"], after["reason"]) == ("sent", None)
    assert steps(after, "bounced")[0]["detail"]["of_send"] == 1


async def test_a_made_up_return_address_is_refused_and_costs_no_database_command(stack: Stack) -> None:
    _, _, member = await invited(stack)
    genuine = address_of(stack, member)
    prefix, length = len("bounce-"), len(genuine.partition("@")[0])
    others = {"a": "b", "2": "3"}
    forged = [genuine[:at] + others.get(genuine[at], "a") + genuine[at + 1 :] for at in range(length)]
    forged += [
        genuine.replace("bounce-", ""),
        genuine.replace(DOMAIN, "convive.example"),
        genuine.replace(f"@{DOMAIN}", ""),
        genuine[:prefix] + "x" + genuine[prefix:],
        f"postmaster@{DOMAIN}",
        return_address(References(["another key of theirs"]), Send(member.invitation_id, 1), DOMAIN),
    ]

    def refusals(connection: smtplib.SMTP) -> set[tuple[int, bytes]]:
        connection.mail("")
        return {connection.rcpt(address) for address in forged}

    async with profiled(stack) as commands:
        answers = await talk(stack.around.bounce_port, refusals)
        asked = await commands()
    assert answers == {(550, b"5.1.1 No such return address")}
    assert asked == []
    assert (await stack.detail(member))["state"] == "sent"


async def test_what_says_nothing_of_the_mail_is_taken_and_changes_nothing(stack: Stack) -> None:
    _, _, member = await invited(stack)
    port, to = stack.around.bounce_port, address_of(stack, member)
    before = await stack.detail(member)
    away = b"From: x@example.com\r\nAuto-Submitted: auto-replied\r\n\r\nBack on 5.1.1, call 550 for help\r\n"
    assert await hand_in(port, to, away) == 250
    assert await hand_in(port, to, b"hello") == 250
    assert await hand_in(port, to, b"x\r\n" * (LARGEST // 3 + 1)) == 552
    assert await hand_in(port, to, b"long: " + b"x" * 10_000) == 250
    assert await stack.detail(member) == before

    def twice(connection: smtplib.SMTP) -> list[int]:
        connection.mail("jeanne@example.com")
        return [connection.rcpt(to)[0] for _ in range(2)]

    assert await talk(port, twice) == [250, 452]


async def test_of_too_many_at_once_the_last_are_asked_to_come_again(stack: Stack) -> None:
    port = stack.around.bounce_port
    waiting = [await asyncio.open_connection(LOOPBACK, port) for _ in range(33)]
    try:
        greetings = sorted([(await reader.readline())[:3] for reader, _ in waiting])
    finally:
        for _, writer in waiting:
            writer.close()
    assert greetings == [b"220"] * 32 + [b"421"]
