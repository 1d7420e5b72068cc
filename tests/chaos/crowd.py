"""Everybody who is invited, through the directory's API or by a foreign publisher, and what becomes of them."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from convive_contracts.envelope import rfc3339
from convive_contracts.events import DIRECTORY_SOURCE
from tests.chaos.callers import Answer, Publisher, Web
from tests.chaos.ledger import PAYROLL, Guest, Ledger
from tests.chaos.people import Person
from tests.chaos.sink import UNWANTED, MailSink

_SPACE = UUID("3b3d1f0a-52a4-4df0-8a0e-2f6a5a0c7b51")
_PER_DOSSIER = 20
_POISON_PER = 60
_CREATED_TWICE = 0.25
_IN_BULK = 0.15


@dataclass(frozen=True, slots=True)
class Desk:
    """What the crowd works with; the tokens are those of an operator and of the cabinet's program."""

    web: Web
    publisher: Publisher
    sink: MailSink
    ledger: Ledger
    ops_token: str
    admin_token: str


class Crowd:
    """Invites `count` people over `seconds`, evenly but for chance, and lives their stories."""

    def __init__(self, desk: Desk, seed: int, count: int, seconds: float) -> None:
        self._desk = desk
        self._seed = seed
        self._count = count
        self.seconds = seconds
        self._cabinet = ""
        self._key = ""
        self._dossiers: list[str] = []
        self._stories: set[asyncio.Task[None]] = set()
        self._residents: list[tuple[str, str]] = []

    @property
    def unfinished(self) -> int:
        """How many stories are not told to their end."""
        return len(self._stories)

    async def prepare(self) -> None:
        """Make the cabinet and its dossiers, while nothing is wrong yet."""
        web, admin = self._desk.web, self._desk.admin_token
        cabinet = await web.call("directory", "POST", "/v1/cabinets", json={"name": "Cabinet Orage"}, token=admin)
        self._cabinet, self._key = cabinet.body["id"], cabinet.body["api_key"]
        for number in range(max(self._count // _PER_DOSSIER, 1)):
            body = {"name": f"Dossier {number}"}
            dossier = await web.call("directory", "POST", "/v1/dossiers", json=body, token=self._key)
            self._dossiers.append(dossier.body["id"])

    async def run(self, began: float) -> None:
        """Let everybody arrive; their stories go on behind."""
        chance = random.Random(f"arrivals {self._seed}")
        # The last ones come before the last faults, which then meet them on their way.
        arrivals = sorted(chance.uniform(0, self.seconds * 0.95) for _ in range(self._count))
        for number, at in enumerate(arrivals):
            await asyncio.sleep(max(began + at - time.monotonic(), 0.0))
            self._spawn(self._live(number))
            if number % _POISON_PER == _POISON_PER // 2:
                self._spawn(self._poison(number))

    async def over(self, within: float) -> None:
        """Return when every story is told to its end, or `within` seconds have passed."""
        if self._stories:
            await asyncio.wait(self._stories, timeout=within)

    async def end(self) -> None:
        """Give up on the stories that are not over."""
        for story in self._stories:
            story.cancel()
        await asyncio.gather(*self._stories, return_exceptions=True)

    async def probe(self, number: int, sent: Callable[[str], Awaitable[bool]]) -> None:
        """Have somebody invited, from the API to the mail; returns when the invitation is sent."""
        guest = self._guest(-number, "probe", DIRECTORY_SOURCE)
        await self._invite(guest, random.Random(f"probe {self._seed} {number}"))
        while not await sent(guest.invitation_id):
            await asyncio.sleep(0.1)
        guest.ends = frozenset({"sent"})

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._stories.add(task)
        task.add_done_callback(self._stories.discard)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._desk.ledger.surprises.append(f"a story broke off: {type(error).__name__}: {error}")

    # --- being invited ---------------------------------------------------------------------------------------------

    def _guest(self, number: int, story: str, source: str) -> Guest:
        id = str(uuid5(_SPACE, f"{self._seed} {number}"))
        local = f"{UNWANTED if story == 'unwanted' else ''}{story}.{id[:13]}"
        guest = Guest(number, story, f"{local}@example.com", source)
        guest.addresses.add(guest.email)
        guest.dossier_id = self._dossiers[number % len(self._dossiers)]
        guest.cabinet_id = self._cabinet
        if source != DIRECTORY_SOURCE:
            guest.member_id = id
        self._desk.ledger.guests.append(guest)
        return guest

    async def _invite(self, guest: Guest, chance: random.Random, invite_by: str = "email") -> None:
        if guest.own:
            body = {"first_name": "Ondine", "last_name": "Tempête", "email": guest.email, "invite_by": invite_by}
            path = f"/v1/dossiers/{guest.dossier_id}/members"
            headers = {"Idempotency-Key": f"guest {guest.number} {guest.story}"}
            answer = await self._desk.web.call("directory", "POST", path, json=body, token=self._key, headers=headers)
            if answer.status != 201:
                self._wonder(guest, "added as a member", answer)
                return
            guest.member_id = answer.body["id"]
        else:
            event = self._event(guest, "user.created", self._data(guest, invite_by))
            key = "user.created.bulk" if chance.random() < _IN_BULK else "user.created"
            copies = chance.randint(2, 3) if chance.random() < _CREATED_TWICE else 1
            await asyncio.gather(*(self._desk.publisher.publish(key, event) for _ in range(copies)))
            if copies > 2:
                self._spawn(self._once_more(key, event, chance.uniform(0, 15)))
        guest.accepted = True
        guest.mail_expected = invite_by == "email"

    async def _once_more(self, key: str, event: Mapping[str, Any], later: float) -> None:
        await asyncio.sleep(later)
        await self._desk.publisher.publish(key, event)

    def _data(self, guest: Guest, invite_by: str = "email", first_name: str = "Ondine") -> dict[str, Any]:
        return {
            "member": {"id": guest.member_id, "first_name": first_name, "last_name": "Tempête", "email": guest.email},
            "dossier": {"id": guest.dossier_id, "name": "Dossier"},
            "cabinet": {"id": guest.cabinet_id, "name": "Cabinet Orage"},
            "invite_by": invite_by,
        }

    def _event(self, guest: Guest, short: str, data: Any, sequence: int | None = None) -> dict[str, Any]:
        """The next event about a guest; `sequence` for one that is published out of order."""
        if sequence is None:
            guest.sequence += 1
            sequence = guest.sequence
        return {
            "specversion": "1.0",
            "id": f"{guest.member_id}.{short}.{sequence}",
            "source": guest.source,
            "type": f"convive.{short}.v1",
            "subject": guest.member_id,
            "sequence": str(sequence),
            "time": rfc3339(datetime.now(UTC)),
            "datacontenttype": "application/json",
            "data": data,
        }

    # --- being dealt with ------------------------------------------------------------------------------------------

    async def _remove(self, guest: Guest) -> None:
        if guest.own:
            path = f"/v1/dossiers/{guest.dossier_id}/members/{guest.member_id}"
            answer = await self._desk.web.call("directory", "DELETE", path, token=self._key)
            if answer.status != 204 and not (answer.unclear and answer.status == 404):
                self._wonder(guest, "removal", answer)
                return
        else:
            data = self._data(guest)
            event = self._event(guest, "user.removed", {part: {"id": data[part]["id"]} for part in _PARTS})
            await self._desk.publisher.publish("user.removed", event)
        guest.removed = True

    async def _change_address(self, guest: Guest) -> None:
        guest.email = f"moved.{guest.email}"
        guest.addresses.add(guest.email)
        guest.new_links += 1
        if guest.own:
            path = f"/v1/dossiers/{guest.dossier_id}/members/{guest.member_id}"
            answer = await self._desk.web.call("directory", "PATCH", path, json={"email": guest.email}, token=self._key)
            if answer.status != 200:
                self._wonder(guest, "change of address", answer)
        else:
            await self._desk.publisher.publish("user.updated", self._event(guest, "user.updated", self._data(guest)))

    async def _request(self, guest: Guest, what: str) -> None:
        """Ask on the bus, as any program may; the same event twice now and then."""
        data = {"invitation_id": guest.invitation_id, "reason": "a fault run", "requested_by": "chaos"}
        event = {**self._event(guest, f"invitation.{what}", data), "source": "/chaos/helpdesk"}
        del event["sequence"]
        for _ in range(2):
            await self._desk.publisher.publish(f"invitation.{what}", event)

    async def _operate(self, guest: Guest, action: str, **body: Any) -> None:
        path = f"/v1/invitations/{guest.invitation_id}/{action}"
        answer = await self._desk.web.call("invitation", "POST", path, json=body, token=self._desk.ops_token)
        guest.new_links += answer.tries if action == "resend" else 0
        done_before = answer.unclear and answer.status == 409 and action == "revoke"
        if answer.status != 202 and not done_before:
            self._wonder(guest, action, answer)

    async def _poison(self, number: int) -> None:
        """What can never be handled must end in the parking place, whatever else happens."""
        wrong = {"specversion": "1.0", "id": f"poison.{number}", "source": PAYROLL, "subject": str(number), "data": {}}
        choices: list[tuple[str, bytes | dict[str, Any]]] = [
            ("user.created", f"not JSON {self._seed} {number}".encode()),
            ("user.exploded", {**wrong, "type": "convive.user.exploded.v1"}),
            ("user.created", {**wrong, "type": "convive.user.created.v1"}),
            ("usr.created", f"mistyped key {self._seed} {number}".encode()),
        ]
        key, body = choices[number // _POISON_PER % len(choices)]
        raw = body if isinstance(body, bytes) else repr(body).replace("'", '"').encode()
        self._desk.ledger.poison.add(hashlib.sha256(raw).hexdigest())
        await self._desk.publisher.publish(key, raw)

    # --- the stories -----------------------------------------------------------------------------------------------

    async def _live(self, number: int) -> None:
        chance = random.Random(f"guest {self._seed} {number}")
        name = chance.choices(list(_STORIES), weights=[weight for weight, _, _ in _STORIES.values()])[0]
        _, story, sources = _STORIES[name]
        guest = self._guest(number, name, chance.choice(sources))
        person = Person(guest, self._desk.web, self._desk.sink, self._desk.ledger, chance)
        await story(self, guest, person)

    async def _newcomer(self, guest: Guest, person: Person) -> None:
        chance = person.chance
        await self._invite(guest, chance)
        mail = await person.mail()
        await person.think(8)
        await person.come_in(mail, weak_first=chance.random() < 0.15, twice=chance.random() < 0.15)
        guest.ends = frozenset({"active"})
        if guest.told_passwords:
            self._residents.append((guest.email, guest.told_passwords[0]))

    async def _racer(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        await person.race(await person.mail())
        guest.ends = frozenset({"active"})

    async def _resident(self, guest: Guest, person: Person) -> None:
        """Somebody who is in already is invited to another dossier."""
        if not self._residents:
            await self._newcomer(guest, person)
            return
        guest.email, password = person.chance.choice(self._residents)
        guest.addresses.add(guest.email)
        # A dossier of their own: the same address is in each dossier only once.
        if guest.own:
            body = {"name": f"Second dossier {guest.number}"}
            headers = {"Idempotency-Key": f"dossier of {guest.number}"}
            web = self._desk.web
            made = await web.call("directory", "POST", "/v1/dossiers", json=body, token=self._key, headers=headers)
            guest.dossier_id = made.body["id"]
        await self._invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        await person.accept(mail, password)
        guest.ends = frozenset({"active"})

    async def _silent(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        await person.mail()
        guest.ends = frozenset({"sent"})

    async def _opener(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        await person.look(mail)
        await person.open(mail)
        guest.ends = frozenset({"opened"})

    async def _decliner(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        await person.decline(mail)
        guest.ends = frozenset({"declined"})

    async def _renewer(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        mail = await person.mail()
        await person.think(6)
        if await person.renew(mail):
            # While the first send is still to be noted as sent, it is the one that goes out again.
            await person.think(6)
        await person.come_in(await person.mail())
        guest.ends = frozenset({"active"})

    async def _unwanted(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        guest.mail_expected = False
        guest.ends = frozenset({"failed"})

    async def _later(self, guest: Guest, person: Person) -> None:
        """Added without being invited; half of them are invited later."""
        await self._invite(guest, person.chance, invite_by="none")
        guest.ends = frozenset({"pending"})
        if person.chance.random() < 0.5:
            guest.ends = frozenset()
            guest.new_links += 1
            await person.think()
            await self._request(guest, "resend_requested")
            await person.mail()
            guest.mail_expected = True
            guest.ends = frozenset({"sent"})

    async def _removed(self, guest: Guest, person: Person) -> None:
        """Removed before, during or after the mail, or with the page open."""
        await self._invite(guest, person.chance)
        moment = person.chance.random()
        if moment > 0.3:
            mail = await person.mail()
            if moment > 0.6:
                await person.open(mail)
        await self._remove(guest)
        guest.ends = frozenset({"revoked"})

    async def _removed_first(self, guest: Guest, person: Person) -> None:
        """The removal overtakes the creation."""
        data = self._data(guest)
        parts = {part: {"id": data[part]["id"]} for part in _PARTS}
        await self._desk.publisher.publish("user.removed", self._event(guest, "user.removed", parts, sequence=2))
        guest.removed = True
        await self._invite(guest, person.chance)
        guest.mail_expected = False
        guest.ends = frozenset({"revoked"})

    async def _returned(self, guest: Guest, person: Person) -> None:
        """Removed, and added again under the same id: a new life, in which old links stay dead."""
        await self._invite(guest, person.chance)
        if person.chance.random() < 0.7:
            await person.mail()
        await self._remove(guest)
        guest.removed = False
        # Else the person might be in by the old link before the removal has arrived.
        path = f"/v1/invitations/{guest.invitation_id}"
        while True:
            seen = await self._desk.web.call("invitation", "GET", path, token=self._desk.ops_token)
            if seen.status == 200 and seen.body["state"] == "revoked":
                break
            await person.think(1)
        guest.new_links += 2
        await self._desk.publisher.publish("user.created", self._event(guest, "user.created", self._data(guest)))
        await person.come_in(await person.mail())
        guest.ends = frozenset({"active"})

    async def _mover(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        await person.mail()
        await self._change_address(guest)
        mail = await person.mail()
        await person.think()
        await person.come_in(mail)
        guest.ends = frozenset({"active"})

    async def _early_news(self, guest: Guest, person: Person) -> None:
        """An update comes before the creation it belongs to: it is held, and never sends."""
        data = self._data(guest, first_name="Ondine-Marie")
        await self._desk.publisher.publish("user.updated", self._event(guest, "user.updated", data, sequence=2))
        await person.think()
        await self._silent(guest, person)

    async def _resent(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        mail = await person.mail()
        await person.think()
        if person.chance.random() < 0.5:
            guest.new_links += 1
            await self._request(guest, "resend_requested")
        else:
            await self._operate(guest, "resend", reason="a fault run")
        mail = await person.mail(newer_than=mail)
        await person.think()
        await person.come_in(mail)
        guest.ends = frozenset({"active"})

    async def _revoked(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        await person.mail()
        if person.chance.random() < 0.5:
            await self._request(guest, "revoke_requested")
        else:
            await self._operate(guest, "revoke", reason="a fault run")
        guest.revoked = True
        guest.ends = frozenset({"revoked"})

    async def _extended(self, guest: Guest, person: Person) -> None:
        await self._invite(guest, person.chance)
        await person.mail()
        await self._operate(guest, "extend", until=rfc3339(datetime.now(UTC) + timedelta(days=30)))
        guest.ends = frozenset({"sent"})

    def _wonder(self, guest: Guest, what: str, answer: Answer) -> None:
        who = f"guest {guest.number} ({guest.story})"
        self._desk.ledger.surprises.append(f"{who}: {what}: {answer.status} {answer.body}, {answer.tries} tries"[:600])


_PARTS = ("member", "dossier", "cabinet")
_ANYBODY = (DIRECTORY_SOURCE, PAYROLL)
_FOREIGN = (PAYROLL,)
_Story = Callable[[Crowd, Guest, Person], Awaitable[None]]
_STORIES: Mapping[str, tuple[int, _Story, tuple[str, ...]]] = {
    "newcomer": (34, Crowd._newcomer, _ANYBODY),
    "racer": (5, Crowd._racer, _ANYBODY),
    "resident": (4, Crowd._resident, _ANYBODY),
    "silent": (15, Crowd._silent, _ANYBODY),
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
    "extended": (2, Crowd._extended, _ANYBODY),
}
