"""Passwords: hashed by argon2id in a bounded pool, so that sign-ins never hold up other requests."""

from __future__ import annotations

import asyncio
import base64
import os
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from convive_kit.errors import Retry
from directory.model.refusals import FieldRefused

SHORTEST, LONGEST = 12, 128
"""Characters. What makes a password good beyond its length is judged where it is chosen, with the person's names."""

Result = TypeVar("Result")


class PasswordsBusy(Retry):
    """Too many people are signing in at this moment."""

    slug = "busy"


def refuse_unfit(password: str) -> None:
    """Raises `FieldRefused` for a new password that is too short or too long."""
    if len(password) < SHORTEST:
        raise FieldRefused(f"Choose a password of at least {SHORTEST} characters.", field="password")
    if len(password) > LONGEST:
        raise FieldRefused(f"Choose a password of at most {LONGEST} characters.", field="password")


class Passwords:
    """OWASP's argon2id parameters for web processes: 19 MiB, two passes, one lane, about 20 ms."""

    def __init__(self, *, threads: int = 2, waiting: int = 100) -> None:
        """`threads` bounds the memory (19 MiB each); beyond `waiting` callers `PasswordsBusy` is raised."""
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._waiting = 0
        self._most = waiting
        # Nobody's password: compared with where there is no account, so that time tells nothing.
        salt, digest = (base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (16, 32))
        self._nobody = f"$argon2id$v=19$m={19 * 1024},t=2,p=1${salt}${digest}"

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
        if self._waiting >= self._most:
            raise PasswordsBusy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1


def _bytes(password: str) -> bytes:
    # The same password from keyboards that compose accents differently (NIST SP 800-63B, 3.1.1.2).
    return unicodedata.normalize("NFKC", password).encode("utf-8", "replace")
