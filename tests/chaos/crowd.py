"""Everybody who is invited, and what becomes of each."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from convive_contracts.envelope import rfc3339
from convive_contracts.events import DIRECTORY_SOURCE
from tests.chaos.ledger import PAYROLL, Guest
from tests.chaos.office import SOON, Desk, Office
from tests.chaos.people import Person

_POISON_PER = 60


class Crowd:
    """Invites `count` people over `seconds`, evenly but for chance, and lives their stories."""

    def __init__(self, desk: Desk, seed: int, count: int, seconds: float) -> None:
        self._desk = desk
        self._office = Office(desk, seed)
        self._seed = seed
        self._count = count
        self.seconds = seconds
        self._stories: set[asyncio.Task[None]] = set()
        self._ended = False
        self._residents: list[tuple[str, str]] = []

    @property
    def unfinished(self) -> int:
        """How many stories are not told to their end."""
        return len(self._stories)

    async def prepare(self) -> None:
        """While nothing is wrong yet."""
        await self._office.open(self._count)

    async def run(self, began: float) -> None:
        """Let everybody arrive; their stories go on behind."""
        chance = random.Random(f"arrivals {self._seed}")
        # The last ones come before the last faults, which then meet them on their way.
        arrivals = sorted(chance.uniform(0, self.seconds * 0.95) for _ in range(self._count))
        for number, at in enumerate(arrivals):
            await asyncio.sleep(max(began + at - time.monotonic(), 0.0))
            self._spawn(self._live(number))
            if number % _POISON_PER == _POISON_PER // 2:
                self._spawn(self._office.poison(number // _POISON_PER))

    async def over(self, patience: float) -> None:
        """Return when every story is told to its end, or none has ended for `patience` seconds: a slow machine takes
        long, what is stuck takes for ever."""
        while self._stories:
            ended, _ = await asyncio.wait(self._stories, timeout=patience)
            if not ended:
                return

    async def end(self) -> None:
        """Give up on the stories that are not over."""
        self._ended = True
        for story in self._stories:
            story.cancel()
        await asyncio.gather(*self._stories, return_exceptions=True)

    async def probe(self, number: int) -> None:
        """Have somebody invited, from the API to the mail; returns when the invitation is sent."""
        guest = self._office.guest(-number, "probe", DIRECTORY_SOURCE)
        await self._office.invite(guest, random.Random(f"probe {self._seed} {number}"))
        while await self._desk.state(guest.invitation_id) != "sent":
            await asyncio.sleep(0.1)
        guest.ends = frozenset({"sent"})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._stories.add(task)
        task.add_done_callback(self._stories.discard)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            if not self._ended:
                self._desk.ledger.surprises.append("a story was cancelled, and not by us")
        elif error := task.exception():
            self._desk.ledger.surprises.append(f"a story broke off: {type(error).__name__}: {error}")

    # --- the stories -----------------------------------------------------------------------------------------------

    async def _live(self, number: int) -> None:
        chance = random.Random(f"guest {self._seed} {number}")
        name = chance.choices(list(_STORIES), weights=[weight for weight, _, _ in _STORIES.values()])[0]
        _, story, sources = _STORIES[name]
        guest = self._office.guest(number, name, chance.choice(sources))
        person = Person(guest, self._desk.web, self._desk.sink, self._desk.ledger, chance)
        await story(self, guest, person)

    async def _newcomer(self, guest: Guest, person: Person) -> None:
        chance = person.chance
        await self._office.invite(guest, chance)
        mail = await person.mail()
        await person.think(8)
        await person.come_in(mail, weak_first=chance.random() < 0.15, twice=chance.random() < 0.15)
        guest.ends = frozenset({"active"})
        if guest.told_passwords:
            self._residents.append((guest.email, guest.told_passwords[0]))

    async def _racer(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        await person.race(await person.mail())
        guest.ends = frozenset({"active"})

    async def _resident(self, guest: Guest, person: Person) -> None:
        """Somebody who is in already is invited to another dossier."""
        if not self._residents:
            await self._newcomer(guest, person)
            return
        guest.email, password = person.chance.choice(self._residents)
        guest.addresses.add(guest.email)
        if guest.own:
            await self._office.open_dossier_for(guest)
        await self._office.invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        await person.accept(mail, password)
        guest.ends = frozenset({"active"})

    async def _silent(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        await person.mail()
        guest.ends = frozenset({"sent"})

    async def _opener(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        await person.look(mail)
        await person.open(mail)
        guest.ends = frozenset({"opened"})

    async def _decliner(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        await person.decline(mail)
        guest.ends = frozenset({"declined"})

    async def _renewer(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        mail = await person.mail()
        await person.think(6)
        if await person.renew(mail):
            # While the first send is still to be noted as sent, it is the one that goes out again.
            await person.think(6)
        await person.come_in(await person.mail())
        guest.ends = frozenset({"active"})

    async def _unwanted(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        guest.ends = frozenset({"failed"})

    async def _later(self, guest: Guest, person: Person) -> None:
        """Added without being invited; half of them are invited later."""
        await self._office.invite(guest, person.chance, invite_by="none")
        guest.ends = frozenset({"pending"})
        if person.chance.random() < 0.5:
            guest.ends = frozenset()
            guest.new_links += 1
            await person.think()
            await self._office.request(guest, "resend_requested")
            await person.mail()
            guest.ends = frozenset({"sent"})

    async def _removed(self, guest: Guest, person: Person) -> None:
        """Removed before, during or after the mail, or with the page open."""
        await self._office.invite(guest, person.chance)
        moment = person.chance.random()
        if moment > 0.3:
            mail = await person.mail()
            if moment > 0.6:
                await person.open(mail)
        await self._office.remove(guest)
        guest.ends = frozenset({"revoked"})

    async def _removed_first(self, guest: Guest, person: Person) -> None:
        """The removal overtakes the creation; half of them are added again."""
        await self._office.remove(guest, sequence=2)
        await self._office.invite(guest, person.chance)
        guest.ends = frozenset({"revoked"})
        if person.chance.random() < 0.5:
            guest.ends = frozenset()
            guest.removed = False
            guest.new_links += 2
            while await self._desk.state(guest.invitation_id) != "revoked":
                await person.think(1)
            guest.sequence = 2
            await self._office.add_again(guest)
            mail = await person.mail()
            await person.think()
            await person.come_in(mail)
            guest.ends = frozenset({"active"})

    async def _returned(self, guest: Guest, person: Person) -> None:
        """Removed, and added again under the same id: a new life, in which old links stay dead."""
        await self._office.invite(guest, person.chance)
        await person.mail()
        await self._office.remove(guest)
        guest.removed = False
        # Else the person might be in by the old link before the removal has arrived.
        while await self._desk.state(guest.invitation_id) != "revoked":
            await person.think(1)
        guest.new_links += 2
        await self._office.add_again(guest)
        await person.come_in(await person.mail())
        guest.ends = frozenset({"active"})

    async def _mover(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        await person.mail()
        await self._office.change_address(guest)
        mail = await person.mail()
        await person.think()
        await person.come_in(mail)
        guest.ends = frozenset({"active"})

    async def _early_news(self, guest: Guest, person: Person) -> None:
        """An update comes before the creation it belongs to: it is held, and never sends."""
        await self._office.rename(guest, "Ondine-Marie", sequence=2)
        await person.think()
        await self._silent(guest, person)

    async def _resent(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        if person.chance.random() < 0.5:
            guest.new_links += 1
            await self._office.request(guest, "resend_requested")
        else:
            await self._office.operate(guest, "resend", reason="a fault run")
        mail = await person.mail(newer_than=mail)
        await person.think()
        await person.come_in(mail)
        guest.ends = frozenset({"active"})

    async def _revoked(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        await person.mail()
        if person.chance.random() < 0.5:
            await self._office.request(guest, "revoke_requested")
        else:
            await self._office.operate(guest, "revoke", reason="a fault run")
        guest.revoked = True
        guest.ends = frozenset({"revoked"})

    async def _late(self, guest: Guest, person: Person) -> None:
        """The link's life ends early; half of them ask for another."""
        await self._office.invite(guest, person.chance)
        mail = await person.mail()
        while await self._office.state(guest) != "expired":
            await self._office.end_soon(guest)
            await asyncio.sleep(SOON + 2)
        guest.ends = frozenset({"expired"})
        if person.chance.random() < 0.5 and await person.renew(mail):
            guest.ends = frozenset()
            await person.come_in(await person.mail(newer_than=mail))
            guest.ends = frozenset({"active"})

    async def _extended(self, guest: Guest, person: Person) -> None:
        await self._office.invite(guest, person.chance)
        await person.mail()
        await self._office.operate(guest, "extend", until=rfc3339(datetime.now(UTC) + timedelta(days=30)))
        guest.ends = frozenset({"sent"})


_ANYBODY = (DIRECTORY_SOURCE, PAYROLL)
_FOREIGN = (PAYROLL,)
_Story = Callable[[Crowd, Guest, Person], Awaitable[None]]
_STORIES: Mapping[str, tuple[int, _Story, tuple[str, ...]]] = {
    "newcomer": (22, Crowd._newcomer, _ANYBODY),
    "racer": (5, Crowd._racer, _ANYBODY),
    "resident": (4, Crowd._resident, _ANYBODY),
    "silent": (27, Crowd._silent, _ANYBODY),
    "opener": (6, Crowd._opener, _ANYBODY),
    "decliner": (4, Crowd._decliner, _ANYBODY),
    "renewer": (4, Crowd._renewer, _ANYBODY),
    "unwanted": (3, Crowd._unwanted, _ANYBODY),
    "later": (3, Crowd._later, _ANYBODY),
    "removed": (6, Crowd._removed, _ANYBODY),
    "removed-first": (2, Crowd._removed_first, _FOREIGN),
    "returned": (3, Crowd._returned, _FOREIGN),
    "mover": (3, Crowd._mover, _ANYBODY),
    "early-news": (2, Crowd._early_news, _FOREIGN),
    "resent": (4, Crowd._resent, _ANYBODY),
    "revoked": (3, Crowd._revoked, _ANYBODY),
    "late": (2, Crowd._late, _ANYBODY),
    "extended": (2, Crowd._extended, _ANYBODY),
}
