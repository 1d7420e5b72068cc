"""Invited by text message: the whole way in, and a gateway that refuses, hangs or breaks off."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from tests.running import Stack
from tests.speaking import PASSWORD, Member, code_of, new_phone, until
from tests.stacks import OwnStack
from tests.unit.sms.playing import playing


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


async def test_a_landline_from_a_foreign_publisher_is_failed_in_sight_of_the_firm(stack: Stack) -> None:
    async with stack.listening("invitation.failed") as heard:
        member, _ = await stack.invite(phone="+33142685300", invite_by="sms")
        failed = await heard.until("invitation.failed", member.id)
    assert failed["data"]["reason"] == "not_a_mobile"
    refused = await stack.operate(member, "resend", channel="sms")
    assert [error["field"] for error in refused.json()["errors"]] == ["channel"]
    (await stack.operate(member, "resend", channel="email")).ok(202)
    await stack.mail(member.email)


async def test_a_gateway_that_refuses_or_hangs_is_tried_again_and_holds_up_nobody(tempered: Stack) -> None:
    stack = tempered
    for mode, reason in (("refuse_temporarily", "the gateway answers 500"), ("hang", "timeout")):
        phone = new_phone()
        await stack.misbehave(mode, channel="sms", match=phone)
        member, _ = await stack.invite(phone=phone, invite_by="sms")
        other = new_phone()
        await stack.invite(phone=other, invite_by="sms")
        await stack.text(other)

        async def deferred(member: Member = member, reason: str = reason) -> bool:
            detail = await stack.detail(member)
            return detail is not None and detail["reason"] == reason

        await until(deferred, within=20)
        await stack.misbehave("accept", channel="sms")
        detail = await stack.until_state(member, "sent", within=20)
        assert (detail["reason"], detail["send_sequence"], len(await stack.texts(phone))) == (None, 1, 1)


async def test_a_number_that_does_not_exist_is_failed_and_a_corrected_one_is_written_to(tempered: Stack) -> None:
    stack = tempered
    phone, better = new_phone(), new_phone()
    await stack.misbehave("refuse_permanently", channel="sms", match=phone)
    member = await stack.new_member(phone=phone, invite_by="sms")
    detail = await stack.until_state(member, "failed")
    assert (detail["reason"], detail["attempt"], detail["due_at"]) == ("unknown_number", 1, None)
    (await stack.operate(member, "correct", phone=better)).ok(202)
    text = await stack.text(better)
    assert (await stack.invitation.call("GET", text.link)).ok()["account"] == "new"


async def test_a_link_by_sms_never_sets_the_password_of_an_account_that_exists(stack: Stack) -> None:
    """The phone number is whatever the inviting firm wrote down: it may be the firm's own."""
    victim = await stack.new_member()
    await stack.come_in(victim)
    await stack.until_state(victim, "active")
    phone = new_phone()
    await stack.new_member(email=victim.email, phone=phone, invite_by="sms")
    link = (await stack.text(phone)).link
    assert (await stack.invitation.call("GET", link)).ok()["account"] == "existing"
    refused = await stack.redeem(link, "un tout autre mot de passe")
    assert refused.status == 409
    assert (await stack.sign_in(victim.email, PASSWORD)).status == 201
    assert (await stack.sign_in(victim.email, "un tout autre mot de passe")).status == 401
    (await stack.redeem(link, PASSWORD, step="accept")).ok()


async def test_over_ovhcloud_a_message_goes_out_and_its_receipt_finds_back_by_their_id(own_stack: OwnStack) -> None:
    job = {"totalCreditsRemoved": 2, "invalidReceivers": [], "ids": [26929925], "validReceivers": ["+33612345678"]}
    async with playing((200, 1798761660), (200, job)) as ovh:
        names = ("OVH_APPLICATION_KEY", "OVH_APPLICATION_SECRET", "OVH_CONSUMER_KEY", "SIGNING_KEY")
        settings = {f"CONVIVE_SMS_{name}": f"the-{name.lower()}-of-a-test" for name in names} | {
            "CONVIVE_SMS_PROVIDER": "ovh",
            "CONVIVE_SMS_URL": ovh.url,
            "CONVIVE_SMS_ACCOUNT": "sms-ab12345-1",
        }
        stack = await own_stack(invitation_settings=settings)
        member, _ = await stack.invite(phone=new_phone(), invite_by="sms")
        await stack.until_state(member, "sent")
        callback = f"/v1/receipts/ovh?secret={settings['CONVIVE_SMS_SIGNING_KEY']}&ptt=23&date=20261231&description=x"
        # It calls for every message of the account: one that is not ours changes nothing.
        assert (await stack.invitation.call("GET", f"{callback}&id=404")).status == 204
        assert (await stack.detail(member))["state"] == "sent"
        assert (await stack.invitation.call("GET", f"{callback}&id=26929925")).status == 204
        assert (await stack.until_state(member, "failed"))["reason"] == "unknown_number"
