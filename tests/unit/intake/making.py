"""Intake with everything around it in memory, and events to feed it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, cast
from uuid import uuid4

from convive_contracts import DIRECTORY_SOURCE, invitation_id, new_event, topology
from convive_contracts.envelope import STRUCTURED
from convive_kit.consuming import Incoming
from invitation.delivery.slots import Delivery
from invitation.intake.events import Intake
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.schedule import Policy
from invitation.store.memory import MemoryStore
from tests.unit.contracts.making import user_data
from tests.unit.lifecycle.making import NOW

ACCOUNT = "c0ffee00-1234-4567-89ab-cdef01234544"


class FakeDelivery:
    """Has as many places as it is given, and remembers what it was told to send."""

    owner = "worker-1"

    def __init__(self, places: int = 0) -> None:
        self.places = places
        self.away = False
        self.started: list[Invitation] = []

    def provider_away(self, _: str) -> bool:
        return self.away

    async def reserve_soon(self, channel: str, *, within: float) -> bool:
        if self.places <= 0:
            return False
        self.places -= 1
        return True

    def give_back(self, channel: str, *, new: bool) -> None:
        self.places += 1

    def start(self, invitation: Invitation, *, new: bool) -> None:
        self.started.append(invitation)


class World:
    """Intake over a memory store, at a fixed time."""

    def __init__(self, *, places: int = 0, store: MemoryStore | None = None, now: datetime = NOW) -> None:
        self.store = store or MemoryStore()
        self.delivery = FakeDelivery(places)
        self.now = now
        self.woken = 0
        self.intake = Intake(
            self.store, cast("Delivery", self.delivery), policy=Policy(), now=lambda: self.now, due_changed=self._wake
        )

    def _wake(self) -> None:
        self.woken += 1

    async def told(self, message: Incoming) -> None:
        await self.intake.handle(message)

    async def load(self, member: str, source: str = DIRECTORY_SOURCE) -> Invitation | None:
        return await self.store.load(invitation_id(source, member))

    async def the(self, member: str, source: str = DIRECTORY_SOURCE) -> Invitation:
        found = await self.load(member, source)
        assert found is not None
        return found


def a_member() -> str:
    return str(uuid4())


def message(
    short: str,
    subject: str,
    data: Any,
    *,
    sequence: int | None = 1,
    source: str = DIRECTORY_SOURCE,
    id: str | None = None,
    at: datetime = NOW,
    correlation_id: str | None = None,
) -> Incoming:
    """An event as it comes from the bus."""
    event = new_event(
        short,
        source=source,
        subject=subject,
        data=data,
        sequence=sequence,
        id=id or f"{subject}.{short}.{sequence}",
        time=at,
        correlation_id=correlation_id,
    )
    return Incoming(topology.INVITATION_EVENTS, short, event.to_structured(), STRUCTURED)


def created(member: str, *, short: str = "user.created", invite_by: str = "email", **fields: Any) -> Incoming:
    who = fields.pop("who", {})
    return message(short, member, user_data({"id": member, **who}, invite_by=invite_by), **fields)


def removed(member: str, *, sequence: int | None = 2, **fields: Any) -> Incoming:
    data = user_data()
    ids = {"member": {"id": member}, "dossier": {"id": data["dossier"]["id"]}, "cabinet": {"id": data["cabinet"]["id"]}}
    return message("user.removed", member, ids, sequence=sequence, **fields)


def redeemed(invitation: str, credential: str = "new", **fields: Any) -> Incoming:
    data = {"account_id": ACCOUNT, "invitation_id": invitation, "credential": credential}
    return message("account.redeemed", ACCOUNT, data, **fields)


def signed_in(*invitations: str, **fields: Any) -> Incoming:
    return message("account.signed_in", ACCOUNT, {"account_id": ACCOUNT, "invitation_ids": list(invitations)}, **fields)


def requested(what: str, invitation: str, **fields: Any) -> Incoming:
    data = {"invitation_id": invitation, **fields.pop("data", {})}
    return message(f"invitation.{what}_requested", invitation, data, **{"sequence": None, "source": "/ops", **fields})


def raw(body: bytes | dict[str, Any]) -> Incoming:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Incoming(topology.INVITATION_EVENTS, "user.created", encoded, STRUCTURED)
