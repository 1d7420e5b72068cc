"""Twilio, by the examples of https://www.twilio.com/docs/messaging/api/message-resource and
https://www.twilio.com/docs/usage/twilios-response."""

from __future__ import annotations

from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs

import pytest

from invitation.delivery.channels import NotTaken, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.gateways.twilio import TwilioGateway
from tests.unit.sms.playing import TEXT, playing

ACCOUNT = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
RECEIPTS = "https://invitation.example/v1/receipts/twilio"
QUEUED: dict[str, Any] = {
    "account_sid": ACCOUNT,
    "api_version": "2010-04-01",
    "body": TEXT.body,
    "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
    "date_sent": None,
    "date_updated": "Thu, 24 Aug 2023 05:01:45 +0000",
    "direction": "outbound-api",
    "error_code": None,
    "error_message": None,
    "from": "LEGER",
    "num_media": "0",
    "num_segments": "1",
    "price": None,
    "price_unit": None,
    "messaging_service_sid": None,
    "sid": "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "status": "queued",
    "subresource_uris": {"media": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/SMaaa/Media.json"},
    "to": "+33612345678",
    "uri": f"/2010-04-01/Accounts/{ACCOUNT}/Messages/SMaaa.json",
}


def error(code: int, status: int = 400) -> tuple[int, dict[str, Any]]:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return status, {"code": code, "message": "The 'To' number +33612345678 …", "more_info": more, "status": status}


async def test_a_message_is_handed_in_as_documented() -> None:
    async with playing((201, QUEUED)) as player:
        sending = TwilioGateway(player.url, ACCOUNT, "the-auth-token", receipts=RECEIPTS)
        assert await sending.send(TEXT) == QUEUED["sid"]
        await sending.close()
    [asked] = player.asked
    assert (asked.method, asked.url) == ("POST", f"{player.url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert asked.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert b64decode(asked.headers["Authorization"].removeprefix("Basic ")) == f"{ACCOUNT}:the-auth-token".encode()
    assert parse_qs(asked.body.decode()) == {
        "To": ["+33612345678"],
        "From": ["LEGER"],
        "Body": [TEXT.body],
        "StatusCallback": [f"{RECEIPTS}?ref={TEXT.reference}"],
    }


async def test_a_messaging_service_sends_under_its_own_names() -> None:
    async with playing((201, QUEUED | {"status": "accepted"})) as player:
        service = "MGaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        sending = TwilioGateway(player.url, ACCOUNT, "t", receipts=RECEIPTS, messaging_service=service)
        await sending.send(TEXT)
        await sending.close()
    form = parse_qs(player.asked[0].body.decode())
    assert (form["MessagingServiceSid"], "From" in form) == ([service], False)


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (error(21211), RefusedForGood, "unknown_number"),
        (error(21408), RefusedForGood, "country_not_allowed"),
        (error(21610), RefusedForGood, "number_blocked"),
        (error(21614), RefusedForGood, "not_a_mobile"),
        (error(21635), RefusedForGood, "not_a_mobile"),
        (error(21659), RefusedForGood, "sender_refused"),
        (error(21617), RefusedForGood, "refused_21617"),
        (error(21611), RefusedForNow, "the gateway's queue is full"),
        (error(20003, 401), ProviderAway, "the gateway refuses us: 401"),
        (error(20429, 429), ProviderAway, "the gateway takes nothing: 429"),
        ((500, {}), RefusedForNow, "the gateway answers 500"),
        ((503, {}), ProviderAway, "the gateway takes nothing: 503"),
    ],
)
async def test_each_error_has_its_meaning(answer: tuple[int, Any], kind: type[NotTaken], reason: str) -> None:
    async with playing(answer) as player:
        sending = TwilioGateway(player.url, ACCOUNT, "t", receipts=RECEIPTS)
        with pytest.raises(NotTaken) as refused:
            await sending.send(TEXT)
        await sending.close()
    assert (type(refused.value), str(refused.value)) == (kind, reason)
