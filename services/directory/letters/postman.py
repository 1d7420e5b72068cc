"""The one loop that sends letters. Several processes may run it: a claim decides who sends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from aiosmtplib import (
    SMTPDataError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
)

from convive_kit.errors import Retry
from convive_kit.logs import get_logger
from convive_kit.smtp import SmtpServer
from directory.letters.letters import LEASE, Letter, Letters
from directory.letters.stationery import Stationery, UnusableAddress, Written

Writer = Callable[[Letter], Awaitable[Written | None]]
"""Says what stands in a letter at the moment it is sent; None when it is of no use any more."""

_AT_ONCE = 8
_MOST_ATTEMPTS = 12
_LONGEST_BACKOFF = timedelta(hours=1)
_ATTEMPT = LEASE.total_seconds() / 3

log = get_logger(__name__)


async def as_it_is(letter: Letter) -> Written:
    """The writer of letters that need nothing but their data."""
    return Written(letter.to, letter.data)


class Postman:
    """Hands letters in, the same Message-ID on every attempt. What cannot be delivered is tried again for some hours,
    what is refused for good is given up; neither is told to anybody but the log, which knows no address."""

    def __init__(
        self,
        letters: Letters,
        writers: Mapping[str, Writer],
        stationery: Stationery,
        server: SmtpServer,
        now: Callable[[], datetime],
        *,
        first_backoff: timedelta,
    ) -> None:
        """`writers` by the kind of letter."""
        self._letters = letters
        self._writers = writers
        self._stationery = stationery
        self._server = server
        self._trusted = server.trusted()
        self._now = now
        self._first_backoff = first_backoff
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._wake = asyncio.Event()
        letters.written = self._wake.set

    async def run(self, *, every: float = 1.0) -> None:
        """Send what is due until cancelled; `every`: seconds between looks when nothing new is written here. What is on
        its way when the loop ends is sent again when its claim ends."""
        async with asyncio.TaskGroup() as sending:
            while True:
                self._wake.clear()
                await self._room.acquire()
                letter = await self._next()
                if letter is not None:
                    sending.create_task(self._send(letter)).add_done_callback(lambda _: self._room.release())
                    continue
                self._room.release()
                with suppress(TimeoutError):
                    async with asyncio.timeout(every):
                        await self._wake.wait()

    async def _next(self) -> Letter | None:
        try:
            return await self._letters.claim()
        except Retry as away:
            log.warning("letters.paused", cause=away.slug)
            return None

    async def _send(self, letter: Letter) -> None:
        try:
            sent = await self._attempt(letter)
        except (UnusableAddress, _Refused) as refused:
            log.warning("letter.refused", letter=letter.id, kind=letter.kind, reason=str(refused))
        except Exception as error:
            if not isinstance(error, (Retry, SMTPException, OSError)):
                log.exception("letter.failed", letter=letter.id, kind=letter.kind)
            if letter.attempts < _MOST_ATTEMPTS:
                log.info("letter.postponed", letter=letter.id, kind=letter.kind, cause=type(error).__name__)
                with suppress(Retry):  # then it is due again when the claim ends
                    await self._letters.postpone(letter, self._backoff(letter.attempts))
                return
            log.error("letter.given_up", letter=letter.id, kind=letter.kind, attempts=letter.attempts)
        else:
            log.info("letter.sent" if sent else "letter.dropped", letter=letter.id, kind=letter.kind)
        with suppress(Retry):
            await self._letters.end(letter)

    async def _attempt(self, letter: Letter) -> bool:
        async with asyncio.timeout(_ATTEMPT):
            written = await self._writers[letter.kind](letter)
            if written is None:
                return False
            message = self._stationery.write(letter, written, self._now())
            try:
                async with self._server.client(self._trusted) as client:
                    await client.send_message(message, sender=self._stationery.sender)
            except SMTPRecipientsRefused as refused:
                raise _lasting(refused.recipients[0]) from refused
            except SMTPDataError as refused:
                raise _lasting(refused) from refused
            return True

    def _backoff(self, attempt: int) -> timedelta:
        """Doubling, bounded, and jittered by a half ("equal jitter", AWS Architecture Blog, 2015)."""
        longest = min(self._first_backoff * 2 ** (attempt - 1), _LONGEST_BACKOFF)
        return longest / 2 + longest / 2 * random.random()  # noqa: S311 - nothing secret


class _Refused(Exception):
    """The mail server will never take this letter."""


def _lasting(refused: SMTPRecipientRefused | SMTPDataError) -> Exception:
    # The server's own words may repeat the address.
    return _Refused(f"the mail server answered {refused.code}") if 500 <= refused.code < 600 else refused
