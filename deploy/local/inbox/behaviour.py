"""Trouble on request: how a provider would misbehave."""

from __future__ import annotations

import random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["accept", "refuse_temporarily", "refuse_permanently", "hang", "close_mid_data", "bounce"]


class Behaviour(BaseModel):
    """What happens to a message for an address that contains `match`, in `rate` of the cases; the rest is accepted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Mode = "accept"
    match: str = ""
    rate: float = Field(default=1.0, ge=0, le=1)

    def towards(self, address: str) -> Mode:
        """The mode for one message to this address; with a rate between 0 and 1, chance decides anew each time."""
        if self.match.casefold() not in address.casefold():
            return "accept"
        return self.mode if random.SystemRandom().random() < self.rate else "accept"


class SmsBehaviour(Behaviour):
    """`receipt` is what is said afterwards of each message that was accepted."""

    receipt: Literal["delivered", "undelivered", "none"] = "delivered"


class Behaviours(BaseModel):
    """Per channel. In a request, a channel that is not named stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: Behaviour = Behaviour()
    sms: SmsBehaviour = SmsBehaviour()

    def changed_by(self, request: Behaviours) -> Behaviours:
        named = {name: getattr(request, name) for name in request.model_fields_set}
        return self.model_copy(update=named)


class Temper:
    """The behaviours of the moment, shared by the mail server and the web server."""

    def __init__(self) -> None:
        self.now = Behaviours()
