"""A provider that does as it is told, and everything around it in memory."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from invitation.delivery.channels import Accepted, ProviderAway, RefusedForGood, RefusedForNow
from invitation.delivery.slots import Delivery
from invitation.due import DueLoop
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.store.memory import MemoryStore
from tests.unit.lifecycle.making import NOW, a_blank, an_event, an_invitee, told

POLICY = Policy()
OWNER = "worker-1"

Behaviour = str | Exception | Callable[[], Any]
ACCEPT, LATER, NEVER, AWAY, HANG, BUG = "accept", "later", "never", "away", "hang", "bug"


class FakeChannel:
    """Behaves per message as scripted: the last word of its script counts from there on."""

    def __init__(self, *script: Behaviour) -> None:
        self.script: list[Behaviour] = list(script) or [ACCEPT]
        self.of: dict[str, Behaviour] = {}
        self.sends: list[tuple[str, int, int]] = []
        self.now_sending = 0
        self.most_at_once = 0
        self.hanging = asyncio.Event()
        self.tries: dict[str, int] = defaultdict(int)

    async def send(self, invitation: Invitation, now: datetime) -> Accepted:
        self.sends.append((invitation.id, invitation.send_sequence, invitation.attempt))
        self.now_sending += 1
        self.most_at_once = max(self.most_at_once, self.now_sending)
        try:
            await asyncio.sleep(0)
            return await self._behave(invitation)
        finally:
            self.now_sending -= 1

    async def close(self) -> None: ...

    async def _behave(self, invitation: Invitation) -> Accepted:
        step = len(self.sends) - 1
        behaviour = self.of.get(invitation.id) or self.script[min(step, len(self.script) - 1)]
        match behaviour:
            case "accept":
                return Accepted({"reply": "250 ok"})
            case "later":
                raise RefusedForNow("451 later")
            case "never":
                raise RefusedForGood("550 no such user")
            case "away":
                raise ProviderAway("no connection")
            case "hang":
                await self.hanging.wait()
                return Accepted()
            case "bug":
                raise ZeroDivisionError
            case Exception():
                raise behaviour
            case _:
                raise AssertionError(behaviour)


class Clock:
    """Both clocks, going on only when told to."""

    def __init__(self) -> None:
        self.time = NOW
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    def goes_on(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.seconds += seconds


class World:
    """Store, channel, delivery and due loop, wired together."""

    def __init__(
        self, *script: Behaviour, slots: int = 4, policy: Policy = POLICY, store: MemoryStore | None = None, **more: Any
    ) -> None:
        self.clock = Clock()
        self.policy = policy
        self.store = store or MemoryStore()
        self.channel = FakeChannel(*script)
        self.delivery = Delivery(
            self.store,
            {"email": self.channel},
            owner=OWNER,
            policy=policy,
            now=self.clock.now,
            slots=slots,
            monotonic=self.clock.monotonic,
            **more,
        )
        self.rebuilt = True
        self.due = self.due_loop()

    def due_loop(self, **more: Any) -> DueLoop:
        """Another loop of the same process."""

        async def rebuilt() -> bool:
            return self.rebuilt

        options: dict[str, Any] = {"policy": self.policy, "now": self.clock.now, "rebuilt": rebuilt, **more}
        return DueLoop(self.store, self.delivery, **options)

    async def add(self, count: int = 1, channel: Any = "email", *, disarmed: bool = False) -> list[str]:
        """Invitations that are due now; `disarmed`, as a rebuild folds them in."""
        ids: list[str] = []
        for _ in range(count):
            invitee = an_invitee(member_id=str(uuid4()), phone="+33612345678")
            blank = a_blank()
            blank.disarmed = disarmed
            change = blank.created(invitee, channel, told(), an_event(self.clock.time), self.policy)
            assert change is not None
            await self.store.save(change)
            ids.append(change.after.id)
        return ids

    async def settle(self) -> None:
        """Let what is in the slots come to its end."""
        for _ in range(10_000):
            if not self.delivery._sending:
                return
            await asyncio.sleep(0)
        raise AssertionError("the slots never came free")

    async def turn(self, times: int = 50) -> None:
        """Let everything go on as far as it can."""
        for _ in range(times):
            await asyncio.sleep(0)

    async def look(self) -> bool:
        more = await self.due.look()
        await self.turn()
        return more

    async def run_for(self, seconds: float, *, every: float = 1.0) -> None:
        """What the due loop would do over a while."""
        for _ in range(int(seconds / every)):
            while await self.look() and self.delivery.room:
                pass
            self.clock.goes_on(every)

    async def load(self, id: str) -> Invitation:
        invitation = await self.store.load(id)
        assert invitation is not None
        return invitation

    async def states(self, ids: list[str]) -> list[State]:
        return [(await self.load(id)).state for id in ids]
