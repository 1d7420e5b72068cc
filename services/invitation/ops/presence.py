"""A process says that it is there and how it finds its providers: whoever operates sees all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from convive_kit.errors import Retry
from invitation.store.processes import Processes, ProcessSeen


class Presence:
    """See the module."""

    def __init__(self, processes: Processes, seen: Callable[[], ProcessSeen]) -> None:
        """`seen()` is what there is to say now."""
        self._processes = processes
        self._seen = seen

    async def run(self, *, every: float = 5.0) -> None:
        """Say so every so many seconds until cancelled; in an outage there is nobody to tell."""
        while True:
            with suppress(Retry):
                await self._processes.say(self._seen())
            await asyncio.sleep(every)

    async def leave(self) -> None:
        """Be gone at once, rather than after a while without a word."""
        with suppress(Retry):
            await self._processes.leave(self._seen().id)
