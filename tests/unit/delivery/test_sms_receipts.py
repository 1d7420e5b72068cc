"""What providers of text messages say of one, in their words: examples after their documentation."""

from __future__ import annotations

import pytest

from convive_contracts.events import BOUNCE_REASONS
from invitation.delivery.gateways.generic import signature
from invitation.delivery.receipts.providers import (
    TOLERANCE,
    Said,
    is_from_twilio,
    is_signed,
    of_generic,
    of_ovh,
    of_twilio,
)
from invitation.lifecycle.records import Outcome

# Token, address, fields and signature of https://www.twilio.com/docs/usage/security#validating-requests
TOKEN = "12345"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
FIELDS = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Caller", "+14158675309"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
]
SIGNATURE = "RSOYDt4T1cUTdK1PDd93/VVr8B8="


def test_twilios_own_example_is_genuine_in_any_order_and_with_the_port_in_the_address() -> None:
    assert is_from_twilio(SIGNATURE, TOKEN, URL, FIELDS)
    assert is_from_twilio(SIGNATURE, TOKEN, URL, FIELDS[::-1])
    assert is_from_twilio(SIGNATURE, TOKEN, URL.replace(".com/", ".com:8443/"), FIELDS)


@pytest.mark.parametrize("header", ["", SIGNATURE[:-1], SIGNATURE.lower(), "é" * 28])
def test_another_signature_is_not_twilios(header: str) -> None:
    assert not is_from_twilio(header, TOKEN, URL, FIELDS)


def test_nothing_of_what_twilio_signed_can_be_changed() -> None:
    assert not is_from_twilio(SIGNATURE, "12346", URL, FIELDS)
    assert not is_from_twilio(SIGNATURE, TOKEN, f"{URL}&ref=x", FIELDS)
    assert not is_from_twilio(SIGNATURE, TOKEN, URL, [*FIELDS[1:], ("CallSid", "CA1234567890ABCDF")])
    assert not is_from_twilio(SIGNATURE, TOKEN, URL, [*FIELDS, ("MessageStatus", "failed")])


@pytest.mark.parametrize(
    ("status", "code", "outcome", "reason"),
    [
        ("queued", "", None, None),
        ("sent", "", None, None),
        ("a status of next year", "", None, None),
        ("delivered", "", "delivered", None),
        ("undelivered", "30003", "bounced", "handset_off"),
        ("undelivered", "30005", "bounced", "unknown_number"),
        ("undelivered", "30006", "bounced", "number_blocked"),
        ("undelivered", "30036", "bounced", "expired"),
        ("failed", "30007", "bounced", "number_blocked"),
        ("failed", "99999", "bounced", "not_delivered"),
        ("failed", "", "bounced", "not_delivered"),
    ],
)
def test_a_status_callback_of_twilio(status: str, code: str, outcome: Outcome | None, reason: str | None) -> None:
    # The fields of https://www.twilio.com/docs/messaging/guides/track-outbound-message-status
    form = {
        "SmsSid": "SM2xxxxxx",
        "SmsStatus": status,
        "MessageStatus": status,
        "To": "+1512zzzyyyy",
        "MessageSid": "SM2xxxxxx",
        "AccountSid": "ACxxxxxxx",
        "From": "+1512xxxyyyy",
        "ApiVersion": "2010-04-01",
        **({"ErrorCode": code} if code else {}),
    }
    assert of_twilio(form) == Said("SM2xxxxxx", outcome, reason, code or None)


@pytest.mark.parametrize(
    ("ptt", "outcome", "reason"),
    [
        ("1", None, None),
        ("3", None, None),
        ("6", None, None),
        ("4", "delivered", None),
        ("5", "bounced", "not_delivered"),
        ("8", "bounced", "expired"),
        ("23", "bounced", "unknown_number"),
        ("24", "bounced", "handset_off"),
        ("28", "bounced", "number_blocked"),
        ("12345", None, None),
    ],
)
def test_a_callback_of_ovhcloud(ptt: str, outcome: Outcome | None, reason: str | None) -> None:
    assert of_ovh("1234567", ptt) == Said("1234567", outcome, reason, ptt)


def test_a_reason_that_nobody_knows_is_that_it_was_not_delivered() -> None:
    assert of_generic("7", "undelivered", "handset_off", "E1") == Said("7", "bounced", "handset_off", "E1")
    assert of_generic("7", "undelivered", "phase_of_the_moon", None) == Said("7", "bounced", "not_delivered")
    assert of_generic("7", "delivered", "handset_off", None) == Said("7", "delivered")
    assert of_generic("7", "sent", None, None) == Said("7")


def test_every_reason_of_a_provider_has_words() -> None:
    told = {of_ovh("1", str(ptt)).reason for ptt in range(300)}
    told |= {of_twilio({"MessageStatus": "failed", "ErrorCode": str(code)}).reason for code in range(20_000, 31_000)}
    assert told - {None} <= BOUNCE_REASONS.keys()


KEY, BODY, AT = "a key of the gateway's", b'{"id": "7"}', 1_700_000_000


def signed(key: str = KEY, body: bytes = BODY, at: int = AT) -> str:
    return signature(key, body, at)


def test_a_signed_receipt_counts_for_some_minutes() -> None:
    assert is_signed(signed(), KEY, BODY, AT)
    assert is_signed(signed(), KEY, BODY, AT + TOLERANCE)
    assert is_signed(signed(), KEY, BODY, AT - TOLERANCE)
    assert not is_signed(signed(), KEY, BODY, AT + TOLERANCE + 1)
    assert not is_signed(signed(), KEY, BODY, AT - TOLERANCE - 1)


def test_while_a_key_is_changed_one_of_two_signatures_is_enough() -> None:
    assert is_signed(f"{signed('the old one')},{signed().partition(',')[2]}", KEY, BODY, AT)


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", f"t={AT}", "v1=00", f"t={AT},v1=", f"t={AT},v1=é", f"t=-1,{signed()}", f"t={10**12},{signed()}",
     signed("another key"), signed(body=b"{}"), signed().replace(str(AT), str(AT + 1))],
)  # fmt: skip
def test_any_other_signature_counts_for_nothing(header: str) -> None:
    assert not is_signed(header, KEY, BODY, AT)
