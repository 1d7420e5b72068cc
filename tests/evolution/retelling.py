"""Tells a store what was recorded once, as intake hears it and as a rebuild reads it, with the clocks of then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from convive_contracts import topology
from convive_contracts.envelope import Event, parse_event, rfc3339
from convive_kit.consuming import Incoming
from convive_kit.errors import Reject
from invitation.delivery.slots import Delivery
from invitation.intake.events import Intake, Replayed
from invitation.intake.rebuilding import Rebuilding
from invitation.lifecycle.invitation import Cause
from invitation.lifecycle.rebuilt import armed
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Store, decide_and_save

POLICY = Policy(link_life=timedelta(days=14), lease=timedelta(seconds=60), reminders=())
LATER = datetime(2026, 6, 1, 8, 0, tzinfo=UTC)
"""When a rebuild is over and what is due comes due."""


def message_of(recorded: Mapping[str, Any]) -> Incoming:
    """A recorded message as it came from the bus."""
    return Incoming(
        queue=topology.INVITATION_EVENTS,
        routing_key=recorded["key"],
        body=recorded["body"].encode(),
        content_type=recorded["content_type"],
        headers=recorded["headers"],
    )


def event_of(recorded: Mapping[str, Any]) -> Event:
    """The event in a recorded message."""
    message = message_of(recorded)
    return parse_event(message.body, content_type=message.content_type, headers=message.headers)


async def hear(store: Store, recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Hand the messages to intake, in order; what became of each: done, nothing_to_change, or why it was refused."""
    now = LATER

    def clock() -> datetime:
        return now

    # Without slots nothing is sent: what would be is due.
    delivery = Delivery(store, {}, owner="test", policy=POLICY, now=clock, slots=0)
    intake = Intake(store, delivery, policy=POLICY, now=clock, due_changed=lambda: None)
    outcomes: list[str] = []
    for one in recorded:
        now = event_of(one).time
        try:
            outcomes.append("done" if await intake.handle(message_of(one)) else "nothing_to_change")
        except Reject as refused:
            outcomes.append(refused.slug)
    return outcomes


async def rebuild(store: Store, recorded: Sequence[Mapping[str, Any]], invitations: Sequence[str]) -> None:
    """Fold the messages into an empty store, as the log is: twice; then arm these, as the due loop does."""
    mark = Replayed("a replay", "somebody", "to know")
    rebuilding = Rebuilding(store, store, policy=POLICY, now=lambda: LATER)
    events = [event_of(one) for one in recorded]
    await rebuilding.fold(events, mark)
    await rebuilding.fold(events, mark, again=True)
    await rebuilding.arm(mark)
    over = Cause(LATER, "system")
    for id in invitations:
        await decide_and_save(store, id, lambda invitation: armed(invitation, over))


SHOWN = (
    "state",
    "channel",
    "version",
    "link_sequence",
    "send_sequence",
    "send_at",
    "expires_at",
    "due_at",
    "reason",
    "told",
    "removal",
    "removed",
    "announced",
    "account_id",
    "credential",
    "correlation_id",
    "invitee",
)
"""What an invitation is to anybody; the rest of its fields is how today's code goes about it."""


async def shown(store: Store, invitations: Sequence[str]) -> dict[str, Any]:
    """Where these invitations stand, as JSON."""
    found: dict[str, Any] = {}
    for id in invitations:
        invitation = await store.load(id)
        if invitation is None:
            found[id] = None
            continue
        history = await store.history(id)
        found[id] = {
            **{name: _plain(getattr(invitation, name)) for name in SHOWN},
            "history": [f"{step.trigger}: {step.from_.value} → {step.to.value}" for step in history],
        }
        if invitation.invitee is not None:
            names = await store.names(invitation.invitee)
            found[id]["names"] = {"cabinet": names.cabinet, "phone": names.cabinet_phone, "dossier": names.dossier}
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    return str(value) if isinstance(value, StrEnum) else value
