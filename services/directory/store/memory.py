"""The store for tests without a database. It passes the suite of the real one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from convive_kit.group_commit import DuplicateKey, VersionConflict
from convive_kit.outbox import OutboxEntry
from directory.model.account import Account, Session
from directory.model.cabinet import Cabinet
from directory.model.change import Change, Stored
from directory.model.dossier import Dossier, search_key
from directory.model.member import Member
from directory.model.refusals import EmailTaken
from directory.store.documents import differences, from_document
from directory.store.protocol import EntriesOf

Document = TypeVar("Document", bound=Stored)


class MemoryStore:
    """`announced` holds every outbox entry ever committed, in order."""

    def __init__(self, *, entries_of: EntriesOf) -> None:
        self._entries_of = entries_of
        self._documents: dict[str, dict[str, dict[str, Any]]] = {}
        self._sessions: dict[str, Session] = {}
        self.announced: list[OutboxEntry] = []

    async def save(self, change: Change[Document]) -> Document:
        documents = self._documents.setdefault(change.after.kind, {})
        current = documents.get(change.after.id)
        if change.before is None and current is not None:
            raise DuplicateKey({"_id": change.after.id})
        if change.before is not None and (current is None or current["version"] != change.seen):
            raise VersionConflict
        changed, gone = differences(change)
        document = {name: value for name, value in {**(current or {}), **changed}.items() if name not in gone}
        if change.after.kind == Member.kind and "email_key" in document:
            for other in documents.values():
                if other["_id"] != document["_id"] and _place(other) == _place(document):
                    raise EmailTaken
        documents[change.after.id] = document
        self.announced += self._entries_of(change)
        return change.after

    async def cabinet(self, id: str) -> Cabinet | None:
        return self._load(Cabinet, id)

    async def dossier(self, id: str) -> Dossier | None:
        return self._load(Dossier, id)

    async def member(self, id: str) -> Member | None:
        return self._load(Member, id)

    async def account(self, email_key: str) -> Account | None:
        return self._load(Account, email_key)

    def _load(self, model: type[Document], id: str) -> Document | None:
        document = self._documents.get(model.kind, {}).get(id)
        return from_document(model, document) if document else None

    def _all(self, model: type[Document], keep: Callable[[Document], bool]) -> list[Document]:
        documents = self._documents.get(model.kind, {}).values()
        return [stored for document in documents if keep(stored := from_document(model, document))]

    async def account_with_id(self, account_id: str) -> Account | None:
        return next(iter(self._all(Account, lambda a: a.account_id == account_id)), None)

    async def staff_of(self, cabinet_id: str, *, after: str, limit: int) -> list[Account]:
        found = self._all(Account, lambda a: a.place_at(cabinet_id) is not None and a.id > after)
        return sorted(found, key=lambda account: account.id)[:limit]

    async def close(self, account: Account) -> None:
        accounts = self._documents.get(Account.kind, {})
        if accounts.get(account.id, {}).get("version") != account.version:
            raise VersionConflict
        del accounts[account.id]
        for session in await self.sessions_of(account.id):
            del self._sessions[session.id]

    async def sessions_of(self, email_key: str) -> list[Session]:
        return [session for session in self._sessions.values() if session.account == email_key]

    async def account_with_handoff(self, code_hash: str) -> Account | None:
        return next(iter(self._all(Account, lambda a: any(h.hash == code_hash for h in a.handoffs))), None)

    async def member_with_email(self, dossier_id: str, email_key: str) -> Member | None:
        found = self._all(Member, lambda m: (m.dossier_id, m.email_key) == (dossier_id, email_key))
        return found[0] if found else None

    async def dossiers_of(
        self, cabinet_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Dossier]:
        found = self._all(
            Dossier,
            lambda d: (
                d.cabinet_id == cabinet_id
                and d.archived_at is None
                and d.name_key.startswith(prefix)
                and (after is None or (d.name_key, d.id) > after)
            ),
        )
        return sorted(found, key=lambda dossier: (dossier.name_key, dossier.id))[:limit]

    async def dossiers_called(self, cabinet_id: str, names: Sequence[str]) -> list[Dossier]:
        keys = {search_key(name) for name in names}
        return self._all(
            Dossier,
            lambda d: (
                d.cabinet_id == cabinet_id and d.archived_at is None and (d.name_key in keys or d.external_ref in names)
            ),
        )

    async def members_at(self, places: Collection[tuple[str, str]]) -> list[Member]:
        return self._all(Member, lambda m: (m.dossier_id, m.email_key) in places)

    async def every(self, model: type[Document], *, after: str, limit: int) -> list[Document]:
        return sorted(self._all(model, lambda one: one.id > after), key=lambda one: one.id)[:limit]

    async def members_of(self, dossier_id: str, *, after: tuple[datetime, str] | None, limit: int) -> list[Member]:
        found = self._all(
            Member,
            lambda m: (
                m.dossier_id == dossier_id and m.removed_at is None and (after is None or (m.created_at, m.id) > after)
            ),
        )
        return sorted(found, key=lambda member: (member.created_at, member.id))[:limit]

    async def removed_before(self, before: datetime, *, limit: int) -> list[Member]:
        found = self._all(Member, lambda m: m.erased_at is None and m.removed_at is not None and m.removed_at < before)
        return found[:limit]

    async def troubled(self, after: tuple[datetime, str], until: datetime, *, limit: int) -> list[Member]:
        found = [(m.trouble_at, m.id, m) for m in self._all(Member, lambda _: True) if m.trouble_at is not None]
        chosen = sorted((at, id, m) for at, id, m in found if (at, id) > after and at <= until)
        return [member for _, _, member in chosen[:limit]]

    async def unfinished_dossiers(self, before: datetime, *, limit: int) -> list[Dossier]:
        found = self._all(Dossier, lambda d: d.unfinished_since is not None and d.unfinished_since < before)
        return found[:limit]

    async def session(self, id: str) -> Session | None:
        return self._sessions.get(id)

    async def add_session(self, session: Session) -> None:
        self._sessions[session.id] = session

    async def see_session(self, id: str, at: datetime) -> None:
        if session := self._sessions.get(id):
            self._sessions[id] = session.model_copy(update={"seen_at": at})

    async def end_session(self, id: str) -> None:
        self._sessions.pop(id, None)


def _place(member: dict[str, Any]) -> Sequence[str | None]:
    return member["dossier_id"], member.get("email_key")
