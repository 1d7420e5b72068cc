"""What is forgotten of an invitation that ended too long ago; see `convive_kit.retention` for when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from invitation.lifecycle.erasure import forget
from invitation.lifecycle.invitation import Cause
from invitation.store.personal_data import People
from invitation.store.protocol import Store, decide_and_save


class Forgetting:
    """See the module."""

    def __init__(self, store: Store, people: People, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._people = people
        self._now = now

    async def forget(self, id: str, before: datetime) -> None:
        """Whose it was goes, unless something has happened to it since `before`. May be repeated."""
        cause = Cause(self._now(), "system")
        # Words first: what is forgotten is not found again.
        await self._people.drop_details(id)
        await decide_and_save(self._store, id, lambda i: forget(i, cause) if i.updated_at < before else None)
