"""The store on MongoDB: each change is one write of one document, its announcements included."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

from pymongo import IndexModel

from convive_kit.group_commit import DuplicateKey, GroupCommit, GroupRead, VersionConflict
from convive_kit.mongo import Database, database_call
from convive_kit.outbox import OUTBOX_INDEX, OutboxEntry, Publishes, Relay
from directory.model.account import Account, Session
from directory.model.cabinet import Cabinet
from directory.model.change import Change, Stored
from directory.model.dossier import Dossier, search_key
from directory.model.member import Member
from directory.model.refusals import EmailTaken
from directory.store.documents import differences, from_document
from directory.store.protocol import EntriesOf

Document = TypeVar("Document", bound=Stored)

INDEXES: dict[str, list[IndexModel]] = {
    "cabinets": [OUTBOX_INDEX],
    "dossiers": [
        OUTBOX_INDEX,
        IndexModel([("cabinet_id", 1), ("archived_at", 1), ("name_key", 1), ("_id", 1)], name="list"),
        IndexModel(
            [("cabinet_id", 1), ("external_ref", 1)],
            name="reference",
            partialFilterExpression={"external_ref": {"$exists": True}},
        ),
        IndexModel(
            [("unfinished_since", 1)],
            name="unfinished",
            partialFilterExpression={"unfinished_since": {"$exists": True}},
        ),
    ],
    "members": [
        OUTBOX_INDEX,
        # Starts with what members would be sharded by, so that it can stay unique there.
        IndexModel(
            [("dossier_id", 1), ("email_key", 1)],
            name="one_per_email",
            unique=True,
            partialFilterExpression={"email_key": {"$exists": True}},
        ),
        IndexModel([("dossier_id", 1), ("removed_at", 1), ("created_at", 1), ("_id", 1)], name="list"),
        IndexModel(
            [("erased_at", 1), ("removed_at", 1)],
            name="removed",
            partialFilterExpression={"removed_at": {"$exists": True}},
        ),
        IndexModel(
            [("trouble_at", 1), ("_id", 1)],
            name="trouble",
            partialFilterExpression={"trouble_at": {"$exists": True}},
        ),
    ],
    "accounts": [
        OUTBOX_INDEX,
        IndexModel(
            [("handoffs.hash", 1)], name="handoff", partialFilterExpression={"handoffs.hash": {"$exists": True}}
        ),
        IndexModel("account_id", name="account_id"),
        IndexModel(
            [("staff.cabinet_id", 1), ("_id", 1)],
            name="staff",
            partialFilterExpression={"staff.cabinet_id": {"$exists": True}},
        ),
    ],
    "sessions": [
        IndexModel([("expires_at", 1)], name="expiry", expireAfterSeconds=0),
        IndexModel("account", name="account"),
    ],
}
_KINDS = ("cabinets", "dossiers", "members", "accounts")
_OTHERS_CLEAR = (0.1, 0.2, 0.4, 0.0)
"""Seconds between looks whether another process has cleared what it has published."""


class MongoStore:
    """Writes join a group commit per collection; reads by id that wait together travel together."""

    def __init__(
        self,
        database: Database,
        *,
        bus: Publishes,
        entries_of: EntriesOf,
        now: Callable[[], datetime],
        observe: Callable[[str], Callable[[int, float], None]] = lambda _kind: lambda _size, _seconds: None,
    ) -> None:
        """`observe(kind)` is the observer of a kind's group commit."""
        self._database = database
        self._entries_of = entries_of
        self._commits = {kind: GroupCommit(database[kind], observe=observe(kind)) for kind in _KINDS}
        self._reads = {kind: GroupRead(database[kind]) for kind in (*_KINDS, "sessions")}
        self.relays = {
            kind: Relay(bus=bus, collection=database[kind], commit=commit, now=now)
            for kind, commit in self._commits.items()
        }

    async def prepare(self) -> None:
        """Make the indexes; safe to repeat."""
        async with database_call():
            await asyncio.gather(*(self._database[kind].create_indexes(made) for kind, made in INDEXES.items()))

    async def announced(self) -> None:
        """Return when what was handed in so far is announced, or left to a sweeper."""
        await asyncio.gather(*(relay.drain() for relay in self.relays.values()))

    async def drain(self) -> None:
        """Return when everything handed in is decided, and announced or left to a sweeper."""
        await self.announced()
        for commit in self._commits.values():
            await commit.close()

    async def save(self, change: Change[Document]) -> Document:
        after = change.after
        commit = self._commits[after.kind]
        entries = list(self._entries_of(change))
        changed, gone = differences(change)
        try:
            if change.before is None:
                await commit.insert({**changed, "outbox": entries} if entries else changed)
            else:
                update: dict[str, Any] = {"$set": changed}
                if gone:
                    update["$unset"] = dict.fromkeys(gone, "")
                if entries:
                    update["$push"] = {"outbox": {"$each": entries}}
                await commit.save(after.id, change.seen, update)
        except DuplicateKey as taken:
            if "email_key" in taken.key:
                raise EmailTaken from taken
            raise
        self._announce(after, entries)
        return after

    def _announce(self, after: Stored, entries: Sequence[OutboxEntry]) -> None:
        self.relays[after.kind].announce(after.id, entries)

    async def cabinet(self, id: str) -> Cabinet | None:
        return await self._load(Cabinet, id)

    async def dossier(self, id: str) -> Dossier | None:
        return await self._load(Dossier, id)

    async def member(self, id: str) -> Member | None:
        return await self._load(Member, id)

    async def account(self, email_key: str) -> Account | None:
        return await self._load(Account, email_key)

    async def _load(self, model: type[Document], id: str) -> Document | None:
        document = await self._reads[model.kind].load(id)
        return from_document(model, document) if document else None

    async def account_with_id(self, account_id: str) -> Account | None:
        return next(iter(await self._find(Account, {"account_id": account_id}, limit=1)), None)

    async def staff_of(self, cabinet_id: str, *, after: str, limit: int) -> list[Account]:
        query = {"staff.cabinet_id": cabinet_id, "_id": {"$gt": after}}
        return await self._find(Account, query, order=("_id",), limit=limit)

    async def close(self, account: Account) -> None:
        await self._wait_until_announced(account)
        unchanged = {"_id": account.id, "version": account.version, "outbox.0": {"$exists": False}}
        async with database_call():
            # Before the account, or after a crash between the two nothing would lead to them; and after it, for
            # those begun in the meantime.
            await self._database["sessions"].delete_many({"account": account.id})
            deleted = await self._database["accounts"].delete_one(unchanged)
            if deleted.deleted_count == 0:
                raise VersionConflict
            await self._database["sessions"].delete_many({"account": account.id})

    async def _wait_until_announced(self, account: Account) -> None:
        """Raises `VersionConflict` where the account has changed, or is still not announced after a moment."""
        await self.relays[account.kind].drain()
        same = {"_id": account.id, "version": account.version}
        for pause in _OTHERS_CLEAR:
            async with database_call():
                found = await self._database["accounts"].find_one(same, {"outbox": 1})
            if found is None:
                raise VersionConflict
            if not found.get("outbox"):
                return
            await asyncio.sleep(pause)
        raise VersionConflict

    async def sessions_of(self, email_key: str) -> list[Session]:
        found = self._database["sessions"].find({"account": email_key})
        async with database_call():
            return [Session.model_validate({**document, "id": document["_id"]}) async for document in found]

    async def account_with_handoff(self, code_hash: str) -> Account | None:
        return next(iter(await self._find(Account, {"handoffs.hash": code_hash}, limit=1)), None)

    async def member_with_email(self, dossier_id: str, email_key: str) -> Member | None:
        found = await self._find(Member, {"dossier_id": dossier_id, "email_key": email_key}, limit=1)
        return found[0] if found else None

    async def dossiers_of(
        self, cabinet_id: str, *, prefix: str, after: tuple[str, str] | None, limit: int
    ) -> list[Dossier]:
        query: dict[str, Any] = {"cabinet_id": cabinet_id, "archived_at": None}
        span: dict[str, str] = {"$gte": prefix, "$lt": prefix + "\U0010ffff"} if prefix else {}
        if after:
            key, id = after
            span["$gte"] = max(key, prefix)
            query["$or"] = [{"name_key": {"$gt": key}}, {"_id": {"$gt": id}}]
        if span:
            query["name_key"] = span
        return await self._find(Dossier, query, order=("name_key", "_id"), limit=limit)

    async def members_of(self, dossier_id: str, *, after: tuple[datetime, str] | None, limit: int) -> list[Member]:
        query: dict[str, Any] = {"dossier_id": dossier_id, "removed_at": None}
        if after:
            at, id = after
            query |= {"created_at": {"$gte": at}, "$or": [{"created_at": {"$gt": at}}, {"_id": {"$gt": id}}]}
        return await self._find(Member, query, order=("created_at", "_id"), limit=limit)

    async def dossiers_called(self, cabinet_id: str, names: Sequence[str]) -> list[Dossier]:
        own: dict[str, Any] = {"cabinet_id": cabinet_id, "archived_at": None}
        by_name = {**own, "name_key": {"$in": [search_key(name) for name in names]}}
        return await self._find(Dossier, {"$or": [by_name, {**own, "external_ref": {"$in": list(names)}}]})

    async def members_at(self, places: Collection[tuple[str, str]]) -> list[Member]:
        emails: dict[str, list[str]] = {}
        for dossier_id, email_key in places:
            emails.setdefault(dossier_id, []).append(email_key)
        each = [{"dossier_id": id, "email_key": {"$in": keys}} for id, keys in emails.items()]
        return await self._find(Member, {"$or": each}) if each else []

    async def every(self, model: type[Document], *, after: str, limit: int) -> list[Document]:
        return await self._find(model, {"_id": {"$gt": after}}, order=("_id",), limit=limit)

    async def removed_before(self, before: datetime, *, limit: int) -> list[Member]:
        query = {"erased_at": None, "removed_at": {"$lt": before}}
        return await self._find(Member, query, order=("removed_at",), limit=limit)

    async def troubled(self, after: tuple[datetime, str], until: datetime, *, limit: int) -> list[Member]:
        at, id = after
        span = {"$gte": at, "$lte": until}
        query = {"trouble_at": span, "$or": [{"trouble_at": {"$gt": at}}, {"_id": {"$gt": id}}]}
        return await self._find(Member, query, order=("trouble_at", "_id"), limit=limit)

    async def unfinished_dossiers(self, before: datetime, *, limit: int) -> list[Dossier]:
        return await self._find(
            Dossier, {"unfinished_since": {"$lt": before}}, order=("unfinished_since",), limit=limit
        )

    async def _find(
        self, model: type[Document], query: dict[str, Any], *, order: Sequence[str] = (), limit: int = 0
    ) -> list[Document]:
        cursor = self._database[model.kind].find(query).limit(limit)
        if order:
            cursor = cursor.sort([(name, 1) for name in order])
        async with database_call():
            return [from_document(model, document) async for document in cursor]

    async def session(self, id: str) -> Session | None:
        document = await self._reads["sessions"].load(id)
        return Session.model_validate({**document, "id": id}) if document else None

    async def add_session(self, session: Session) -> None:
        async with database_call():
            await self._database["sessions"].insert_one(
                {"_id": session.id, **session.model_dump(exclude={"id"}, exclude_none=True)}
            )

    async def see_session(self, id: str, at: datetime) -> None:
        async with database_call():
            await self._database["sessions"].update_one({"_id": id}, {"$set": {"seen_at": at}})

    async def end_session(self, id: str) -> None:
        async with database_call():
            await self._database["sessions"].delete_one({"_id": id})
