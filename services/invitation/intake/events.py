"""From event to invitation. Handlers read as if one message existed; the store groups what they save.

A handler returns once everything is committed. It raises `Retry` when a dependency is away and `Reject` when the
message can never be handled, which parks it with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, cast

import structlog

from convive_contracts import topology
from convive_contracts.envelope import Event, parse_event
from convive_contracts.events import CabinetState, DossierState, InvitationRequest, InvitationState, UserCreated
from convive_kit import tracing
from convive_kit.consuming import Incoming
from convive_kit.errors import Reject
from invitation.intake.decisions import Decision, decisions, from_directory
from invitation.lifecycle.invitation import Cause, Change, Invitation, then
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Store, decide_and_save, decide_or_begin, policy_for

if TYPE_CHECKING:
    from datetime import datetime

    from invitation.delivery.slots import Delivery

CONSUMED = (topology.INVITATION_EVENTS, topology.INVITATION_BULK)
"""The queues that `Intake.receive` reads."""

UNKNOWN_IS_TRIED_FOR = timedelta(minutes=10)
_TRIES = 5
"""Some 3 s, for a request that comes beside its `user.created`; what is not known by then is set aside."""
_PATIENCE = 0.5
"""Seconds that a new invitation waits for a place while its provider takes messages."""
MOST_WAITING = 50
"""Requests about unknown invitations that wait at the same time; they must not fill the whole prefetch."""


class UnknownInvitation(Reject):
    """There is no such invitation, and there was none for ten minutes."""

    slug = "unknown_invitation"


class NotKnownYet(UnknownInvitation):
    """There is no such invitation yet: this is tried again for ten minutes."""

    waits: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Replayed:
    """Why a message is handled again: it ends in the history of what it changes."""

    replay: str
    by: str
    reason: str

    def detail(self) -> dict[str, str]:
        return {"replay": self.replay, "replayed_by": self.by, "replay_reason": self.reason}


class Intake:
    """Handles every event that concerns invitations, each once."""

    def __init__(
        self,
        store: Store,
        delivery: Delivery,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        due_changed: Callable[[], None],
    ) -> None:
        """`due_changed` is called when something became due that a provider may take, and there was no place for it."""
        self._store = store
        self._delivery = delivery
        self._policy = policy
        self._now = now
        self._due_changed = due_changed
        self._waiting = 0

    async def receive(self, message: Incoming) -> None:
        """Handle a message from the bus."""
        # The bulk lane waits its turn in the database: places are for those whom somebody is waiting for.
        await self.handle(message, at_once=message.queue != topology.INVITATION_BULK)

    async def handle(
        self,
        message: Incoming,
        replayed: Replayed | None = None,
        *,
        at_once: bool = True,
        waits_since: datetime | None = None,
        event: Event | None = None,
    ) -> bool:
        """Read the message as an event and commit what follows from it. True when something did.

        `event`: the message, where it was read already. `at_once`: a send that follows may go out in the same breath
        if a place is free. `waits_since`: when it was set aside, for one that was. Raises `NotKnownYet` for what is to
        be set aside.
        """
        if event is None:
            event = parse_event(message.body, content_type=message.content_type, headers=message.headers)
        cause = Cause(self._now(), f"event:{event.source}", event.id, replayed.detail() if replayed else None)
        # What is handled again belongs to whoever asked for it, not to the trace of the first time.
        trace = None if replayed else event.extensions
        # Bound by hand: the context manager for it would read all that is bound, for each message.
        bound = structlog.contextvars.bind_contextvars(correlation_id=event.correlation_id or event.id)
        try:
            with tracing.span(f"handle {event.short_type}", "consumer", parent=trace):
                if learned := await learn_names(self._store, event):
                    return learned == "kept"
                found = decisions(event, cause, await firms_policy(self._store, event, self._policy))
                if at_once and isinstance(event.data, UserCreated) and event.data.invite_by != "none":
                    return await self._begin(event, found[0], cause, known=replayed is not None or message.redelivered)
                tries = 1 if replayed or waits_since else _TRIES
                since = min(event.time, waits_since or cause.at)
                return any([await self._carry_out(event, decision, cause, tries, since) for decision in found])
        finally:
            structlog.contextvars.reset_contextvars(**bound)

    async def _begin(self, event: Event, decision: Decision, cause: Cause, *, known: bool) -> bool:
        """Carry out a decision after which a message may be due, and send it in the same breath if a place is free."""
        channel = cast("UserCreated", event.data).invite_by
        reserved = await self._delivery.reserve_soon(channel, within=_PATIENCE)

        def decide(invitation: Invitation) -> Change | None:
            change = decision.decide(invitation)
            if change is not None and reserved and change.after.wants_sending(cause.at):
                # The claim goes into the same write: the intent is on disk before the effect, at no extra cost.
                return then(change, change.after.claimed(self._delivery.owner, cause.at, self._policy))
            return change

        change = None
        try:
            change = await decide_or_begin(self._store, lambda: _blank(event, decision, cause), decide, known=known)
        finally:
            claimed = reserved and change is not None and _takes_the_lease(change)
            if reserved and not claimed:
                self._delivery.give_back(channel, new=True)
        if change is not None and claimed:
            self._delivery.start(change.after, new=True)
            return True
        return self._done(change)

    async def _carry_out(self, event: Event, decision: Decision, cause: Cause, tries: int, since: datetime) -> bool:
        if decision.begins:
            blank = _blank(event, decision, cause)
            return self._done(await decide_or_begin(self._store, lambda: blank, decision.decide))
        return await self._when_known(decision, tries, since)

    async def _when_known(self, decision: Decision, tries: int, since: datetime) -> bool:
        """The invitation may be younger here than the event that names it: it is looked for a few times, then set
        aside, and given up ten minutes after `since`."""
        pause = 0.2
        while True:
            known = False

            def decide_if_known(invitation: Invitation) -> Change | None:
                nonlocal known
                # What an update that came first has left is held until the invitation itself begins.
                known = invitation.announced or invitation.removed
                return decision.decide(invitation) if known else None

            change = await decide_and_save(self._store, decision.invitation_id, decide_if_known)
            if known:
                return self._done(change)
            tries -= 1
            if tries == 0 or self._waiting >= MOST_WAITING:
                raise UnknownInvitation if tries == 0 and self._now() - since > UNKNOWN_IS_TRIED_FOR else NotKnownYet
            self._waiting += 1
            try:
                await asyncio.sleep(pause)
            finally:
                self._waiting -= 1
            pause *= 2

    def _done(self, change: Change | None) -> bool:
        if change is None:
            return False
        # While its provider is away, what is due is looked for now and then, however much comes to it.
        if change.after.send_at is not None and not self._delivery.provider_away(change.after.channel):
            self._due_changed()
        return True


async def firms_policy(store: Store, event: Event, usual: Policy) -> Policy:
    """The policy of the firm that an event concerns."""
    match event.data:
        case UserCreated() as said:
            return usual.of(await store.policies(said.cabinet.id))
        case InvitationState() as fact:
            return usual.of(await store.policies(fact.cabinet_id))
        case InvitationRequest() as asked:
            return await policy_for(store, await store.load(asked.invitation_id), usual)
        case _:
            return usual


_NAMED_IN = ("cabinet.updated", "dossier.updated")


async def learn_names(store: Store, event: Event) -> str | None:
    """Keep what the directory says of a cabinet or dossier: `kept`, `known` already, or None for other events."""
    if event.short_type not in _NAMED_IN:
        return None
    from_directory(event)
    order = event.sequence if event.sequence is not None else int(event.time.timestamp() * 1000)
    if event.short_type == "cabinet.updated":
        learned = await store.learn_cabinet(cast("CabinetState", event.data), order)
    else:
        learned = await store.learn_dossier(cast("DossierState", event.data), order)
    return "kept" if learned else "known"


def _blank(event: Event, decision: Decision, cause: Cause) -> Invitation:
    return Invitation.blank(decision.invitation_id, event.source, cause.at)


def _takes_the_lease(change: Change) -> bool:
    """Whether the change claims a send. A lease that was there before is somebody's who is sending already, perhaps
    this very process for another event about the same member."""
    return change.after.lease is not None and (change.before is None or change.after.lease != change.before.lease)
