"""Folding the log into an empty database: the same decisions as intake, with nothing coming due and nothing announced.

What this service itself once announced (`invitation.*`) carries the numbers that matter: state, link and send
sequence, expiry, version. So old links work again, and what the log says was sent is not sent again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from convive_contracts.envelope import Event
from convive_contracts.events import INVITATION_SOURCE, InvitationState
from convive_kit.errors import Reject
from invitation.intake.decisions import Decision, decisions
from invitation.intake.events import Replayed, firms_policy, learn_names
from invitation.lifecycle.invitation import Cause, Change, Invitation
from invitation.lifecycle.rebuilt import log_ended, overtaken, restored
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Store, decide_and_save, decide_and_save_at_once, decide_or_begin

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

_Lane = list[tuple[int, Event, Decision]]

_ARMED_AT_ONCE = 500


class Rebuilding:
    """One rebuild. `quiet` saves without announcing anything, `store` as always."""

    def __init__(self, quiet: Store, store: Store, *, policy: Policy, now: Callable[[], datetime]) -> None:
        self._quiet = quiet
        self._store = store
        self._policy = policy
        self._now = now
        self.unbuildable: set[str] = set()
        """Invitations that the log tells of without their `user.created`."""
        self._came_early: set[tuple[str, str]] = set()
        self._reading = asyncio.Lock()
        self._last: dict[str, asyncio.Task[list[tuple[int, str]]]] = {}

    @property
    def something_came_early(self) -> bool:
        """Whether something was said of an invitation before its `user.created`: what `fold` again is for."""
        return bool(self._came_early)

    async def fold(self, events: Sequence[Event], mark: Replayed, *, again: bool = False) -> list[str]:
        """Fold events in; those of one invitation in order, others beside each other. The next ones may be handed over
        before this returns: they keep the order, too. Folding them `again` changes something only where it was said of
        an invitation before its `user.created`, and no fact tells what came of it. Returns for each what became of it:
        done, nothing_to_change, no_user_created, or why it was refused."""
        lanes: dict[str, _Lane] = defaultdict(list)
        outcomes = ["nothing_to_change"] * len(events)
        async with self._reading:
            for number, event in enumerate(events):
                try:
                    if await learn_names(self._quiet, event) == "kept":
                        outcomes[number] = "done"
                    policy = await firms_policy(self._quiet, event, self._policy)
                    for decision in self._decisions(event, mark, policy):
                        lanes[decision.invitation_id].append((number, event, decision))
                except Reject as refused:
                    outcomes[number] = refused.slug
            folding = [self._begin(id, lane, again) for id, lane in lanes.items()]
        for lane in await asyncio.gather(*folding):
            for number, outcome in lane:
                # An event about several invitations was done if it changed one of them.
                if outcomes[number] != "done":
                    outcomes[number] = outcome
        return outcomes

    async def arm(self, mark: Replayed) -> int:
        """Decide what the log left open: whoever it says was removed is revoked if that was lost. All others are armed
        when they come due: each was written once for the log, and need not be written again for its end. Returns at how
        many invitations something is going to come due."""
        cause = Cause(self._now(), "system", detail=mark.detail())
        while removed := await self._store.disarmed_and_removed(_ARMED_AT_ONCE):
            await asyncio.gather(
                *(decide_and_save_at_once(self._store, one, lambda it: log_ended(it, cause)) for one in removed)
            )
        return await self._store.disarmed()

    def _decisions(self, event: Event, mark: Replayed, policy: Policy) -> list[Decision]:
        if event.short_type in ("cabinet.updated", "dossier.updated"):
            return []
        # When it happened, not when it is folded in: expiries are counted from then.
        cause = Cause(event.time, f"event:{event.source}", event.id, mark.detail())
        fact = event.data
        if isinstance(fact, InvitationState):
            if event.source != INVITATION_SOURCE:
                return []
            name, folded = event.short_type.removeprefix("invitation."), replace(cause, event_id=None)
            return [Decision(fact.invitation_id, lambda i: restored(i, name, fact, folded, policy))]
        return decisions(event, cause, policy)

    def _begin(self, id: str, lane: _Lane, again: bool) -> asyncio.Task[list[tuple[int, str]]]:
        task = self._last[id] = asyncio.create_task(self._fold_in_order(lane, again, self._last.get(id)))

        def over(_: object) -> None:
            if self._last[id] is task:
                del self._last[id]

        task.add_done_callback(over)
        return task

    async def _fold_in_order(
        self, lane: _Lane, again: bool, before: asyncio.Task[list[tuple[int, str]]] | None
    ) -> list[tuple[int, str]]:
        if before is not None:
            await asyncio.wait([before])
            before.result()  # what could not be written must not be overtaken
        outcomes: list[tuple[int, str]] = []
        for number, event, decision in lane:
            try:
                outcomes.append((number, await self._fold_one(event, decision, again)))
            except Reject as refused:
                outcomes.append((number, refused.slug))
        return outcomes

    async def _fold_one(self, event: Event, decision: Decision, again: bool) -> str:
        id = decision.invitation_id
        if decision.begins and again:
            return "nothing_to_change"  # the first time it was folded in whatever had been said before
        if decision.begins:
            blank = Invitation.blank(id, event.source, event.time)
            blank.disarmed = True
            change = await decide_or_begin(self._quiet, lambda: blank, decision.decide)
        else:
            known = False

            def decide_if_known(invitation: Invitation) -> Change | None:
                nonlocal known
                known = invitation.announced or invitation.removed
                told = isinstance(event.data, InvitationState)
                second_time = again or (event.source, event.id) in self._came_early
                if not known or (not told and overtaken(invitation, event.time, again=second_time)):
                    return None
                return decision.decide(invitation)

            change = await decide_and_save(self._quiet, id, decide_if_known)
            if not known:
                self.unbuildable.add(id)
                self._came_early.add((event.source, event.id))
                return "no_user_created"
        if event.short_type == "user.created":
            self.unbuildable.discard(id)
        return "nothing_to_change" if change is None else "done"
