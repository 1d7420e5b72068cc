"""What providers of text messages say over HTTP: signed, repeated, out of order, forged."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha1
from hmac import new as mac
from typing import Any
from urllib.parse import urlencode

from deploy.local.database import Database
from invitation.delivery.gateways.generic import signature
from invitation.lifecycle.links import References, Send
from tests.running import Stack
from tests.service.invitation.profiling import profiled
from tests.service.invitation.test_bounces import address_of, hand_in, notification
from tests.speaking import Answer, Api, Member, new_phone, until
from tests.stacks import OwnStack

# What a receipt says of a send does not depend on the way it went: these are of mails, which no quiet hours hold up.
GENERIC = "/v1/receipts/generic"


def reference_of(stack: Stack, member: Member, send: int = 1) -> str:
    return References([stack.link_key]).of(Send(member.invitation_id, send))


async def say(stack: Stack, reference: str, *, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
    """As the gateway of the stack says it, signed unless `headers` are given."""
    raw = json.dumps(body).encode()
    if headers is None:
        headers = {"Convive-Signature": signature(stack.around.credentials.sms_signing_key, raw, int(time.time()))}
    headers = {"Content-Type": "application/json", **headers}
    return await stack.invitation.call("POST", f"{GENERIC}?ref={reference}", data=raw, headers=headers)


async def invited(stack: Stack) -> Member:
    member = await stack.new_member()
    await stack.until_state(member, "sent")
    return member


def steps(detail: Any) -> list[str]:
    return [step["trigger"] for step in detail["history"]]


async def test_of_a_message_in_two_parts_a_later_success_of_one_does_not_hide_the_failure_of_the_other(
    stack: Stack,
) -> None:
    member = await invited(stack)
    reference = reference_of(stack, member)
    async with stack.listening("invitation.*") as heard:
        assert (await say(stack, reference, id="part-1", status="sent")).status == 204
        assert (await stack.detail(member))["state"] == "sent"
        assert (await say(stack, reference, id="part-1", status="delivered")).status == 204
        for _ in range(3):
            failed = await say(stack, reference, id="part-2", status="undelivered", reason="handset_off", code="E7")
            assert failed.status == 204
        assert (await say(stack, reference, id="part-1", status="delivered")).status == 204
        assert (await say(stack, reference, id="part-3", status="delivered")).status == 204
        await heard.until("invitation.bounced", member.id)
        detail = await stack.detail(member)
    assert (detail["state"], detail["reason"]) == ("failed", "handset_off")
    assert steps(detail) == ["created", "accepted", "delivered", "bounced", "gave_up", "delivered"]
    assert detail["history"][3]["detail"] == {"send": 1, "reason": "handset_off", "code": "E7"}
    assert [len(heard.of(f"invitation.{fact}", member.id)) for fact in ("delivered", "bounced", "failed")] == [1, 1, 1]


async def test_receipts_in_any_order_come_to_the_same(stack: Stack) -> None:
    member = await invited(stack)
    reference = reference_of(stack, member)
    for id, status in (("2", "undelivered"), ("1", "delivered"), ("1", "sent"), ("2", "undelivered")):
        assert (await say(stack, reference, id=id, status=status)).status == 204
    detail = await stack.detail(member)
    assert (detail["state"], detail["reason"]) == ("failed", "not_delivered")


async def test_a_forged_receipt_is_refused_alike_and_costs_no_database_command(stack: Stack) -> None:
    member = await invited(stack)
    reference = reference_of(stack, member)
    before = await stack.detail(member)
    body: dict[str, Any] = {"id": "1", "status": "undelivered"}
    key, now = stack.around.credentials.sms_signing_key, int(time.time())
    raw = json.dumps(body).encode()
    changed = reference[:-1] + ("a" if reference[-1] != "a" else "b")
    foreign = References(["another key of theirs"]).of(Send(member.invitation_id, 1))
    async with profiled(stack) as commands:
        answers = [
            await say(stack, reference, headers={}, **body),
            await say(stack, reference, headers={"Authorization": f"Bearer {stack.ops_token}"}, **body),
            await say(stack, reference, headers={"Convive-Signature": signature("another key", raw, now)}, **body),
            await say(stack, reference, headers={"Convive-Signature": signature(key, raw, now - 400)}, **body),
            await say(stack, reference, headers={"Convive-Signature": signature(key, b"{}", now)}, **body),
            await say(stack, changed, **body),
            await say(stack, foreign, **body),
            await say(stack, "", **body),
        ]
        asked = await commands()
    assert {answer.status for answer in answers} == {403}
    assert len({answer.body for answer in answers}) == 1
    assert asked == []
    assert await stack.detail(member) == before
    # Whoever is not set up here is not known here; what is signed and says nothing that can be read is told so.
    for method, path in (("POST", "twilio"), ("GET", "ovh"), ("POST", "nobody")):
        assert (await stack.invitation.call(method, f"/v1/receipts/{path}")).status in (404, 405)
    assert (await say(stack, reference, id="1", status="lost")).json()["errors"][0]["field"] == "status"


async def test_a_flood_of_forgeries_is_slowed_down(stack: Stack) -> None:
    client = {"X-Forwarded-For": "10.9.8.7"}
    statuses = {(await say(stack, "x", headers=client, id="1", status="sent")).status for _ in range(40)}
    assert statuses == {403, 429}


async def test_twilio_says_what_became_of_a_message(stack: Stack) -> None:
    member = await invited(stack)
    token = "the token of an account"
    settings = {"CONVIVE_SMS_PROVIDER": "twilio", "CONVIVE_SMS_ACCOUNT": "AC1", "CONVIVE_SMS_TOKEN": token}
    path = f"/v1/receipts/twilio?ref={reference_of(stack, member)}"
    form = {"MessageSid": "SM1", "MessageStatus": "undelivered", "ErrorCode": "30005", "To": "+33612345678"}

    async def post(api: Api, signature: str, **more: str) -> int:
        return (await api.call("POST", path, form=form | more, headers={"X-Twilio-Signature": signature})).status

    signed = stack.invitation.url + path + "".join(name + form[name] for name in sorted(form))
    genuine = b64encode(mac(token.encode(), signed.encode(), sha1).digest()).decode()
    async with stack.another("invitation", role="web", **settings) as api:
        assert await post(api, "") == await post(api, genuine[::-1]) == await post(api, genuine, More="1") == 403
        assert (await stack.detail(member))["state"] == "sent"
        assert await post(api, genuine) == await post(api, genuine) == 204
    detail = await stack.until_state(member, "failed")
    assert (detail["reason"], steps(detail).count("bounced")) == ("unknown_number", 1)
    assert "+33612345678" not in str(detail["history"])


async def test_ovhcloud_says_what_became_of_a_message(stack: Stack) -> None:
    phone = new_phone()
    member, _ = await stack.invite(phone=phone, invite_by="sms")
    sent = await stack.until_state(member, "sent")
    id = next(step for step in sent["history"] if step["trigger"] == "accepted")["detail"]["provider_id"]
    secret = "the secret of a callback"
    settings = {"CONVIVE_SMS_PROVIDER": "ovh", "CONVIVE_SMS_ACCOUNT": "sms-1", "CONVIVE_SMS_SIGNING_KEY": secret} | {
        f"CONVIVE_SMS_OVH_{name}": "x" for name in ("APPLICATION_KEY", "APPLICATION_SECRET", "CONSUMER_KEY")
    }
    query = {"id": id, "date": "2026-11-27", "description": "2", "descriptionDlr": "Failed"}
    async with stack.another("invitation", role="web", **settings) as api:

        async def call(**more: str) -> int:
            return (await api.call("GET", f"/v1/receipts/ovh?{urlencode(query | more)}")).status

        assert await call(ptt="24") == await call(ptt="24", secret="wrong") == 403
        assert await call(ptt="1", secret=secret) == await call(ptt="24", secret=secret, id="another account's") == 204
        assert (await stack.detail(member))["state"] == "sent"
        assert await call(ptt="24", secret=secret) == await call(ptt="24", secret=secret) == 204
    detail = await stack.until_state(member, "failed")
    assert (detail["reason"], steps(detail).count("bounced")) == ("handset_off", 1)


async def test_while_the_database_is_away_providers_and_mail_servers_are_asked_to_come_again(
    own_stack: OwnStack, own_database: Database
) -> None:
    stack = await own_stack(database=own_database)
    member, other = await invited(stack), await invited(stack)
    reference, port, to = reference_of(stack, member), stack.around.bounce_port, address_of(stack, other)
    own_database.kill()
    away = await say(stack, reference, id="1", status="undelivered")
    assert (away.status, "Retry-After" in away.headers) == (503, True)
    assert await hand_in(port, to, notification()) == 451
    # What is forged needs no database to be refused.
    assert (await say(stack, f"{reference}x", id="1", status="undelivered")).status == 403
    assert await hand_in(port, to.replace("bounce-", "bounce-x"), notification()) == 550
    await own_database.start()

    async def taken() -> bool:
        receipt = await say(stack, reference, id="1", status="undelivered")
        return (receipt.status, await hand_in(port, to, notification())) == (204, 250)

    await until(taken, within=60)
    assert (await stack.until_state(member, "failed"))["reason"] == "not_delivered"
    assert (await stack.until_state(other, "failed"))["reason"] == "unknown_address"
