"""Passwords: hashed by argon2id in a bounded pool, so that sign-ins never hold up other requests."""

from __future__ import annotations

import asyncio
import base64
import os
import sys
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from convive_kit.errors import Retry
from convive_kit.passwords import LONGEST, SHORTEST
from directory.model.refusals import FieldRefused

_LONGEST_HASH = 1.0
_LONGEST_WAIT = 60.0
_STEPS_BACK = 5

Result = TypeVar("Result")


class PasswordsBusy(Retry):
    """Too many people are signing in at this moment."""

    slug = "busy"


def refuse_unfit(password: str) -> None:
    """Raises `FieldRefused` for a new password that is too short or too long. What makes one good beyond its length is
    judged where it is chosen, with the person's names."""
    if len(password) < SHORTEST:
        raise FieldRefused(f"Choose a password of at least {SHORTEST} characters.", field="password")
    if len(password) > LONGEST:
        raise FieldRefused(f"Choose a password of at most {LONGEST} characters.", field="password")


class Passwords:
    """OWASP's argon2id parameters for web processes: 19 MiB, two passes, one lane, about 20 ms."""

    def __init__(
        self,
        *,
        threads: int = 2,
        waiting: int = 100,
        patience: float = 4.0,
        refused: Callable[[], None] = lambda: None,
        hashed: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """`threads` bounds the memory (19 MiB each). Beyond `waiting` callers, or where those ahead would take longer
        than `patience` seconds, `PasswordsBusy` is raised: callers give up after some seconds, and what is hashed for
        somebody who has gone keeps the next one from being served in time. `refused` is told of each who is turned
        away, `hashed(seconds)` of each hash."""
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        # Where processors are short, what takes a millisecond goes first. Elsewhere this would lower the whole process.
        step_back = partial(os.nice, _STEPS_BACK) if sys.platform == "linux" else None
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2", initializer=step_back)
        self._threads = threads
        self._waiting = 0
        self._most = waiting
        self._patience = patience
        self._takes = 0.02
        self._promised = 0.0
        self._refused = refused
        self._hashed = hashed
        # Nobody's password: compared with where there is no account, so that time tells nothing.
        salt, digest = (base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (16, 32))
        self._nobody = f"$argon2id$v=19$m={19 * 1024},t=2,p=1${salt}${digest}"

    @property
    def waiting(self) -> int:
        """How many are being hashed or wait for their turn."""
        return self._waiting

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hasher.hash(_bytes(password)))

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether the password is the one of the kept hash; takes as long for no hash as for a wrong password."""

        def verify() -> bool:
            try:
                # The cap comes before the work: a megabyte of password would cost time.
                return self._hasher.verify(kept or self._nobody, _bytes(password[: LONGEST + 1])) and kept is not None
            except (VerificationError, InvalidHashError):
                return False

        return await self._run(verify)

    def is_outdated(self, kept: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        ahead = self._waiting * self._takes / self._threads
        if self._waiting >= self._most or ahead > self._patience:
            self._refused()
            # Each is told to come when it will be their turn: told the same, all would come back together, and a crowd
            # that is only ever refused takes the time of those it could be served in.
            now = time.monotonic()
            self._promised = max(self._promised, now + max(1.0, ahead)) + self._takes / self._threads
            raise PasswordsBusy(after=min(self._promised - now, _LONGEST_WAIT))
        self._waiting += 1
        try:
            result, took = await asyncio.get_running_loop().run_in_executor(self._pool, _timed, work)
        finally:
            self._waiting -= 1
        self._hashed(took)
        # A moving average; a pause of the whole process is not what a hash takes.
        self._takes += (min(took, _LONGEST_HASH) - self._takes) / 10
        return result


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def _bytes(password: str) -> bytes:
    # The same password from keyboards that compose accents differently (NIST SP 800-63B, 3.1.1.2).
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")
