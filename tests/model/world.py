"""The world around the services: its time, what can go wrong in it, and what it remembers of mails and commits."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar

from convive_kit.mongo import DatabaseAway
from invitation.lifecycle.schedule import Policy
from tests.model.virtual_loop import OWNER, Owner, VirtualLoop

Result = TypeVar("Result")

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SLOTS = 2
POLICY = Policy(
    link_life=timedelta(minutes=10),
    lease=timedelta(seconds=60),
    attempt_deadline=timedelta(seconds=20),
    most_attempts=4,
    first_backoff=timedelta(seconds=15),
    longest_backoff=timedelta(minutes=1),
    reminders=(timedelta(minutes=2), timedelta(minutes=4)),
    sms_after_bounce=True,
)

Effect = Literal["crash", "stop", "away"]
MailMode = Literal["accept", "later", "never", "away", "hang", "hang_after", "lost"]
DatabaseMode = Literal["up", "silent", "deaf"]


@dataclass
class Fuse:
    """Something goes wrong at the n-th time that anybody passes a point."""

    point: str
    effect: Effect
    passes: int


@dataclass
class Mail:
    """A message that the mail server has taken."""

    message_id: str
    invitation_id: str
    send: int
    link: str
    link_sequence: int
    to: str
    taken_at: datetime
    claimed_at: datetime
    sender: Owner
    body: bytes = field(repr=False)
    # The process was not told that the server has it.
    answer_lost: bool = False
    # What excuses another copy, if anything does.
    excuse: str | None = None


class World:
    """Time, faults, and the record of what left the services."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.loop = VirtualLoop(self.random)
        self.loop.died = self.kill
        self.fuses: list[Fuse] = []
        self.database_mode: DatabaseMode = "up"
        self.mail_mode: MailMode = "accept"
        self.next_mail: list[MailMode] = []
        self.directory_answers = True
        self.mails: list[Mail] = []
        self.violations: list[str] = []
        # Owner, or None for the database: when it was out of action.
        self.downtimes: list[tuple[Owner | None, datetime, datetime]] = []
        self._down_since: dict[Owner | None, datetime] = {}
        self.deaths: dict[Owner, datetime] = {}
        # When each send was committed as taken, where commits are seen in the moment they happen.
        self.accepted: dict[tuple[str, int], datetime] = {}
        self.sees_commits = True
        self.on_death: list[Callable[[Owner], None]] = []
        self.on_stop: list[Callable[[Owner], None]] = []
        self.trace: list[str] = []
        self.points: dict[str, int] = defaultdict(int)

    # --- time ------------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        moment = START + timedelta(seconds=self.loop.time())
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def delay(self) -> float:
        """How long something takes to get from one place to another."""
        return self.random.choice((0.001, 0.002, 0.005, 0.02))

    def note(self, what: str) -> None:
        self.trace.append(f"{self.loop.time():10.3f} {what}")

    # --- servers ---------------------------------------------------------------------------------------------------

    async def remote(self, act: Callable[[], Awaitable[Result]]) -> Result:
        """Have a server do something: it does so whether or not the one who asked lives to hear of it."""
        answer: asyncio.Future[Result] = self.loop.create_future()

        async def serve() -> None:
            await asyncio.sleep(self.delay())
            failure: BaseException | None = None
            result: Any = None
            try:
                result = await act()
            except Exception as error:
                failure = error
            await asyncio.sleep(self.delay())
            if answer.done():
                return
            if failure is None:
                answer.set_result(result)
            else:
                answer.set_exception(failure)

        self.spawn(serve())
        return await answer

    def spawn(self, work: Coroutine[Any, Any, Result], owner: Owner | None = None) -> asyncio.Task[Result]:
        return self.loop.spawn(work, owner)

    async def forever(self) -> None:
        await self.loop.create_future()

    # --- faults ----------------------------------------------------------------------------------------------------

    async def point(self, name: str) -> None:
        """Here something may go wrong, if a fuse says so. Raises `DatabaseAway` for the effect `away`."""
        owner = OWNER.get()
        self.points[name] += 1
        for fuse in self.fuses:
            if fuse.point == name:
                fuse.passes -= 1
                if fuse.passes <= 0:
                    self.fuses.remove(fuse)
                    await self._blow(fuse, owner)
                    return

    async def _blow(self, fuse: Fuse, owner: Owner | None) -> None:
        self.note(f"fuse {fuse.point} {fuse.effect} {owner.name if owner else None}")
        if fuse.effect == "away":
            if fuse.point.startswith(("save", "load", "due")):
                raise DatabaseAway
        elif owner is not None:
            if fuse.effect == "crash":
                self.kill(owner)
                await self.forever()
            else:
                self.stop(owner)
                self.loop.call_later(self.random.choice((5, 70, 200)), self.go_on, owner, context=_nobody())
                await asyncio.sleep(0)

    def kill(self, owner: Owner) -> None:
        """SIGKILL."""
        if owner.dead:
            return
        self.go_on(owner)
        self.note(f"killed {owner.name}")
        owner.dead = True
        self.deaths[owner] = self.now()
        self.loop.forget(owner)
        for tell in self.on_death:
            tell(owner)
        unsure = [m for m in self.mails if m.sender is owner and not self.is_accepted(m) and not m.answer_lost]
        if self.sees_commits and len(unsure) > SLOTS:
            self.violations.append(f"{len(unsure)} mails were uncommitted when {owner.name} died: more than K={SLOTS}")

    def stop(self, owner: Owner) -> None:
        """SIGSTOP."""
        if owner.dead or owner.stopped:
            return
        self.note(f"stopped {owner.name}")
        owner.stopped = True
        self._down_since[owner] = self.now()
        for tell in self.on_stop:
            tell(owner)

    def go_on(self, owner: Owner) -> None:
        """SIGCONT."""
        if owner.stopped:
            self.note(f"goes on {owner.name}")
            owner.stopped = False
            self._up(owner)

    def set_database(self, mode: DatabaseMode) -> None:
        self.note(f"database {mode}")
        if mode == "up" and self.database_mode != "up":
            self._up(None)
        elif mode != "up" and self.database_mode == "up":
            self._down_since[None] = self.now()
        self.database_mode = mode

    def _up(self, owner: Owner | None) -> None:
        self.downtimes.append((owner, self._down_since.pop(owner), self.now()))

    def outlasted_a_lease(self, mail: Mail) -> bool:
        """Whether its sender, or the database, was out of action until the claim had run out."""
        ends = mail.claimed_at + POLICY.lease
        times = [*self.downtimes, *((who, since, self.now()) for who, since in self._down_since.items())]
        # After an outage a commit takes its time: the group waits, and the outcome is tried anew every second or so.
        slack = timedelta(seconds=15)
        return any(
            who in (None, mail.sender) and since <= ends and until + slack >= ends for who, since, until in times
        )

    def is_accepted(self, mail: Mail) -> bool:
        return (mail.invitation_id, mail.send) in self.accepted

    # --- mails -----------------------------------------------------------------------------------------------------

    def took(self, mail: Mail) -> None:
        """The mail server has taken a message."""
        self.note(f"mail {mail.invitation_id[:4]} send {mail.send} by {mail.sender.name}")
        key = (mail.invitation_id, mail.send)
        before = [m for m in self.mails if (m.invitation_id, m.send) == key]
        if before and (before[0].message_id, before[0].link) != (mail.message_id, mail.link):
            self.violations.append(f"copies of send {key} differ in link or Message-ID")
        others = [m for m in self.mails if m.message_id == mail.message_id and m.send != mail.send]
        if others:
            self.violations.append(f"one Message-ID for two sends: {mail.message_id}")
        accepted = self.accepted.get(key)
        if accepted is not None and accepted < mail.claimed_at:
            self.violations.append(f"send {key} was claimed again after its acceptance was committed")
        self.mails.append(mail)

    def _died_unsure(self, mail: Mail) -> bool:
        """Whether the sender died before the acceptance of this send was committed."""
        death = self.deaths.get(mail.sender)
        accepted = self.accepted.get((mail.invitation_id, mail.send))
        return death is not None and (accepted is None or accepted > death)

    def check_copies(self) -> None:
        """No more copies of a send than there are causes."""
        sends: dict[tuple[str, int], list[Mail]] = defaultdict(list)
        for mail in self.mails:
            sends[mail.invitation_id, mail.send].append(mail)
        for key, copies in sends.items():
            excused = 0
            for mail in copies:
                if mail.answer_lost:
                    mail.excuse = "answer lost"
                elif self._died_unsure(mail):
                    mail.excuse = "death"
                elif self.outlasted_a_lease(mail):
                    mail.excuse = "lease outlasted"
                excused += mail.excuse is not None
            if len(copies) - 1 > excused:
                self.violations.append(f"send {key} went out {len(copies)} times, with {excused} causes for copies")


def _nobody() -> Any:
    import contextvars

    return contextvars.Context()
