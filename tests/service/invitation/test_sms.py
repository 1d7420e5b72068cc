"""Invited by text message: the whole way in, and a gateway that refuses, hangs or breaks off."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.running import Stack, code_of, new_phone


@pytest.fixture
async def tempered(stack: Stack) -> AsyncGenerator[Stack]:
    """The shared stack, whose gateway is in a good mood again afterwards."""
    yield stack
    await stack.misbehave("accept", channel="sms")


async def test_a_text_message_leads_in(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    phone = new_phone()
    as_dialled = f"0{phone[3]} {phone[4:6]} {phone[6:8]} {phone[8:10]} {phone[10:]}"
    async with stack.listening("invitation.*") as heard:
        member = await stack.add_member(cabinet, dossier, phone=as_dialled, invite_by="sms")
        stack.private.add(phone)
        text = await stack.text(phone)
        sent = await heard.until("invitation.sent", member.id)
    assert (sent["data"]["channel"], sent["data"]["send_sequence"]) == ("sms", 1)
    assert (text.sender, text.segments) == ("Convive", 2)
    assert cabinet.name in text.text
    assert dossier.name in text.text
    assert await stack.mails(member.email) == []
    history = (await stack.until_state(member, "sent"))["history"]
    accepted = next(step for step in history if step["trigger"] == "accepted")
    assert accepted["detail"].keys() == {"send", "provider_id", "segments"}
    shown = (await stack.invitation.call("GET", text.link)).ok()
    assert (shown["cabinet"]["name"], shown["account"]) == (cabinet.name, "new")
    answer = (await stack.redeem(text.link)).ok()
    session = await stack.session(code=code_of(answer["next"]))
    assert [one["id"] for one in (await stack.me(session))["dossiers"]] == [dossier.id]
    await stack.until_state(member, "active")


async def test_a_foreign_publisher_invites_by_text_message_in_english(stack: Stack) -> None:
    phone = new_phone()
    await stack.invite(phone=phone, invite_by="sms", locale="en")
    assert "invites you to the file" in (await stack.text(phone)).text
