"""What a store promises. Times are aware UTC with milliseconds; what was saved is read by whoever asks afterwards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol, TypeAlias, TypeVar

from convive_kit.errors import Retry
from convive_kit.group_commit import VersionConflict
from convive_kit.outbox import OutboxEntry
from directory.model.account import Account, Session
from directory.model.cabinet import Cabinet
from directory.model.change import Change, Stored
from directory.model.dossier import Dossier
from directory.model.member import Member

Document = TypeVar("Document", bound=Stored)
EntriesOf: TypeAlias = Callable[[Change[Stored]], Sequence[OutboxEntry]]
"""Makes the outbox entries of a change."""

_TRIES = 12


class Crowded(Retry):
    """Too many changes of this at the same moment."""

    slug = "crowded"


class Store(Protocol):
    async def save(self, change: Change[Document]) -> Document:
        """Commit a change with its announcements and return the document as it is now.

        Raises `VersionConflict` when the document is not what the change was decided on, `DuplicateKey` when a new
        document is there already, `EmailTaken` when the dossier has a member with this e-mail, `DatabaseAway`.
        """
        ...

    async def cabinet(self, id: str) -> Cabinet | None: ...

    async def dossier(self, id: str) -> Dossier | None: ...

    async def member(self, id: str) -> Member | None: ...

    async def account(self, email_key: str) -> Account | None: ...

    async def account_with_id(self, account_id: str) -> Account | None: ...

    async def staff_of(self, cabinet_id: str, *, after: str, limit: int) -> list[Account]:
        """Accounts with a place at that firm, in force or not, by e-mail key, beginning behind `after`."""
        ...

    async def close(self, account: Account) -> None:
        """Delete an account and its sessions: its very id is an address. Raises `VersionConflict` when it has changed
        since, or has something left to announce."""
        ...

    async def sessions_of(self, email_key: str) -> list[Session]: ...

    async def account_with_handoff(self, code_hash: str) -> Account | None: ...

    async def member_with_email(self, dossier_id: str, email_key: str) -> Member | None:
        """The member of that dossier who has this e-mail and is not removed."""
        ...

    async def dossiers_of(
        self, cabinet_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Dossier]:
        """Dossiers that are not archived and whose search key starts with `prefix`, by search key and id."""
        ...

    async def members_of(self, dossier_id: str, *, after: tuple[datetime, str] | None, limit: int) -> list[Member]:
        """Members who are not removed, in the order in which they were added."""
        ...

    async def dossiers_called(self, cabinet_id: str, names: Sequence[str]) -> list[Dossier]:
        """Dossiers that are not archived and whose reference is one of these, or whose name but for case and accents;
        a few hundred names at most."""
        ...

    async def members_at(self, places: Collection[tuple[str, str]]) -> list[Member]:
        """Members who are not removed, by dossier and e-mail key; a few hundred at most."""
        ...

    async def every(self, model: type[Document], *, after: str, limit: int) -> list[Document]:
        """All documents of a kind, by id, beginning behind `after`."""
        ...

    async def removed_before(self, before: datetime, *, limit: int) -> list[Member]:
        """Members who were removed before that time and are not erased."""
        ...

    async def troubled(self, after: tuple[datetime, str], until: datetime, *, limit: int) -> list[Member]:
        """Members whose invitation is known since then to have come to nothing, of all cabinets, by when that was heard
        of and id; up to and including `until`."""
        ...

    async def unfinished_dossiers(self, before: datetime, *, limit: int) -> list[Dossier]:
        """Dossiers with members still to add or to remove since before that time."""
        ...

    async def session(self, id: str) -> Session | None: ...

    async def add_session(self, session: Session) -> None: ...

    async def see_session(self, id: str, at: datetime) -> None:
        """Note when a session was last used."""
        ...

    async def end_session(self, id: str) -> None: ...


async def settle(
    store: Store,
    load: Callable[[], Awaitable[Document]],
    decide: Callable[[Document], Change[Document] | None],
) -> Document:
    """Load, decide, save; once more when somebody else was faster. Raises `Crowded` when that goes on and on."""
    for _ in range(_TRIES):
        document = await load()
        change = decide(document)
        if change is None:
            return document
        try:
            return await store.save(change)
        except VersionConflict:
            continue
    raise Crowded
