"""Follows one invitation. The stream of events wakes, the invitation itself decides: no step is told twice or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Any

from invitation.cli.client import Api
from invitation.cli.failures import ExitCode, Failed
from invitation.cli.output import counts

_WAY_IN = ("pending", "sent", "opened", "password_set", "active")
_FINAL = ("active", "failed", "expired", "revoked", "declined")


class WaitFor(StrEnum):
    """Where somebody may wait for an invitation to come."""

    SENT = "sent"
    OPENED = "opened"
    PASSWORD_SET = "password_set"  # noqa: S105 a state
    ACTIVE = "active"
    FAILED = "failed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    DECLINED = "declined"


class Sight:
    """Decides, state by state, whether what is waited for has come."""

    def __init__(self, until: WaitFor | None) -> None:
        self._until = until.value if until else None

    def there(self, state: str) -> bool | None:
        """True: it has come; False: it will not come by itself; None: wait. Whoever has come further has been there."""
        if self._until is None:
            return True if state in _FINAL else None
        if state == self._until:
            return True
        if state in _WAY_IN and self._until in _WAY_IN and _WAY_IN.index(state) > _WAY_IN.index(self._until):
            return True
        return False if state in _FINAL else None


def step_line(step: dict[str, Any]) -> str:
    """One step of a life as a line."""
    way = step["to"] if step["from"] == step["to"] else f"{step['from']} → {step['to']}"
    detail = counts(step["detail"]) if step["detail"] else ""
    return "  ".join(filter(None, (step["at"], f"{way:<22}", f"{step['trigger']:<15}", step["actor"], detail)))


async def follow(
    api: Api,
    id: str,
    sight: Sight,
    tell: Callable[[dict[str, Any]], None],
    note: Callable[[str], None],
    *,
    interval: float,
    timeout: float | None,
) -> None:
    """Tell each step until the sight decides; raises `Failed` where it ends elsewhere, or takes too long. Looks when
    the stream says that something happened, and every `interval` seconds in any case."""
    woken = asyncio.Event()
    listening = asyncio.create_task(_listen(api, id, woken, note))
    told = 0
    state = ""
    try:
        async with asyncio.timeout(timeout):
            while True:
                woken.clear()
                invitation = await api.read(f"/v1/invitations/{id}")
                state = invitation["state"]
                for step in invitation["history"][told:]:
                    tell(step)
                told = len(invitation["history"])
                there = sight.there(state)
                if there is not None:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(interval):
                        await woken.wait()
    except TimeoutError:
        raise Failed(f"It is still {state or 'unknown'} after {timeout:g} s.", ExitCode.AWAY) from None
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
    if not there:
        raise Failed(f"It has ended as {state}{': ' + invitation['reason'] if invitation['reason'] else ''}.")
    note(f"It is {state}.")


async def _listen(api: Api, id: str, woken: asyncio.Event, note: Callable[[str], None]) -> None:
    try:
        async for _ in api.events("/v1/stream", {"invitation_id": id}):
            woken.set()
    except Failed as failed:
        # Without the stream it is looked at anew every so often: later, and not less.
        if failed.code != ExitCode.NOT_FOUND:
            note(f"The stream ended ({failed}); looking every so often instead.")
