"""Delivery: K slots, each sending one message and holding its place until the outcome is committed.

What a crash can make go out twice is therefore at most what was in the slots. Places beyond the slots hold what is
claimed already and waits its turn, so that no slot stands idle while the next claim is being written.

What is new (somebody has just been invited by hand) has places and a queue of its own, beside those of what is due (the
many of an import, reminders, further attempts). The slots take from both in turn: neither waits for the whole of the
other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal

import structlog

from convive_kit import tracing
from convive_kit.errors import Retry
from convive_kit.group_commit import VersionConflict
from invitation.delivery.breaker import Breaker
from invitation.delivery.channels import Channel, NotTaken, NotYet, ProviderAway, RefusedForGood
from invitation.lifecycle.invitation import Cause, Change, Invitation, Lease
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Decide, Store, decide_and_save, policy_for

log = structlog.stdlib.get_logger(__name__)

Observe = Callable[[str, str, float], None]
_PROVIDER = "provider"
_Kind = Literal["due", "new"]
_DUE: _Kind = "due"
_NEW: _Kind = "new"


class Delivery:
    """Sends what has been claimed. See the module for slots and places."""

    def __init__(
        self,
        store: Store,
        channels: Mapping[str, Channel],
        *,
        owner: str,
        policy: Policy,
        now: Callable[[], datetime],
        slots: int,
        places_per_slot: int = 4,
        monotonic: Callable[[], float] = time.monotonic,
        observe: Observe = lambda _channel, _outcome, _seconds: None,
    ) -> None:
        """`owner` names this process in leases; `observe(channel, outcome, seconds)` is told of each attempt."""
        self.owner = owner
        self.slots = slots
        self._store = store
        self._channels = channels
        self._policy = policy
        self._now = now
        self._observe = observe
        self._places = slots * places_per_slot
        self._places_for_new = max(self._places - slots, 1)
        self._taken = {_DUE: 0, _NEW: 0}
        self._queues: dict[_Kind, deque[Invitation]] = {_DUE: deque(), _NEW: deque()}
        self._turn: _Kind = _NEW
        self._sending: set[asyncio.Task[None]] = set()
        self._breakers = {name: Breaker(monotonic=monotonic) for name in channels}
        self._room = asyncio.Event()
        self._room.set()
        self._draining = False
        self._hopeful: deque[tuple[str, asyncio.Future[bool]]] = deque()

    # --- places ----------------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many more messages that are due can be taken now."""
        return 0 if self._draining else self._places - self._taken[_DUE]

    @property
    def busy(self) -> int:
        """How many slots are sending."""
        return len(self._sending)

    @property
    def waiting(self) -> int:
        """How many that are claimed wait for a slot."""
        return sum(map(len, self._queues.values()))

    def provider_away(self, channel: str) -> bool:
        """Whether the channel's provider counts as down."""
        breaker = self._breakers.get(channel)
        return breaker is not None and breaker.is_open

    def open_channels(self) -> list[str]:
        """The channels whose provider takes messages; those without a provider count, for they are refused at once."""
        paused = {name for name, breaker in self._breakers.items() if not breaker.lets_through}
        return [name for name in ("email", "sms") if name not in paused]

    def reserve(self, channel: str) -> bool:
        """Take a place for what is due if one is free and the channel's provider takes messages. Follow with `start` or
        `give_back`."""
        return self.room > 0 and self._reserve(channel, _DUE)

    async def reserve_soon(self, channel: str, *, within: float) -> bool:
        """Take a place for a message that is new: where the provider takes messages, wait up to `within` seconds for
        one rather than have it written as due, found and claimed, behind all that is due already. Follow with `start`
        or `give_back`, saying that it is new."""
        if self._has_room_for_new and self._reserve(channel, _NEW):
            return True
        breaker = self._breakers.get(channel)
        if self._draining or self.slots == 0 or (breaker is not None and not breaker.lets_through):
            return False
        loop = asyncio.get_running_loop()
        hope: asyncio.Future[bool] = loop.create_future()
        self._hopeful.append((channel, hope))
        patience = loop.call_later(within, self._give_up, hope)
        try:
            return await hope
        except asyncio.CancelledError:
            # Cancelled with us, unless it had been fulfilled before we heard of it.
            if not hope.cancelled() and hope.result():
                self.give_back(channel, new=True)
            raise
        finally:
            patience.cancel()

    def _give_up(self, hope: asyncio.Future[bool]) -> None:
        if not hope.done():
            hope.set_result(False)
        while self._hopeful and self._hopeful[0][1].done():  # whoever gave up first stands first
            self._hopeful.popleft()

    def _reserve(self, channel: str, kind: _Kind) -> bool:
        breaker = self._breakers.get(channel)
        if breaker is not None:
            if not breaker.lets_through:
                return False
            breaker.enter()
        self._taken[kind] += 1
        if self.room <= 0:
            self._room.clear()
        return True

    @property
    def _has_room_for_new(self) -> bool:
        return self.slots > 0 and not self._draining and self._taken[_NEW] < self._places_for_new

    def _fulfil_hopes(self) -> None:
        while self._hopeful and (self._draining or self._has_room_for_new):
            channel, hope = self._hopeful.popleft()
            if not hope.done():
                hope.set_result(not self._draining and self._reserve(channel, _NEW))

    def give_back(self, channel: str, *, new: bool = False) -> None:
        """Free a place whose message was not tried after all."""
        self._not_tried(channel)
        self._free(_NEW if new else _DUE)

    def _free(self, kind: _Kind) -> None:
        self._taken[kind] -= 1
        self._fulfil_hopes()
        if self.room >= self.slots:
            self._room.set()

    def _not_tried(self, channel: str) -> None:
        breaker = self._breakers.get(channel)
        if breaker is not None:
            breaker.left()

    async def wait_for_room(self) -> None:
        """Return when there is room for at least as many as there are slots."""
        await self._room.wait()

    def start(self, invitation: Invitation, *, new: bool = False) -> None:
        """Send a claimed invitation in the place reserved for it; does not wait."""
        kind = _NEW if new else _DUE
        if len(self._sending) < self.slots:
            self._run(invitation, kind)
        else:
            self._queues[kind].append(invitation)

    async def drain(self) -> None:
        """Start nothing more; return when what is in the slots has been decided and what only waited is given back, for
        the next process to take at once. Where that cannot be written, the lease brings it back."""
        self._draining = True
        waiting: list[Invitation] = []
        for kind, queue in self._queues.items():
            waiting += queue
            self._taken[kind] -= len(queue)
            queue.clear()
        self._fulfil_hopes()
        await asyncio.gather(*self._sending, *(self._put_back(invitation) for invitation in waiting))

    # --- one slot --------------------------------------------------------------------------------------------------

    def _run(self, invitation: Invitation, kind: _Kind) -> None:
        task = asyncio.create_task(self._work(invitation, kind), name="delivery-slot")
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _work(self, invitation: Invitation, kind: _Kind) -> None:
        """A slot: goes on with what waits as long as something does."""
        while True:
            try:
                await self._deliver(invitation)
            except Exception:
                # The lease brings it back; the slot must not be lost.
                log.exception("delivery.failed", invitation=invitation.id)
            finally:
                self._free(kind)
            if (following := self._next()) is None:
                return
            invitation, kind = following

    def _next(self) -> tuple[Invitation, _Kind] | None:
        """What has waited longest of the kind whose turn it is, or else of the other."""
        first = self._turn
        for kind in (first, _DUE if first == _NEW else _NEW):
            if queue := self._queues[kind]:
                self._turn = _DUE if kind == _NEW else _NEW
                return queue.popleft(), kind
        return None

    async def _deliver(self, invitation: Invitation) -> None:
        now = self._now()
        lease = invitation.lease
        if lease is None or lease.until - now < self._policy.attempt_deadline:
            # It has waited too long for its turn: an attempt now could outlast the lease.
            await self._put_back(invitation)
            return
        trace = {"traceparent": invitation.traceparent} if invitation.traceparent else {}
        with (
            structlog.contextvars.bound_contextvars(correlation_id=invitation.correlation_id),
            tracing.span("delivery attempt", parent=trace) as span,
        ):
            span.set("convive.invitation", invitation.id)
            span.set("convive.channel", invitation.channel)
            span.set("convive.attempt", invitation.attempt)
            decide = await self._attempt(invitation, lease, now, span)
            await self._save(invitation, decide)

    async def _put_back(self, invitation: Invitation) -> None:
        """Give back a claim that came to no attempt."""
        self._not_tried(invitation.channel)
        if invitation.lease is not None:
            send = (invitation.send_sequence, invitation.attempt)
            await self._save(invitation, self._release(send, invitation.lease, invitation.channel))

    async def _attempt(self, invitation: Invitation, lease: Lease, now: datetime, span: tracing.Span) -> Decide:
        """Try once; returns what to decide about the outcome."""
        send = (invitation.send_sequence, invitation.attempt)
        channel = self._channels.get(invitation.channel)
        if channel is None:
            return self._refusal(send, "channel_not_available", self._policy, for_good=True)
        started = time.perf_counter()
        outcome, policy = "accepted", self._policy
        try:
            async with asyncio.timeout(policy.attempt_deadline.total_seconds()):
                # Before the effect: what follows from it must not wait for anything but its commit.
                policy = await policy_for(self._store, invitation, policy)
                accepted = await channel.send(invitation, now)
        except ProviderAway as away:
            outcome = "provider_away"
            log.warning("delivery.provider_away", channel=invitation.channel, reason=str(away))
            self._breaker_done(invitation.channel, answered=False)
            return self._release(send, lease, invitation.channel)
        except NotYet as wait:
            outcome, until = "not_yet", wait.until
            self._not_tried(invitation.channel)
            return lambda current: current.released(send, lease, until, Cause(now, "system"))
        except Retry as away:
            # Something of ours is away, such as the database: neither the message nor the provider is at fault.
            outcome = "not_tried"
            log.warning("delivery.not_tried", invitation=invitation.id, cause=away.slug)
            self._not_tried(invitation.channel)
            return self._release(send, lease, invitation.channel)
        except TimeoutError:
            # Perhaps this message, perhaps the provider: the attempt counts, and so does the silence.
            outcome = "timeout"
            self._breaker_done(invitation.channel, answered=False)
            return self._refusal(send, "timeout", policy, for_good=False)
        except NotTaken as refused:
            for_good = isinstance(refused, RefusedForGood)
            outcome = "refused_for_good" if for_good else "refused_for_now"
            self._breaker_done(invitation.channel, answered=True)
            return self._refusal(send, str(refused), policy, for_good=for_good, said=refused.said)
        except Exception:
            # A bug of ours. It counts as an attempt, so that it ends as failed, in sight of the firm, and not never.
            outcome = "internal_error"
            log.exception("delivery.failed", invitation=invitation.id)
            self._not_tried(invitation.channel)
            return self._refusal(send, "internal_error", policy, for_good=False)
        finally:
            self._observe(invitation.channel, outcome, time.perf_counter() - started)
            span.set("convive.outcome", outcome)
        self._breaker_done(invitation.channel, answered=True)
        cause = Cause(self._now(), _PROVIDER, detail={"send": send[0], **accepted.detail})
        return lambda current: current.accepted(send[0], cause, policy)

    def _refusal(
        self, send: tuple[int, int], reason: str, policy: Policy, *, for_good: bool, said: str | None = None
    ) -> Decide:
        cause = Cause(self._now(), _PROVIDER, detail={"reply": said} if said else None)
        return lambda current: current.refused(send, reason, cause, policy, for_good=for_good)

    def _release(self, send: tuple[int, int], lease: Lease, channel: str) -> Decide:
        now = self._now()
        # Spread: what was released together does not come back together.
        breaker = self._breakers.get(channel)
        pause = max(breaker.opens_in if breaker else 0.0, 0.5) * random.uniform(1.0, 2.0)  # noqa: S311 (not for secrets)
        cause = Cause(now, _PROVIDER)
        return lambda current: current.released(send, lease, now + timedelta(seconds=pause), cause)

    def _breaker_done(self, channel: str, *, answered: bool) -> None:
        breaker = self._breakers.get(channel)
        if breaker is None:
            return
        if answered:
            breaker.succeeded()
        else:
            breaker.failed()

    async def _save(self, invitation: Invitation, decide: Decide) -> None:
        """Commit the outcome, however long the database is away: it is known here and nowhere else. The slot is held
        meanwhile, so that nothing more goes out than can be recorded."""
        change: Change | None = decide(invitation)
        first = True
        while change is not None:
            try:
                if first:
                    await self._store.save(change)
                else:
                    change = await decide_and_save(self._store, invitation.id, decide)
            except VersionConflict:
                first = False
                continue
            except Retry as away:
                first = False
                log.warning("delivery.outcome_waits", invitation=invitation.id, cause=away.slug)
                await asyncio.sleep(1.0)
                continue
            if change is not None:
                log.info(
                    "delivery.attempted",
                    invitation=invitation.id,
                    channel=invitation.channel,
                    send=invitation.send_sequence,
                    attempt=invitation.attempt,
                    state=change.after.state.value,
                )
            return
