"""Any gateway that speaks Convive's own format (docs/sms-gateway.md): one POST per message, as JSON."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable

from invitation.delivery.channels import RefusedForNow
from invitation.delivery.gateways.calling import Caller
from invitation.delivery.segments import segments
from invitation.delivery.sms import Text

REASONS = frozenset({"unknown_number", "not_a_mobile", "number_blocked", "sender_refused"})
"""Why a message can never be delivered, as a gateway says it."""


class GenericGateway:
    """See the module."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        receipts: str,
        signing_key: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`receipts` is where the gateway later says what became of a message; `clock` is Unix time."""
        self._url = url
        self._token = token
        self._receipts = receipts
        self._signing_key = signing_key
        self._clock = clock
        self._caller = Caller()

    async def send(self, text: Text) -> str:
        """See `Gateway.send`. The same message handed in again, which `Idempotency-Key` tells, is taken once."""
        counted = segments(text.body)
        message = {
            "to": text.to,
            "from": text.sender,
            "text": text.body,
            "encoding": counted.encoding,
            "segments": counted.segments,
            "reference": text.reference,
            "receipt_url": f"{self._receipts}?ref={text.reference}",
        }
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {self._token}",
            "Idempotency-Key": text.reference,
        }
        if self._signing_key:
            headers["Convive-Signature"] = signature(self._signing_key, body, int(self._clock()))
        answer = await self._caller.call("POST", self._url, body=body, headers=headers)
        if not answer.is_yes:
            reason = answer.body.get("error")
            raise answer.refusal(reason if 400 <= answer.status < 500 and reason in REASONS else None)
        id = answer.body.get("id")
        if not isinstance(id, str) or not id:
            raise RefusedForNow("the gateway said yes, but not to what")
        return id[:100]

    async def close(self) -> None:
        """See `Gateway.close`."""
        await self._caller.close()


def signature(key: str, body: bytes, at: int) -> str:
    """`t=<Unix time>,v1=<HMAC-SHA256 of "<t>." and the body, in hexadecimal>`."""
    mac = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={mac}"
