"""OVHcloud's SMS API (https://docs.ovhcloud.com/en/guides/web-cloud/messaging/sms/api-sms-cookbook), whose calls are
signed as https://docs.ovhcloud.com/en/guides/manage-and-operate/api/first-steps says."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable

from invitation.delivery.channels import ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.gateways.calling import Answer, Caller
from invitation.delivery.segments import encoding_of
from invitation.delivery.sms import Text

OVH = "https://eu.api.ovh.com/1.0"

_VALID_FOR = 2880
"""Minutes that operators go on trying."""
_TAG = 20
"""The longest tag that OVHcloud documents
(https://docs.ovhcloud.com/en/guides/web-cloud/messaging/sms/send-sms-http2sms)."""


class OvhGateway:
    """Takes no key by which it would know a message handed in again: what was cut off after OVHcloud had taken it, or
    came to no answer in time, goes out twice."""

    def __init__(
        self,
        url: str,
        service: str,
        *,
        application_key: str,
        application_secret: str,
        consumer_key: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`service` is the SMS account, such as `sms-ab12345-1`; `clock` is Unix time."""
        self._url = url
        self._jobs = f"{url}/sms/{service}/jobs"
        self._application_key = application_key
        self._application_secret = application_secret
        self._consumer_key = consumer_key
        self._clock = clock
        # Seconds that their clock is ahead of ours: signatures count for a short while by their time.
        self._ahead: int | None = None
        self._caller = Caller()

    async def send(self, text: Text) -> str:
        """See `Gateway.send`. The reference is too long for a tag, so its beginning is what OVHcloud's lists show;
        receipts name the message by the id that is returned here."""
        job = {
            "charset": "UTF-8",
            "class": "phoneDisplay",
            "coding": "7bit" if encoding_of(text.body) == "GSM-7" else "8bit",
            "message": text.body,
            "noStopClause": True,
            "priority": "high",
            "receivers": [text.to],
            "sender": text.sender,
            "senderForResponse": False,
            "tag": text.reference[:_TAG],
            "validityPeriod": _VALID_FOR,
        }
        answer = await self._signed("POST", self._jobs, json.dumps(job, ensure_ascii=False).encode())
        if not answer.is_yes:
            if answer.body.get("errorCode") == "QUERY_TIME_OUT" or answer.status == 403:
                self._ahead = None  # perhaps a clock was put right: asked anew with the next message
                raise ProviderAway(f"the gateway refuses us: {answer.status}")
            raise answer.refusal(None)
        if answer.body.get("invalidReceivers"):
            raise RefusedForGood("unknown_number")
        ids = answer.body.get("ids")
        if not isinstance(ids, list) or not ids:
            raise RefusedForNow("the gateway said yes, but not to what")
        return str(ids[0])  # pyright: ignore[reportUnknownArgumentType]

    async def close(self) -> None:
        """See `Gateway.close`."""
        await self._caller.close()

    async def _signed(self, method: str, url: str, body: bytes) -> Answer:
        at = int(self._clock()) + await self._difference()
        parts = (self._application_secret, self._consumer_key, method, url, body.decode(), str(at))
        digest = hashlib.sha1("+".join(parts).encode(), usedforsecurity=False).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Ovh-Application": self._application_key,
            "X-Ovh-Consumer": self._consumer_key,
            "X-Ovh-Timestamp": str(at),
            "X-Ovh-Signature": f"$1${digest}",
        }
        return await self._caller.call(method, url, body=body, headers=headers)

    async def _difference(self) -> int:
        if self._ahead is None:
            answer = await self._caller.call("GET", f"{self._url}/auth/time")
            if not answer.is_yes or not answer.content.strip().isdigit():
                raise ProviderAway("the gateway does not tell its time")
            self._ahead = int(answer.content) - int(self._clock())
        return self._ahead
