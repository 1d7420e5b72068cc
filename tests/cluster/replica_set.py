"""A MongoDB replica set of three, with the settings a new one has: an election begins ten seconds after the primary was
last heard of."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local.addresses import LOOPBACK
from deploy.local.database import Database
from tests.speaking import until

NAME = "convive"
_SECONDARY = 2
_WITHIN = 60.0


class Member(Database):
    """One server of the set, that waits to be told of the others."""

    @property
    def host(self) -> str:
        return f"{LOOPBACK}:{self._port}"

    async def _is_primary(self, client: AsyncMongoClient[dict[str, Any]]) -> bool:
        # What a server of a set of its own would be told here, the set tells all of them.
        await client.admin.command("hello")
        return True

    def client(self) -> AsyncMongoClient[dict[str, Any]]:
        """To this member alone, whatever it is."""
        options = "directConnection=true&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000&socketTimeoutMS=5000"
        return AsyncMongoClient(f"mongodb://{self.host}/?{options}")


class ReplicaSet:
    """Three members under `folder`.

    async with ReplicaSet(folder) as database:
        client = AsyncMongoClient(database.url)
        primary = await database.primary()
        primary.kill()
    """

    def __init__(self, folder: Path, members: int = 3) -> None:
        self.members = [Member(folder / f"mongo-{number}", cache_gb=0.25) for number in range(members)]

    @property
    def url(self) -> str:
        """Of all members."""
        return f"mongodb://{','.join(member.host for member in self.members)}/?replicaSet={NAME}"

    async def start(self) -> Self:
        """Start all members, make a set of them, and wait until it has a primary that all follow."""
        for member in self.members:  # one after another: each looks for its port
            await member.start()
        fresh = {"_id": NAME, "members": [{"_id": at, "host": each.host} for at, each in enumerate(self.members)]}
        async with self.members[0].client() as client:
            with suppress(OperationFailure):  # it was one before
                await client.admin.command("replSetInitiate", fresh)
            told: Mapping[str, Any] = await client.admin.command("replSetGetConfig")
        assert told["config"]["settings"]["electionTimeoutMillis"] == timedelta(seconds=10) / timedelta(milliseconds=1)
        # Of itself a new set holds its first election after as long a silence as any other.
        await until(self._elected, within=_WITHIN, what="a first election")
        await asyncio.gather(*(self.until_caught_up(member) for member in self.members))
        return self

    async def primary(self) -> Member:
        """The primary, once there is one that the others follow."""

        async def found() -> Member | None:
            for member in self.members:
                if member.server.alive and (await self._told(member, "hello")).get("isWritablePrimary"):
                    return member
            return None

        primary = await until(found, within=_WITHIN, what="a primary")
        assert primary is not None
        return primary

    async def until_caught_up(self, member: Member) -> None:
        """Wait until a member has all that the primary has by now."""

        async def there() -> bool:
            status = await self._told(member, "replSetGetStatus")
            own = next((one for one in status.get("members", ()) if one.get("self")), {})
            return (own.get("state") == _SECONDARY and own["optime"]["ts"] >= goal) or own.get("state") == 1

        primary = await self.primary()
        goal: Any = (await self._told(primary, "replSetGetStatus"))["optimes"]["appliedOpTime"]["ts"]
        await until(there, within=_WITHIN, what=f"{member.host} has caught up")

    async def close(self) -> None:
        """End all members at once."""
        for member in self.members:
            await member.close()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _elected(self) -> bool:
        return bool(await self._told(self.members[0], "replSetStepUp"))

    async def _told(self, member: Member, command: str) -> Mapping[str, Any]:
        """What a member answers; nothing while it does not."""
        try:
            async with member.client() as client:
                return await client.admin.command(command)
        except PyMongoError:
            return {}
