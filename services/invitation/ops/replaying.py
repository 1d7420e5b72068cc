"""Replay: recorded events handed to intake again, in-process.

Never back through the exchange, where other teams would see them again and the log would grow. What is done stays
done, so replaying the whole log into a healthy system changes nothing. Into an empty one it rebuilds: the log is
folded with sending disarmed; what is still due comes due when the rebuild is over.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from convive_contracts.envelope import Event, EventError, parse_event
from convive_kit.consuming import Incoming
from convive_kit.errors import Reject
from convive_kit.event_log import EventLog
from convive_kit.group_commit import Conflict
from convive_kit.parked import Parked, ParkedMessages
from convive_kit.runner import AT_ONCE, Pace, Runner
from invitation.ops.filters import ReplayFilter
from invitation.store.protocol import Store
from invitation.store.replays import Replay, Replays

if TYPE_CHECKING:
    from invitation.intake.events import Intake, Replayed
    from invitation.intake.rebuilding import Rebuilding

_SAMPLE = 10
Group = TypeVar("Group")
Done = TypeVar("Done")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message to replay; `position` is where the replay stands once it is done with."""

    position: int | str
    message: Incoming
    event: Event | None
    parked: Parked | None = None


class Replayer(Runner[Replay]):
    """Carries out replays, one at a time."""

    kind = "replay"

    def __init__(
        self,
        replays: Replays,
        parked: ParkedMessages,
        event_log: EventLog,
        store: Store,
        intake: Intake,
        rebuilding: Callable[[], Rebuilding],
        *,
        owner: str,
        now: Callable[[], datetime],
        marked: Callable[[Replay], Replayed],
    ) -> None:
        super().__init__(replays, owner=owner, now=now)
        self._parked = parked
        self._log = event_log
        self._store = store
        self._intake = intake
        self._rebuilding = rebuilding
        self._marked = marked

    async def work(self, run: Replay) -> bool:
        return await (self._rebuild(run) if run.rebuild and not run.dry_run else self._replay(run))

    # --- replaying into a system that has its state -------------------------------------------------------------------

    async def _replay(self, replay: Replay) -> bool:
        wanted = ReplayFilter.model_validate(dict(replay.filter))
        mark = self._marked(replay)
        pace = Pace(replay.rate)
        async with aclosing(_groups(self._recorded(replay), pace.at_once)) as groups:
            async for group in groups:
                matching = [one for one in group if await self._matches(wanted, one)]
                replay.matched += len(matching)
                if replay.dry_run:
                    replay.sample += [_shown(one) for one in matching[: _SAMPLE - len(replay.sample)]]
                else:
                    outcomes = await asyncio.gather(*(self._again(one, mark) for one in matching))
                    replay.count(outcomes)
                replay.position = group[-1].position
                if not await self.record(replay):
                    return False
                if not replay.dry_run:
                    await pace.keep(len(matching))
        return True

    async def _again(self, one: Recorded, mark: Replayed) -> str:
        """Handle one message again; returns what became of it."""
        if one.parked is not None and not one.parked.is_whole:
            return "not_whole"
        try:
            changed = await self._intake.handle(one.message, mark, event=one.event)
        except (Reject, EventError, Conflict) as refused:
            if one.parked is not None:
                await self._parked.failed_again(one.parked.id, refused, self._now())
                return "failed"
            return refused.slug
        if one.parked is not None:
            await self._parked.replayed(one.parked.id, mark.by, mark.reason, self._now())
        return "done" if changed else "nothing_to_change"

    async def _matches(self, wanted: ReplayFilter, one: Recorded) -> bool:
        if one.parked is not None and not wanted.matches_parked(one.parked):
            return False
        if not wanted.matches_event(one.event, in_time=one.parked is None):
            return False
        if not wanted.asks_for_a_place:
            return True
        if one.event is None:
            return False
        return wanted.matches_place(await self._place(one.event))

    async def _place(self, event: Event) -> Mapping[str, str]:
        """The cabinet, dossier and member an event concerns; what names only an invitation is looked up."""
        data = cast("Any", event.data)
        if hasattr(data, "invitation_id") and not hasattr(data, "cabinet_id"):
            invitation = await self._store.load(data.invitation_id)
            invitee = invitation.invitee if invitation else None
            if invitee is None:
                return {}
            return {"cabinet": invitee.cabinet_id, "dossier": invitee.dossier_id, "member": invitee.member_id}
        return place_of(event)

    def _recorded(self, replay: Replay) -> AsyncGenerator[Recorded]:
        if replay.origin == "parked":
            return self._from_parked(replay)
        return self._from_log(replay)

    async def _from_parked(self, replay: Replay) -> AsyncGenerator[Recorded]:
        after = cast("str | None", replay.position)
        async for parked in self._parked.frozen(replay.frozen_at, after=after):
            message = parked.message()
            yield Recorded(parked.id, message, _event(message), parked)

    async def _from_log(self, replay: Replay) -> AsyncGenerator[Recorded]:
        if replay.last_offset is None:
            return
        start = cast("int | None", replay.position)
        if start is not None and start >= replay.last_offset:
            return
        async with aclosing(self._log.read("first" if start is None else start + 1, replay.last_offset)) as events:
            async for logged in events:
                yield Recorded(logged.offset, logged.message, _event(logged.message))

    # --- rebuilding into an empty one ------------------------------------------------------------------------------

    async def _rebuild(self, replay: Replay) -> bool:
        """Fold the frozen part of the log in, in order; a second pass takes up what was said of invitations before
        their `user.created` (a directory that announced its state anew says so late); then arm."""
        wanted = ReplayFilter.model_validate(dict(replay.filter))
        rebuilding, mark = self._rebuilding(), self._marked(replay)
        whole = replay.pass_number == 1 and replay.position is None
        while replay.pass_number <= 2:
            first = replay.pass_number == 1
            if not first and whole and not rebuilding.something_came_early:
                break  # all of it was folded in here, and there is nothing that a second time would change
            rebuilding.unbuildable.clear()

            async def fold(group: list[Recorded], first: bool = first) -> tuple[int | str, int, list[str]]:
                matching = [one for one in group if await self._matches(wanted, one)]
                events = [one.event for one in matching if one.event is not None]
                return group[-1].position, len(matching), await rebuilding.fold(events, mark, again=not first)

            async with (
                aclosing(_groups(self._from_log(replay), AT_ONCE)) as groups,
                # What is looked up to see whether it matches must have been folded in.
                aclosing(_overlapping(groups, fold, 1 if wanted.asks_for_a_place else 2)) as folded,
            ):
                async for position, matched, outcomes in folded:
                    if first:
                        replay.matched += matched
                        replay.position = position
                        replay.count([outcome for outcome in outcomes if outcome != "no_user_created"])
                    else:
                        replay.count([outcome for outcome in outcomes if outcome == "done"])
                    if not await self.record(replay):
                        return False
            replay.pass_number += 1
            replay.position = None
        replay.skipped["unbuildable"] = len(rebuilding.unbuildable)
        replay.armed = await rebuilding.arm(mark)
        return True


def place_of(event: Event) -> dict[str, str]:
    """The cabinet, dossier and member that an event names."""
    data = cast("Any", event.data)
    family = event.short_type.partition(".")[0]
    if family == "user":
        return {"cabinet": data.cabinet.id, "dossier": data.dossier.id, "member": data.member.id}
    if family == "invitation":
        return {"cabinet": data.cabinet_id, "dossier": data.dossier_id, "member": data.member_id}
    if family == "dossier":
        return {"cabinet": data.cabinet_id, "dossier": data.id}
    return {"cabinet": data.id} if family == "cabinet" else {}


def _event(message: Incoming) -> Event | None:
    try:
        return parse_event(message.body, content_type=message.content_type, headers=message.headers)
    except EventError:
        return None


async def _groups(recorded: AsyncGenerator[Recorded], size: int) -> AsyncGenerator[list[Recorded]]:
    """Groups of that size; the next one is read while this one is being handled. Closes what it reads from."""

    async def read() -> list[Recorded]:
        group: list[Recorded] = []
        while len(group) < size and (one := await anext(recorded, None)) is not None:
            group.append(one)
        return group

    reading = asyncio.create_task(read())
    try:
        while group := await reading:
            reading = asyncio.create_task(read())
            yield group
    finally:
        reading.cancel()
        await asyncio.wait([reading])
        await recorded.aclose()


async def _overlapping(
    groups: AsyncGenerator[Group], work: Callable[[Group], Coroutine[Any, Any, Done]], most: int
) -> AsyncGenerator[Done]:
    """What `work` makes of each group, in order; up to `most` are at work beside each other."""
    under_way: deque[asyncio.Task[Done]] = deque()
    try:
        async for group in groups:
            under_way.append(asyncio.create_task(work(group)))
            while len(under_way) >= most:
                yield await under_way.popleft()
        while under_way:
            yield await under_way.popleft()
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _shown(one: Recorded) -> dict[str, Any]:
    """A line of a dry run's sample: no personal data, ids are enough to look further."""
    event = one.event
    return {
        "position": one.position,
        "routing_key": one.message.routing_key,
        "type": event.short_type if event else None,
        "id": event.id if event else None,
        "subject": event.subject if event else None,
        "time": event.time if event else None,
    }
