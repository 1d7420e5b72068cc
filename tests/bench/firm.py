"""A firm of the directory that invites people, as its own program would: over HTTP, with its API key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Self

from convive_contracts import DIRECTORY_SOURCE, invitation_id
from tests.bench.running import DIRECTORY, Running, call
from tests.bench.stage import Stage

_FIRST_NAMES = ("Jeanne", "Oliver", "Zoé", "Amélie", "Noah", "Chloé", "Karim", "Inès")
_LAST_NAMES = ("Martin", "Bennett", "Lefèvre", "Dubois", "Nguyễn", "García", "O'Connor", "Petit")


class Firm:
    def __init__(self, up: Running, key: str, dossier: str) -> None:
        self._up = up
        self.key = key
        self.dossier = dossier

    @classmethod
    async def begun(cls, up: Running) -> Self:
        """With one dossier."""
        async with up.client(DIRECTORY, up.environment["CONVIVE_ADMIN_TOKEN"]) as admin:
            key = (await call(admin, "POST", "/v1/cabinets", json={"name": "Cabinet Léger"}))["api_key"]
        async with up.client(DIRECTORY, key) as client:
            dossier = (await call(client, "POST", "/v1/dossiers", json={"name": "Boulangerie Martin"}))["id"]
        return cls(up, key, dossier)

    async def invite(self, stage: Stage, people: int) -> list[str]:
        """Import so many and return when the mails are out: the ids of their invitations."""
        rows = (f"{one['first_name']},{one['last_name']},{one['email']}" for one in persons(people))
        table = "\n".join(["First name,Last name,E-mail", *rows]).encode()
        path = f"/v1/imports?dossier_id={self.dossier}"
        async with self._up.client(DIRECTORY, self.key) as client:
            made = await call(client, "POST", path, data=table, headers={"Content-Type": "text/csv"})
            await call(client, "POST", f"/v1/imports/{made['id']}/start", json={"invite_by": "email"})
            while await stage.count_invitations({"state": "sent"}) < people:
                await asyncio.sleep(0.2)
            members: list[Any] = []
            cursor = ""
            while True:
                more = f"&cursor={cursor}" if cursor else ""
                page = await call(client, "GET", f"/v1/dossiers/{self.dossier}/members?limit=200{more}")
                members += page["items"]
                if (cursor := page["next_cursor"]) is None:
                    return [invitation_id(DIRECTORY_SOURCE, member["id"]) for member in members]


def persons(count: int, *, called: str = "person") -> Iterator[dict[str, str]]:
    """People to add; no two have one address."""
    for number in range(count):
        yield {
            "first_name": _FIRST_NAMES[number % 8],
            "last_name": _LAST_NAMES[number // 8 % 8],
            "email": f"{called}.{number}@example.com",
        }
