"""Convive's own format for gateways: what is asked, and what each answer means."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import aiohttp
import pytest

from invitation.delivery.channels import NotTaken, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.gateways import calling
from invitation.delivery.gateways.generic import GenericGateway
from tests.unit.sms.playing import CUT, HANG, TEXT, playing

RECEIPTS = "https://invitation.example/v1/receipts/generic"


def gateway(url: str, signing_key: str = "") -> GenericGateway:
    return GenericGateway(url, "the-token", receipts=RECEIPTS, signing_key=signing_key, clock=lambda: 1798761600.5)


async def test_a_message_is_handed_in_as_documented() -> None:
    async with playing((201, {"id": "m-1"})) as player:
        sending = gateway(f"{player.url}/messages", "a-signing-key")
        assert await sending.send(TEXT) == "m-1"
        await sending.close()
    [asked] = player.asked
    assert (asked.method, asked.url) == ("POST", f"{player.url}/messages")
    assert json.loads(asked.body) == {
        "to": "+33612345678",
        "from": "LEGER",
        "text": TEXT.body,
        "encoding": "GSM-7",
        "segments": 1,
        "reference": TEXT.reference,
        "receipt_url": f"{RECEIPTS}?ref={TEXT.reference}",
    }
    assert asked.headers["Authorization"] == "Bearer the-token"
    assert asked.headers["Idempotency-Key"] == TEXT.reference
    mac = hmac.new(b"a-signing-key", b"1798761600." + asked.body, hashlib.sha256).hexdigest()
    assert asked.headers["Convive-Signature"] == f"t=1798761600,v1={mac}"


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ((422, {"error": "unknown_number"}), RefusedForGood, "unknown_number"),
        ((400, {"error": "not_a_mobile"}), RefusedForGood, "not_a_mobile"),
        ((403, {"error": "number_blocked"}), RefusedForGood, "number_blocked"),
        ((422, {"error": "+33612345678 is odd"}), RefusedForGood, "refused_422"),
        ((422, ["no object"]), RefusedForGood, "refused_422"),
        ((401, {}), ProviderAway, "the gateway refuses us: 401"),
        ((429, {}), ProviderAway, "the gateway takes nothing: 429"),
        ((503, {}), ProviderAway, "the gateway takes nothing: 503"),
        ((500, {"error": "unknown_number"}), RefusedForNow, "the gateway answers 500"),
        ((302, {}), RefusedForNow, "the gateway answers 302"),
        ((200, {"no": "id"}), RefusedForNow, "the gateway said yes, but not to what"),
        (CUT, RefusedForNow, "the connection was lost while handing the message in"),
    ],
)
async def test_each_answer_has_its_meaning(answer: tuple[int, Any] | str, kind: type[NotTaken], reason: str) -> None:
    async with playing(answer) as player:
        sending = gateway(player.url)
        with pytest.raises(NotTaken) as refused:
            await sending.send(TEXT)
        await sending.close()
    assert (type(refused.value), str(refused.value)) == (kind, reason)


async def test_a_gateway_that_is_not_there_is_away() -> None:
    async with playing((201, {"id": "m-1"})) as player:
        pass
    sending = gateway(player.url)
    with pytest.raises(ProviderAway):
        await sending.send(TEXT)
    await sending.close()


async def test_a_gateway_that_never_answers_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "TIMEOUT", aiohttp.ClientTimeout(total=0.2))
    async with playing(HANG) as player:
        sending = gateway(player.url)
        with pytest.raises(TimeoutError):
            await sending.send(TEXT)
        await sending.close()
