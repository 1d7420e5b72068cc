"""Which recorded messages a replay takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self
from uuid import UUID

from pydantic import Field, model_validator

from convive_contracts.envelope import Event
from convive_kit.http import Body, Moment
from convive_kit.parked import Parked

Text = Annotated[str, Field(min_length=1, max_length=200)]


class ReplayFilter(Body):
    """Values of one field mean OR, fields mean AND. At least one must be given: for everything, say since when."""

    id: list[UUID] = Field(default=[], description="Parked messages, by their id.")
    fingerprint: list[Text] = Field(default=[], description="Groups of parked messages.")
    queue: list[Text] = Field(default=[], description="Where a parked message came from.")
    type: list[Text] = Field(default=[], description="Short types, such as user.created.")
    source: list[Text] = []
    cabinet_id: list[UUID] = []
    dossier_id: list[UUID] = []
    member_id: list[UUID] = []
    after: Moment | None = Field(default=None, description="Not older than this (of parked ones: first seen).")
    before: Moment | None = Field(default=None, description="Older than this.")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("give at least one criterion; `after` with an early time takes everything")
        return self

    @property
    def asks_for_a_place(self) -> bool:
        """Whether it matters which cabinet, dossier or member an event concerns."""
        return bool(self.cabinet_id or self.dossier_id or self.member_id)

    def matches_parked(self, parked: Parked) -> bool:
        """Whether the record of a parked message fits."""
        kept = parked.fields
        return (
            _fits(self.id, parked.id)
            and _fits(self.fingerprint, kept["fingerprint"])
            and _fits(self.queue, kept["queue"])
            and (self.after is None or kept["first_seen"] >= self.after)
            and (self.before is None or kept["first_seen"] < self.before)
        )

    def matches_event(self, event: Event | None, *, in_time: bool) -> bool:
        """Whether an event fits; one that cannot be read fits no criterion of events. `in_time`: its time matters."""
        if event is None:
            return not (self.type or self.source or self.asks_for_a_place)
        return (
            _fits(self.type, event.short_type)
            and _fits(self.source, event.source)
            and (not in_time or self.after is None or event.time >= self.after)
            and (not in_time or self.before is None or event.time < self.before)
        )

    def matches_place(self, place: Mapping[str, str]) -> bool:
        """Whether it concerns one of the cabinets, dossiers and members asked for."""
        return (
            _fits(self.cabinet_id, place.get("cabinet"))
            and _fits(self.dossier_id, place.get("dossier"))
            and _fits(self.member_id, place.get("member"))
        )


def _fits(wanted: list[UUID] | list[str], value: str | None) -> bool:
    return not wanted or value in {str(one) for one in wanted}
