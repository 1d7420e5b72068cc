"""What a running service asks of its database, seen by the database's own profiler."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.running import Stack
from tests.speaking import until

_GO_ON_BY_THEMSELVES = {"replays", "bulk", "erasures", "parked", "audit", "processes"}
"""Collections that loops look into every second or so, whether or not anybody asks. No link is kept there."""
_BY_TIME = {"due_at", "due_once_armed", "outbox.at"}
"""What the due loop and the outbox look by, as often: nobody's link is found by it."""

Commands = Callable[[], Awaitable[list[dict[str, Any]]]]


@asynccontextmanager
async def profiled(stack: Stack) -> AsyncGenerator[Commands]:
    """Has the invitation database write down what is asked of it. Yields what tells the service's commands so far, but
    for what goes on by itself: so the outbox is waited for, whose entries are cleared a moment after they went out."""
    async with stack.documents() as database:

        async def announced() -> bool:
            return await database["invitations"].find_one({"outbox.0": {"$exists": True}}) is None

        async def commands() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = []
            async for entry in database["system.profile"].find({"appName": "convive"}):
                asked = entry.get("command", {})
                of_a_loop = entry["ns"].partition(".")[2] in _GO_ON_BY_THEMSELVES
                if not of_a_loop and not _BY_TIME & set(asked.get("filter", {})):
                    found.append(asked)
            return found

        await until(announced, what="every event to be published and cleared")
        await database.command("profile", 2)
        try:
            yield commands
        finally:
            await database.command("profile", 0)
            await database.drop_collection("system.profile")
