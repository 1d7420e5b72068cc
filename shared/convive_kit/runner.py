"""Carries long jobs out, one at a time, whoever began them and whichever process died at them before."""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Generic, TypeVar

from convive_kit.errors import Retry
from convive_kit.logs import get_logger
from convive_kit.runs import Run, Runs

log = get_logger(__name__)

AT_ONCE = 500
"""How many things are done together, so that their saves travel in groups."""
_LOOK_EVERY = 2.0
_TIDY_EVERY = 3600.0

R = TypeVar("R", bound=Run)


class Runner(ABC, Generic[R]):
    """Carries out the runs of one kind; `work` is what there is to do."""

    kind: str
    """What these runs are called in the log."""

    def __init__(self, runs: Runs[R], *, owner: str, now: Callable[[], datetime]) -> None:
        self.runs = runs
        self._owner = owner
        self._now = now
        self._wakes: list[asyncio.Event] = []

    @abstractmethod
    async def work(self, run: R) -> bool:
        """Go on with a run from its position, recording each step; True when it has come to its end."""

    async def tidy(self) -> None:
        """Let go of what no run needs any more; called after each run, and now and then."""

    def wake(self) -> None:
        """A run was begun, or resumed: look now."""
        for wake in self._wakes:
            wake.set()

    async def run(self, *, dry_run: bool | None = None) -> None:
        """Look for runs until cancelled; an outage is waited out and the run goes on where it was. `dry_run` narrows it
        to those that only look, or to the others: with a loop for each, a preview does not wait for a long run."""
        wake = asyncio.Event()
        self._wakes.append(wake)
        tidied = -math.inf
        while True:
            try:
                run = await self.runs.claim(self._owner, self._now(), dry_run=dry_run)
                if run is not None:
                    await self.carry_out(run)
                if run is not None or time.monotonic() - tidied > _TIDY_EVERY:
                    await self.tidy()
                    tidied = time.monotonic()
                if run is not None:
                    continue
            except Retry as away:
                log.warning("run.waits", kind=self.kind, cause=away.slug)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await wake.wait()
            wake.clear()

    async def carry_out(self, run: R) -> None:
        """Bring a claimed run to its end. Raises `Retry` in an outage, having given it back."""
        log.info("run.begun", kind=self.kind, run=run.id)
        try:
            if not await self.work(run):
                await self.runs.give_back(run, self._owner)
                return
            run.status = "done"
        except Retry:
            with suppress(Retry):
                await self.runs.give_back(run, self._owner)
            raise
        except Exception as error:
            log.exception("run.failed", kind=self.kind, run=run.id)
            run.status, run.error = "failed", type(error).__name__
        await self.runs.end(run, self._owner, self._now())
        log.info("run.ended", kind=self.kind, run=run.id, status=run.status, done=run.done, failed=run.failed)

    async def record(self, run: R) -> bool:
        """Save how far a run has come; False when it is to be left alone."""
        return await self.runs.record(run, self._owner, self._now())


class Pace:
    """Keeps a run to its rate."""

    def __init__(self, rate: float | None) -> None:
        """`rate`: things per second; None for as fast as it goes."""
        self._rate = rate
        self._began = time.monotonic()
        self._done = 0
        self.at_once = AT_ONCE if rate is None else max(1, min(AT_ONCE, int(rate)))

    async def keep(self, done: int) -> None:
        """After `done` more, wait until it is time to go on."""
        if self._rate is not None:
            self._done += done
            await asyncio.sleep(max(self._done / self._rate - (time.monotonic() - self._began), 0))
