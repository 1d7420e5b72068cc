"""From an uploaded table to members: first a preview, which is all there is until somebody starts it, then a job.

What was done stays done: a member's id is computed from the import and the row, and the dossier's unique e-mail key
decides who is there already. So a part that a crash cut off is done again without adding, or inviting, anybody twice;
and so is the same file, uploaded again.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

from convive_kit.group_commit import DuplicateKey
from convive_kit.http import Problem, invalid, not_found
from convive_kit.runner import Runner
from directory.access import Access, Caller, Ground
from directory.imports.judging import TO_ADD, Line, Note, assess, checked, compared, note, place, settle
from directory.imports.reading import Row, Table, read
from directory.membership import Membership
from directory.model.cabinet import Cabinet
from directory.model.change import Change
from directory.model.dossier import Dossier, search_key
from directory.model.member import Member
from directory.model.refusals import DossierArchived, EmailTaken, FieldRefused
from directory.store.imports import KEPT_FOR, Import, Imports
from directory.store.protocol import Store

PART = 100
"""Rows that are judged, and later added, together: their saves travel in groups, and nobody waits long behind them."""
_OPENED_SHOWN = 20
_APART = timedelta(milliseconds=1)
LANE = "bulk"


@dataclass(frozen=True, slots=True)
class Source:
    """What is imported, into which dossier (None: into whichever each row names), and by whom."""

    content: bytes
    file: str
    cabinet: Cabinet
    dossier: Dossier | None
    actor: str
    invited_by: str | None


class Importing:
    """Takes tables in and judges them. Nothing is added."""

    def __init__(self, imports: Imports, store: Store, now: Callable[[], datetime]) -> None:
        self._imports = imports
        self._store = store
        self._access = Access(store)
        self._now = now

    async def ground(self, caller: Caller, dossier_id: str | None, chosen: str | None = None) -> Ground | Cabinet:
        """Where somebody may import: into a dossier, or, without one, into any of their cabinet's. `chosen` says which
        cabinet where a person works for several."""
        if dossier_id is None:
            if caller.account and not caller.account.firms:
                raise invalid("dossier_id", "Say which dossier you mean.")
            return await self._access.cabinet(caller, chosen)
        return await self._access.ground(caller, dossier_id)

    async def seen(self, caller: Caller, id: str) -> Import:
        """An import, for those who may import where it goes; 404 for everybody else."""
        run = await self._imports.load(id)
        if run is None:
            raise not_found("import")
        if not caller.acts_for(run.cabinet_id):
            try:
                await self._access.ground(caller, run.dossier_id or "")
            except Problem:
                raise not_found("import") from None
        return run

    def source(self, caller: Caller, ground: Ground | Cabinet, content: bytes, file: str) -> Source:
        """What somebody uploads, with who they are."""
        if isinstance(ground, Ground):
            ground.dossier.refuse_archived()
            return Source(content, file, ground.cabinet, ground.dossier, ground.named, ground.full_name)
        return Source(content, file, ground, None, caller.named(ground.id), caller.full_name(ground.id))

    async def receive(self, source: Source) -> Import:
        """Read a table and keep it with a verdict on each row. Raises `Unreadable`.

        The rows are kept first: what a crash cuts off is seen by nobody, and goes when its time is over.
        """
        # Off the loop: a large table takes seconds, and others are being served.
        table = await asyncio.to_thread(read, source.content, needs_dossier=source.dossier is None)
        run = self._begun(source, table)
        counts, opens = Counter[str](), dict[str, str]()
        seen: dict[tuple[str, str], int] = {}
        for number, start in enumerate(range(0, len(table.rows), PART)):
            lines = await self._judge(table.rows[start : start + PART], source, seen)
            for line in lines:
                counts[line.verdict] += 1
                if line.verdict in TO_ADD:
                    unsaid = "invite_by" not in line.fields
                    run.unsaid += unsaid
                    run.phoneless += unsaid and "phone" not in line.fields
                    if line.dossier_id is None and line.dossier:
                        opens.setdefault(search_key(line.dossier), line.dossier)
            await self._imports.add_part(run, number, [asdict(line) for line in lines])
        run.rows = len(table.rows)
        run.verdicts = dict(counts)
        run.matched = sum(counts[verdict] for verdict in TO_ADD)
        run.opens, run.opened = len(opens), list(opens.values())[:_OPENED_SHOWN]
        await self._imports.begin(run)
        return run

    async def _judge(self, rows: Sequence[Row], source: Source, seen: dict[tuple[str, str], int]) -> list[Line]:
        lines = await asyncio.to_thread(lambda: [assess(row) for row in rows])
        known: Sequence[Dossier] = ()
        if source.dossier is None:
            names = sorted({line.dossier for line in lines if line.dossier})
            known = await self._store.dossiers_called(source.cabinet.id, names)
        place(lines, source.dossier, known)
        places = {(line.dossier_id, line.email_key) for line in lines if line.dossier_id and line.email_key}
        settle(lines, await self._store.members_at(places), seen)
        return lines

    def _begun(self, source: Source, table: Table) -> Import:
        now = self._now()
        return Import(
            id=str(uuid4()),
            actor=source.actor,
            created_at=now,
            status="paused",
            cabinet_id=source.cabinet.id,
            dossier_id=source.dossier.id if source.dossier else None,
            file=source.file[:200],
            digest=hashlib.sha256(source.content).hexdigest(),
            encoding=table.encoding,
            separator=table.separator,
            headings=table.headings,
            ignored=table.ignored,
            invited_by=source.invited_by,
            expires_at=now + KEPT_FOR,
        )


class Importer(Runner[Import]):
    """Adds the people of tables that somebody has started, part by part."""

    kind = "import"

    def __init__(
        self,
        imports: Imports,
        store: Store,
        membership: Membership,
        *,
        owner: str,
        now: Callable[[], datetime],
        announced: Callable[[], Awaitable[None]],
    ) -> None:
        """`announced` returns when what was saved so far has been announced: each part waits for it, so that nothing of
        somebody else's ever queues behind more than one."""
        super().__init__(imports, owner=owner, now=now)
        self._imports = imports
        self._store = store
        self._membership = membership
        self._announced = announced

    async def work(self, run: Import) -> bool:
        """See `Runner.work`."""
        cabinet = await self._store.cabinet(run.cabinet_id)
        at = self._now()
        while cabinet is not None and (rows := await self._imports.part(run.id, run.position)) is not None:
            at = max(at, self._now())
            run.count(await self._add(run, cabinet, rows, at))
            # Each person is listed a millisecond behind the one before: a part may be carried out sooner than that.
            at += len(rows) * _APART
            await self._announced()
            run.position += 1
            if not await self.record(run):
                return False
        return True

    async def _add(self, run: Import, cabinet: Cabinet, rows: Sequence[Mapping[str, Any]], at: datetime) -> list[str]:
        """Add the people of a part; returns what came of those rows that were to be added."""
        lines = [Line(**row) for row in rows]
        left = {number: line for number, line in enumerate(lines) if line.verdict in TO_ADD and line.result is None}
        if left:
            dossiers = await self._dossiers(run, cabinet, left.values())
            changes = (
                self._add_one(run, cabinet, dossiers[line.dossier_id or line.dossier or ""], line, at, number)
                for number, line in left.items()
            )
            await asyncio.gather(*changes)
            done = {number: (line.result or "refused", line.faults) for number, line in left.items()}
            await self._imports.record_part(run.id, run.position, done)
        return [_COUNTED_AS[line.result] for line in lines if line.result]

    async def _add_one(
        self, run: Import, cabinet: Cabinet, dossier: Dossier, line: Line, at: datetime, number: int
    ) -> None:
        faults: list[Note] = []
        member = checked({"invite_by": run.invite_by, **line.fields}, faults)
        if member is None:
            line.result, line.faults = "refused", faults
            return
        fields = {
            **member.fields(),
            "id": str(uuid5(UUID(run.id), f"row {line.number}")),
            # Listed in the order of the table.
            "created_at": at + number * _APART,
            "invited_by": run.invited_by,
        }
        try:
            dossier.refuse_archived()
            line.result = await self._added(Member.added(fields, dossier, cabinet, lane=LANE), line)
        except DossierArchived:
            line.result, line.faults = "refused", [note("dossier", "dossier_archived")]
        except FieldRefused as refused:
            line.result, line.faults = "refused", [note(refused.about["field"], "role_retired")]

    async def _added(self, change: Change[Member], line: Line) -> str:
        new = change.after
        while True:
            try:
                await self._membership.add(change)
            except (DuplicateKey, EmailTaken):
                if await self._store.member(new.id):
                    return "added"  # by this very row, before a crash; perhaps removed since
                if there := await self._store.member_with_email(new.dossier_id, line.email_key or ""):
                    return compared(line, there)
                # Somebody was faster, and removed in this very moment.
            else:
                return "added"

    async def _dossiers(self, run: Import, cabinet: Cabinet, lines: Collection[Line]) -> Mapping[str, Dossier]:
        """The client files of these rows by id or, where none was there yet, by the name that the row gives."""
        ids = {line.dossier_id for line in lines if line.dossier_id}
        names = {line.dossier for line in lines if line.dossier and not line.dossier_id}
        found = await asyncio.gather(*map(self._store.dossier, ids))
        dossiers = {dossier.id: dossier for dossier in found if dossier}
        there: dict[str, Dossier] = {}
        for dossier in await self._store.dossiers_called(cabinet.id, sorted(names)) if names else ():
            there.setdefault(dossier.name_key, dossier)
        for name in sorted(names):
            key = search_key(name)
            if key not in there:
                there[key] = await self._open(cabinet, name)
            dossiers[name] = there[key]
        return dossiers

    async def _open(self, cabinet: Cabinet, name: str) -> Dossier:
        """The cabinet's new dossier of that name. Its id is computed from it, so that two imports, or one that is
        carried on after a crash, open it once; the next one where that is archived, or called otherwise by now."""
        key = search_key(name)
        number = 0
        while True:
            id = str(uuid5(UUID(cabinet.id), f"imported dossier {number} {key}"))
            try:
                dossier, _ = await self._membership.open_dossier(
                    Dossier.opened(id, cabinet.id, name, now=self._now()), cabinet, []
                )
            except DuplicateKey:
                dossier = await self._store.dossier(id)
            if dossier and dossier.name_key == key and not dossier.archived_at:
                return dossier
            number += 1


_COUNTED_AS = {"added": "done", "refused": "failed", "already_there": "already_there", "differs": "differs"}
