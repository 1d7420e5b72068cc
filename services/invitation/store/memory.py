"""A store in memory, for tests that decide much and touch nothing. It keeps the promises of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from copy import copy
from datetime import datetime
from typing import Any

from convive_contracts.envelope import rfc3339
from convive_contracts.events import CabinetState, DossierState, Policies
from convive_kit.group_commit import DuplicateKey, VersionConflict
from convive_kit.outbox import OutboxEntry
from invitation.lifecycle.invitation import Change, Invitation, Invitee, Step
from invitation.lifecycle.states import FINAL
from invitation.store.documents import COLUMNS, KEPT_STEPS, entries, key_of, to_document
from invitation.store.protocol import Filter, Names, Page, Row, policies_in
from invitation.store.search import phrases

Announce = Callable[[str, Sequence[OutboxEntry]], None]


class MemoryStore:
    """Holds invitations in a dict; a save takes a turn of the event loop, so that races are real."""

    def __init__(self, announce: Announce = lambda _id, _entries: None) -> None:
        self._announce = announce
        self._invitations: dict[str, Invitation] = {}
        self._histories: dict[str, list[Step]] = {}
        self._names: dict[str, dict[str, Any]] = {}

    async def load(self, id: str) -> Invitation | None:
        await asyncio.sleep(0)
        found = self._invitations.get(id)
        return None if found is None else copy(found)

    async def save(self, change: Change) -> None:
        await asyncio.sleep(0)
        id = change.after.id
        there = self._invitations.get(id)
        if change.before is None and there is not None:
            raise DuplicateKey({"_id": id})
        if change.before is not None and (there is None or there.version != change.seen):
            raise VersionConflict
        self._invitations[id] = copy(change.after)
        steps = self._histories.setdefault(id, [])
        steps += change.steps
        del steps[:-KEPT_STEPS]
        self._announce(id, entries(change, change.after.correlation_id))

    async def history(self, id: str) -> Sequence[Step]:
        return list(self._histories.get(id, ()))

    async def due(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        return self._due("due_at", now, limit, channels)

    def _due(self, moment: str, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        those = [(getattr(i, moment), i) for i in self._invitations.values() if i.channel in channels]
        due = sorted(((at, i) for at, i in those if at is not None and at <= now), key=lambda pair: pair[0])
        return [copy(i) for _, i in due[:limit]]

    async def learn_cabinet(self, state: CabinetState, order: int) -> bool:
        return self._learn(f"cabinet:{state.id}", order, state.model_dump(exclude={"id"}))

    async def learn_dossier(self, state: DossierState, order: int) -> bool:
        return self._learn(f"dossier:{state.id}", order, {"name": state.name})

    def _learn(self, id: str, order: int, fields: dict[str, Any]) -> bool:
        newer = id not in self._names or self._names[id]["order"] < order
        if newer:
            self._names[id] = {**fields, "order": order}
        return newer

    async def names(self, invitee: Invitee) -> Names:
        cabinet, dossier = (
            self._names.get(id) for id in (f"cabinet:{invitee.cabinet_id}", f"dossier:{invitee.dossier_id}")
        )
        return Names.known(invitee, cabinet, dossier)

    async def policies(self, cabinet_id: str) -> Policies:
        return policies_in(self._names.get(f"cabinet:{cabinet_id}"))

    async def find(
        self, which: Filter, *, limit: int, after: tuple[datetime, str] | None = None, newest_first: bool = True
    ) -> Page:
        found = sorted(
            (i for i in self._invitations.values() if i.announced and _shows(which, i)),
            key=key_of,
            reverse=newest_first,
        )
        if after is not None:
            found = [i for i in found if (key_of(i) < after if newest_first else key_of(i) > after)]
        items = [copy(i) for i in found[:limit]]
        return Page(items, key_of(items[-1]) if len(found) > limit else None)

    async def rows(self, which: Filter) -> AsyncGenerator[Sequence[Row]]:
        page = await self.find(which, limit=len(self._invitations))
        if page.items:
            yield [_row(to_document(Change(None, invitation, (), ()), [])) for invitation in page.items]

    async def due_once_armed(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        return self._due("due_once_armed", now, limit, channels)

    async def disarmed(self) -> int:
        return sum(i.due_once_armed is not None for i in self._invitations.values())

    async def disarmed_and_removed(self, limit: int) -> Sequence[Invitation]:
        return [copy(i) for i in self._invitations.values() if i.disarmed and i.removal is not None][:limit]

    async def is_empty(self) -> bool:
        return not self._invitations


def _row(document: Mapping[str, Any]) -> Row:
    row: dict[str, Any] = {}
    for column, path in COLUMNS.items():
        place, _, field = path.rpartition(".")
        value = (document.get(place, {}) if place else document).get(field)
        row[column] = rfc3339(value) if isinstance(value, datetime) else value
    return row


def _shows(which: Filter, invitation: Invitation) -> bool:
    invitee = invitation.invitee
    if invitee is None:
        return False
    wanted = (
        (which.states, invitation.state),
        (which.channels, invitation.channel),
        (which.cabinet_ids, invitee.cabinet_id),
        (which.dossier_ids, invitee.dossier_id),
        (which.member_ids, invitee.member_id),
        (which.email_keys, invitee.email_key),
        (which.errors, invitation.reason),
    )
    return (
        all(not values or value in values for values, value in wanted)
        and (which.created_after is None or invitation.created_at >= which.created_after)
        and (which.created_before is None or invitation.created_at < which.created_before)
        and (not which.begins or any(phrase.startswith(which.begins) for phrase in phrases(invitee)))
        and (which.stuck_since is None or (invitation.updated_at < which.stuck_since and invitation.state not in FINAL))
    )
