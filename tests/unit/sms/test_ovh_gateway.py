"""OVHcloud, by the examples of https://docs.ovhcloud.com/en/guides/web-cloud/messaging/sms/send-sms-api-php and
https://docs.ovhcloud.com/en/guides/manage-and-operate/api/first-steps."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest

from invitation.delivery.channels import NotTaken, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.gateways.ovh import OvhGateway
from tests.unit.sms.playing import TEXT, playing

THEIR_TIME, OUR_TIME = 1798761660, 1798761600.7
TOLD = (200, THEIR_TIME)
TAKEN: dict[str, Any] = {
    "totalCreditsRemoved": 1,
    "invalidReceivers": [],
    "ids": [26929925],
    "validReceivers": ["+33612345678"],
}


def gateway(url: str) -> OvhGateway:
    return OvhGateway(
        f"{url}/1.0",
        "sms-ab12345-1",
        application_key="7kbG7Bk7S9Nt7ZSV",
        application_secret="EXEgWIz07P0HYwtQDs7cNIqCiQaWSuHF",
        consumer_key="MtSwSrPpNjqfVSmJhLbPyr2i45lSwPU1",
        clock=lambda: OUR_TIME,
    )


async def test_a_message_is_handed_in_and_signed_as_documented_by_their_clock() -> None:
    async with playing(TOLD, (200, TAKEN)) as player:
        sending = gateway(player.url)
        assert await sending.send(TEXT) == "26929925"
        assert await sending.send(TEXT) == "26929925"
        await sending.close()
    time, job, again = player.asked
    assert (time.method, time.url) == ("GET", f"{player.url}/1.0/auth/time")
    assert (job.method, job.url) == ("POST", f"{player.url}/1.0/sms/sms-ab12345-1/jobs")
    assert again.url == job.url  # they are asked for the time once
    assert json.loads(job.body) == {
        "charset": "UTF-8",
        "class": "phoneDisplay",
        "coding": "7bit",
        "message": TEXT.body,
        "noStopClause": True,
        "priority": "high",
        "receivers": ["+33612345678"],
        "sender": "LEGER",
        "senderForResponse": False,
        "tag": TEXT.reference[:20],
        "validityPeriod": 2880,
    }
    assert job.headers["X-Ovh-Application"] == "7kbG7Bk7S9Nt7ZSV"
    assert job.headers["X-Ovh-Consumer"] == "MtSwSrPpNjqfVSmJhLbPyr2i45lSwPU1"
    assert job.headers["X-Ovh-Timestamp"] == str(THEIR_TIME)
    signed = (
        "EXEgWIz07P0HYwtQDs7cNIqCiQaWSuHF+MtSwSrPpNjqfVSmJhLbPyr2i45lSwPU1+POST"
        f"+{job.url}+{job.body.decode()}+{THEIR_TIME}"
    )
    assert job.headers["X-Ovh-Signature"] == "$1$" + hashlib.sha1(signed.encode()).hexdigest()


async def test_a_text_beyond_the_short_alphabet_is_coded_in_8_bits() -> None:
    async with playing(TOLD, (200, TAKEN)) as player:
        sending = gateway(player.url)
        await sending.send(replace(TEXT, body="東京"))
        await sending.close()
    assert json.loads(player.asked[1].body)["coding"] == "8bit"


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ((200, TAKEN | {"ids": [], "validReceivers": [], "invalidReceivers": ["+33612345678"]}), RefusedForGood,
         "unknown_number"),
        ((200, {}), RefusedForNow, "the gateway said yes, but not to what"),
        ((400, {"class": "Client::BadRequest", "message": "Invalid sender LEGER"}), RefusedForGood, "refused_400"),
        ((403, {"errorCode": "NOT_CREDENTIAL", "httpCode": "403 Forbidden", "message": "Unknown credential"}),
         ProviderAway, "the gateway refuses us: 403"),
        ((429, {"message": "Too many requests"}), ProviderAway, "the gateway takes nothing: 429"),
        ((500, {"message": "Internal server error"}), RefusedForNow, "the gateway answers 500"),
    ],
)  # fmt: skip
async def test_each_answer_has_its_meaning(answer: tuple[int, Any], kind: type[NotTaken], reason: str) -> None:
    async with playing(TOLD, answer) as player:
        sending = gateway(player.url)
        with pytest.raises(NotTaken) as refused:
            await sending.send(TEXT)
        await sending.close()
    assert (type(refused.value), str(refused.value)) == (kind, reason)


async def test_after_a_signature_that_came_too_late_they_are_asked_for_the_time_anew() -> None:
    late = (400, {"errorCode": "QUERY_TIME_OUT", "httpCode": "400 Bad Request", "message": "Query out of time"})
    async with playing(TOLD, late, (200, THEIR_TIME + 3600), (200, TAKEN)) as player:
        sending = gateway(player.url)
        with pytest.raises(ProviderAway):
            await sending.send(TEXT)
        await sending.send(TEXT)
        await sending.close()
    assert player.asked[-1].headers["X-Ovh-Timestamp"] == str(THEIR_TIME + 3600)
