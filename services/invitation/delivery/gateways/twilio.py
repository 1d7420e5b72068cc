"""Twilio's Messages resource (https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource)."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import urlencode

from invitation.delivery.channels import RefusedForGood, RefusedForNow
from invitation.delivery.gateways.calling import Caller
from invitation.delivery.sms import Text

TWILIO = "https://api.twilio.com"

# https://www.twilio.com/docs/api/errors. What is not here is told as its number.
_REASONS = {
    21211: "unknown_number",
    21408: "country_not_allowed",
    21610: "number_blocked",  # the person answered STOP
    21612: "not_delivered",
    21614: "not_a_mobile",
    21635: "not_a_mobile",
    21212: "sender_refused",
    21606: "sender_refused",
    21659: "sender_refused",
    21660: "sender_refused",
}
_QUEUE_FULL = 21611


class TwilioGateway:
    """Takes no key by which it would know a message handed in again: what was cut off after Twilio had taken it, or
    came to no answer in time, goes out twice."""

    def __init__(
        self, url: str, account: str, token: str, *, receipts: str, messaging_service: str | None = None
    ) -> None:
        """`receipts` is where Twilio later says what became of a message. A messaging service has its own senders."""
        self._url = f"{url}/2010-04-01/Accounts/{account}/Messages.json"
        self._authorization = "Basic " + b64encode(f"{account}:{token}".encode()).decode()
        self._receipts = receipts
        self._messaging_service = messaging_service
        self._caller = Caller()

    async def send(self, text: Text) -> str:
        """See `Gateway.send`."""
        sender = {"MessagingServiceSid": self._messaging_service} if self._messaging_service else {"From": text.sender}
        callback = f"{self._receipts}?ref={text.reference}"
        form = urlencode({"To": text.to, **sender, "Body": text.body, "StatusCallback": callback})
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": self._authorization,
        }
        answer = await self._caller.call("POST", self._url, body=form.encode(), headers=headers)
        if answer.is_yes:
            return str(answer.body.get("sid", ""))
        code = answer.body.get("code")
        if code == _QUEUE_FULL:
            raise RefusedForNow("the gateway's queue is full")
        refusal = answer.refusal(_REASONS.get(code) if isinstance(code, int) else None)
        if isinstance(refusal, RefusedForGood) and isinstance(code, int) and code not in _REASONS:
            raise RefusedForGood(f"refused_{code}")
        raise refusal

    async def close(self) -> None:
        """See `Gateway.close`."""
        await self._caller.close()
