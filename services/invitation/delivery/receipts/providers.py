"""What each provider of text messages says of one, in its own words: read, and brought to ours. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from convive_contracts.events import BOUNCE_REASONS
from convive_kit.auth import same_secret
from invitation.delivery.gateways.generic import signature
from invitation.lifecycle.records import Outcome

TOLERANCE = 300
"""Seconds that a signature counts for, before and after. A receipt may be said again, so a replay does no harm."""


@dataclass(frozen=True, slots=True)
class Said:
    """`id` is the message's at the provider; `outcome` is None while it is on its way; `code` is the provider's."""

    id: str
    outcome: Outcome | None = None
    reason: str | None = None
    code: str | None = None


# --- Convive's own format (docs/sms-gateway.md) ----------------------------------------------------------------------

_GENERIC: dict[str, Outcome] = {"delivered": "delivered", "undelivered": "bounced"}


def of_generic(id: str, status: str, reason: str | None, code: str | None) -> Said:
    """The fields of a receipt."""
    outcome = _GENERIC.get(status)
    return Said(id, outcome, _reason(outcome, reason if reason in BOUNCE_REASONS else None), code)


def is_signed(header: str, key: str, body: bytes, now: float) -> bool:
    """Whether it is what `signature` makes with that key, and fresh. Several `v1` may stand in it while a key is being
    changed."""
    parts = [part.strip() for part in header.split(",", 10)[:10]]
    time = parts[0].removeprefix("t=")
    if re.fullmatch(r"[1-9]\d{0,11}", time) is None or abs(now - int(time)) > TOLERANCE:
        return False
    genuine = signature(key, body, int(time)).partition(",")[2]
    return any(same_secret(part, genuine) for part in parts[1:])


# --- Twilio ----------------------------------------------------------------------------------------------------------

# https://www.twilio.com/docs/messaging/api/message-resource#message-status-values
_TWILIO: dict[str, Outcome] = {
    "delivered": "delivered",
    "read": "delivered",
    "undelivered": "bounced",
    "failed": "bounced",
}
# https://www.twilio.com/docs/api/errors
_TWILIO_CODES = {
    "21211": "unknown_number",
    "21610": "number_blocked",  # the person answered STOP
    "21614": "unknown_number",
    "30003": "handset_off",
    "30004": "number_blocked",
    "30005": "unknown_number",
    "30006": "number_blocked",  # a landline
    "30007": "number_blocked",  # taken for spam
    "30036": "expired",
}


def of_twilio(fields: Mapping[str, str]) -> Said:
    """The form of a status callback."""
    id = fields.get("MessageSid") or fields.get("SmsSid") or ""
    outcome = _TWILIO.get((fields.get("MessageStatus") or fields.get("SmsStatus") or "").lower())
    code = fields.get("ErrorCode") or None
    return Said(id, outcome, _reason(outcome, _TWILIO_CODES.get(code or "")), code)


def is_from_twilio(header: str, token: str, url: str, fields: Sequence[tuple[str, str]]) -> bool:
    """Whether Twilio signed a form that was posted to this address
    (https://www.twilio.com/docs/usage/security#validating-requests): the address, then every field's name and value,
    sorted by name, under the account's token. It leaves the port out of the address, or not."""
    posted = "".join(name + value for name, value in sorted(set(fields)))
    genuine = [
        same_secret(header, _hmac_sha1(token, address + posted))
        for address in {url, re.sub(r"^(https?://[^/:]+):\d+", r"\1", url)}
    ]
    return any(genuine)


def _hmac_sha1(token: str, text: str) -> str:
    digest = hmac.new(token.encode(), text.encode("utf-8", "surrogateescape"), hashlib.sha1).digest()
    return b64encode(digest).decode()


# --- OVHcloud --------------------------------------------------------------------------------------------------------

# https://help.ovhcloud.com/csm/en-sms-users, "Specify a callback URL": the codes of `ptt`. Those that are not here (1,
# 2, 3, 6: on its way, or nobody knows) change nothing.
_OVH: dict[str, str | None] = {
    "4": None,
    "5": "not_delivered",
    "8": "expired",
    "20": "not_delivered",
    "21": "not_delivered",
    "23": "unknown_number",
    "24": "handset_off",
    "25": "not_delivered",
    "26": "not_delivered",
    "27": "number_blocked",
    "28": "number_blocked",
    "29": "number_blocked",
    "33": "number_blocked",
    "39": "not_delivered",
    "73": "not_delivered",
    "74": "not_delivered",
    "76": "number_blocked",
    "202": "number_blocked",
}


def of_ovh(id: str, ptt: str) -> Said:
    """The query of a callback. The call is not signed: its address holds a secret."""
    if ptt not in _OVH:
        return Said(id, code=ptt or None)
    reason = _OVH[ptt]
    return Said(id, "bounced" if reason else "delivered", reason, ptt)


def _reason(outcome: Outcome | None, known: str | None) -> str | None:
    return (known or "not_delivered") if outcome == "bounced" else None
