"""`POST /v1/events`: publish an event over HTTP, for trying things out and for repairs by hand."""

from __future__ import annotations

from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from convive_contracts.envelope import STRUCTURED, Event, EventError, UnknownType, parse_event
from convive_contracts.events import invitation_id
from convive_kit.bus import Bus
from convive_kit.http import FieldError, Problem, invalid, json_body
from convive_kit.routes import Route
from invitation.ops.auditing import Auditing

_OURS = "/convive"


class CloudEvent(BaseModel):
    """A CloudEvents 1.0 event as JSON; `data` is checked by the model of its type."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=150)
    source: str = Field(min_length=1, max_length=512, description="Who publishes: any but Convive's own services.")
    type: str = Field(description="Such as convive.user.created.v1.")
    subject: str
    time: str | None = Field(default=None, description="RFC 3339; now if not given.")
    sequence: int | str | None = None
    data: dict[str, Any]


class Published(BaseModel):
    id: str
    type: str
    invitation_id: str | None = Field(description="Of a `user.*` event: the invitation it is about.")


class Publishing:
    """See the module."""

    def __init__(self, bus: Bus, auditing: Auditing) -> None:
        self._bus = bus
        self._auditing = auditing

    def routes(self) -> list[Route]:
        """The call."""
        return [
            Route("POST", "/v1/events", self._publish, "Publish an event", body=CloudEvent, response=Published,
                  status=202, auth="ops_admin", problems=(503,)),
        ]  # fmt: skip

    async def _publish(self, request: web.Request) -> BaseModel:
        """202 once the broker has confirmed it. After a 503 it may have been published: the same event, with the same
        id, may be sent again, for receivers count it once."""
        await json_body(request, CloudEvent)
        event = _checked(await request.read())
        async with self._auditing.witness(request, "event.publish", f"event:{event.id}") as record:
            record.after = {"type": event.type, "source": event.source, "subject": event.subject}
            await self._bus.publish(
                key=event.short_type,
                body=event.to_structured(),
                message_id=event.id,
                correlation_id=event.correlation_id,
            )
        about_a_user = event.short_type.startswith("user.")
        return Published(
            id=event.id,
            type=event.type,
            invitation_id=invitation_id(event.source, event.subject) if about_a_user else None,
        )


def _checked(body: bytes) -> Event:
    try:
        event = parse_event(body, content_type=STRUCTURED)
    except EventError as error:
        raise Problem(422, "invalid_fields", errors=_faults(error)) from None
    source = event.source.lower()
    if source == _OURS or source.startswith(f"{_OURS}/"):
        raise invalid("source", "Events of Convive's own services come from them alone: name another source.")
    return event


def _faults(error: EventError) -> list[FieldError]:
    """The contracts say in words what is wrong, beginning with the field."""
    if isinstance(error, UnknownType):
        return [{"field": "type", "message": str(error)}]
    faults: list[FieldError] = []
    for part in str(error).split("; "):
        field, _, message = part.partition(" ")
        if field == "the":
            field, message = "body", part
        faults.append({"field": field.rstrip(":"), "message": message.removeprefix("Value error, ")})
    return faults
