"""The programs that invite people and deal with them: on the directory's API, on the bus, as operators."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from convive_contracts.envelope import rfc3339
from convive_contracts.events import DIRECTORY_SOURCE
from tests.chaos.callers import Answer, Publisher, Web
from tests.chaos.ledger import PAYROLL, Guest, Ledger
from tests.chaos.sink import UNWANTED, MailSink

_SPACE = UUID("3b3d1f0a-52a4-4df0-8a0e-2f6a5a0c7b51")
_PER_DOSSIER = 20
_CREATED_TWICE = 0.25
_IN_BULK = 0.15
SOON = 6.0
"""Seconds until a link ends whose life is cut short."""
_PARTS = ("member", "dossier", "cabinet")


@dataclass(frozen=True, slots=True)
class Desk:
    """What everybody works with; the tokens are those of an operator and of who makes cabinets."""

    web: Web
    publisher: Publisher
    sink: MailSink
    ledger: Ledger
    ops_token: str
    admin_token: str
    state: Callable[[str], Awaitable[str | None]]
    """Where an invitation stands, read from the database by a line that no fault disturbs."""


class Office:
    """Everything that is asked for in a guest's name. Each method returns once there is a definite answer."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk = desk
        self._seed = seed
        self._cabinet = ""
        self._key = ""
        self._dossiers: list[str] = []
        self._late: set[asyncio.Task[None]] = set()

    async def open(self, guests: int) -> None:
        """Make the cabinet and its dossiers, while nothing is wrong yet."""
        web, admin = self.desk.web, self.desk.admin_token
        cabinet = await web.call("directory", "POST", "/v1/cabinets", json={"name": "Cabinet Orage"}, token=admin)
        self._cabinet, self._key = cabinet.body["id"], cabinet.body["api_key"]
        for number in range(max(guests // _PER_DOSSIER, 1)):
            body = {"name": f"Dossier {number}"}
            dossier = await web.call("directory", "POST", "/v1/dossiers", json=body, token=self._key)
            self._dossiers.append(dossier.body["id"])

    async def open_dossier_for(self, guest: Guest) -> None:
        """A dossier for one guest alone: the same address is in each dossier only once."""
        body = {"name": f"Second dossier {guest.number}"}
        headers = {"Idempotency-Key": f"dossier of {guest.number}"}
        answer = await self.desk.web.call(
            "directory", "POST", "/v1/dossiers", json=body, token=self._key, headers=headers
        )
        guest.dossier_id = answer.body["id"]

    # --- being invited ---------------------------------------------------------------------------------------------

    def guest(self, number: int, story: str, source: str) -> Guest:
        id = str(uuid5(_SPACE, f"{self._seed} {number}"))
        local = f"{UNWANTED if story == 'unwanted' else ''}{story}.{id[:13]}"
        guest = Guest(number, story, f"{local}@example.com", source)
        guest.addresses.add(guest.email)
        guest.dossier_id = self._dossiers[number % len(self._dossiers)]
        guest.cabinet_id = self._cabinet
        if source != DIRECTORY_SOURCE:
            guest.member_id = id
        self.desk.ledger.guests.append(guest)
        return guest

    async def invite(self, guest: Guest, chance: random.Random, invite_by: str = "email") -> None:
        if guest.own:
            body = {"first_name": "Ondine", "last_name": "Tempête", "email": guest.email, "invite_by": invite_by}
            path = f"/v1/dossiers/{guest.dossier_id}/members"
            headers = {"Idempotency-Key": f"guest {guest.number} {guest.story}"}
            answer = await self.desk.web.call("directory", "POST", path, json=body, token=self._key, headers=headers)
            if answer.status != 201:
                self._wonder(guest, "added as a member", answer)
                return
            guest.member_id = answer.body["id"]
        else:
            event = self._event(guest, "user.created", self._data(guest, invite_by))
            key = "user.created.bulk" if chance.random() < _IN_BULK else "user.created"
            copies = chance.randint(2, 3) if chance.random() < _CREATED_TWICE else 1
            await asyncio.gather(*(self.desk.publisher.publish(key, event) for _ in range(copies)))
            if copies > 2:
                again = asyncio.create_task(self._once_more(key, event, chance.uniform(0, 15)))
                self._late.add(again)
                again.add_done_callback(self._late.discard)
        guest.accepted = True

    async def _once_more(self, key: str, event: Mapping[str, Any], later: float) -> None:
        await asyncio.sleep(later)
        await self.desk.publisher.publish(key, event)

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

    async def remove(self, guest: Guest, sequence: int | None = None) -> None:
        if guest.own:
            path = f"/v1/dossiers/{guest.dossier_id}/members/{guest.member_id}"
            answer = await self.desk.web.call("directory", "DELETE", path, token=self._key)
            if answer.status != 204 and not (answer.unclear and answer.status == 404):
                self._wonder(guest, "removal", answer)
                return
        else:
            data = self._data(guest)
            parts = {part: {"id": data[part]["id"]} for part in _PARTS}
            event = self._event(guest, "user.removed", parts, sequence)
            await self.desk.publisher.publish("user.removed", event)
        guest.removed = True

    async def add_again(self, guest: Guest) -> None:
        """The same member once more, after a removal."""
        await self.desk.publisher.publish("user.created", self._event(guest, "user.created", self._data(guest)))

    async def rename(self, guest: Guest, first_name: str, sequence: int) -> None:
        data = self._data(guest, first_name=first_name)
        await self.desk.publisher.publish("user.updated", self._event(guest, "user.updated", data, sequence))

    async def state(self, guest: Guest) -> str | None:
        """Where the invitation stands, as operators see it; None while there is none."""
        path = f"/v1/invitations/{guest.invitation_id}"
        answer = await self.desk.web.call("invitation", "GET", path, token=self.desk.ops_token)
        return answer.body["state"] if answer.status == 200 else None

    async def change_address(self, guest: Guest) -> None:
        guest.email = f"moved.{guest.email}"
        guest.addresses.add(guest.email)
        guest.new_links += 1
        if guest.own:
            path = f"/v1/dossiers/{guest.dossier_id}/members/{guest.member_id}"
            answer = await self.desk.web.call("directory", "PATCH", path, json={"email": guest.email}, token=self._key)
            if answer.status != 200:
                self._wonder(guest, "change of address", answer)
        else:
            await self.desk.publisher.publish("user.updated", self._event(guest, "user.updated", self._data(guest)))

    async def request(self, guest: Guest, what: str) -> None:
        """Ask on the bus, as any program may; the same event twice now and then."""
        data = {"invitation_id": guest.invitation_id, "reason": "a fault run", "requested_by": "chaos"}
        event = {**self._event(guest, f"invitation.{what}", data), "source": "/chaos/helpdesk"}
        del event["sequence"]
        for _ in range(2):
            await self.desk.publisher.publish(f"invitation.{what}", event)

    async def operate(self, guest: Guest, action: str, **body: Any) -> None:
        path = f"/v1/invitations/{guest.invitation_id}/{action}"
        answer = await self.desk.web.call("invitation", "POST", path, json=body, token=self.desk.ops_token)
        guest.new_links += answer.tries if action == "resend" else 0
        done_before = answer.unclear and answer.status == 409 and action == "revoke"
        if answer.status != 202 and not done_before:
            self._wonder(guest, action, answer)

    async def end_soon(self, guest: Guest) -> None:
        """Have the link end in some seconds. Where the call takes longer than that, the answer is a no (422)."""
        path = f"/v1/invitations/{guest.invitation_id}/extend"
        until = {"until": rfc3339(datetime.now(UTC) + timedelta(seconds=SOON))}
        answer = await self.desk.web.call("invitation", "POST", path, json=until, token=self.desk.ops_token)
        if answer.status not in (202, 422):
            self._wonder(guest, "end soon", answer)

    async def poison(self, number: int) -> None:
        """What can never be handled must end in the parking place, whatever else happens."""
        wrong = {"specversion": "1.0", "id": f"poison.{number}", "source": PAYROLL, "subject": str(number), "data": {}}
        choices: list[tuple[str, bytes | dict[str, Any]]] = [
            ("user.created", f"not JSON {self._seed} {number}".encode()),
            ("user.exploded", {**wrong, "type": "convive.user.exploded.v1"}),
            ("user.created", {**wrong, "type": "convive.user.created.v1"}),
            ("usr.created", f"mistyped key {self._seed} {number}".encode()),
        ]
        key, body = choices[number % len(choices)]
        raw = body if isinstance(body, bytes) else repr(body).replace("'", '"').encode()
        self.desk.ledger.poison.add(hashlib.sha256(raw).hexdigest())
        await self.desk.publisher.publish(key, raw)

    def _wonder(self, guest: Guest, what: str, answer: Answer) -> None:
        who = f"guest {guest.number} ({guest.story})"
        self.desk.ledger.surprises.append(f"{who}: {what}: {answer.status} {answer.body}, {answer.tries} tries"[:600])
