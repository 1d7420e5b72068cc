"""A dossier: one client's file, owned by a cabinet."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from typing import Any

from directory.model.change import Announcement, Change, Stored
from directory.model.refusals import DossierArchived


def search_key(text: str) -> str:
    """`text` without case, accents and repeated spaces: what a search compares."""
    bare = "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))
    return " ".join(bare.casefold().split())


class Dossier(Stored):
    kind = "dossiers"

    cabinet_id: str
    name: str
    name_key: str
    external_ref: str | None = None
    created_at: datetime
    archived_at: datetime | None = None
    request_hash: str | None = None
    # Members (as documents without version) named at the creation and perhaps not added yet.
    members_to_add: tuple[dict[str, Any], ...] = ()
    # Since when members are to be added or, once archived, removed. A sweeper finishes what a crash left.
    unfinished_since: datetime | None = None

    @staticmethod
    def opened(
        id: str,
        cabinet_id: str,
        name: str,
        *,
        now: datetime,
        external_ref: str | None = None,
        members: tuple[dict[str, Any], ...] = (),
        request_hash: str | None = None,
    ) -> Change[Dossier]:
        """A new dossier; its members are written with it, so that none is forgotten, and added from there."""
        announced = Announcement("dossier.updated", id, _state(id, cabinet_id, name, external_ref, archived=False))
        return Dossier.created(
            announced,
            id=id,
            cabinet_id=cabinet_id,
            name=name,
            name_key=search_key(name),
            external_ref=external_ref,
            created_at=now,
            request_hash=request_hash,
            members_to_add=members,
            unfinished_since=now if members else None,
        )

    def edited(self, **fields: Any) -> Change[Dossier] | None:
        """Another name or reference; None when nothing differs."""
        self.refuse_archived()
        if all(getattr(self, name) == value for name, value in fields.items()):
            return None
        if "name" in fields:
            fields["name_key"] = search_key(fields["name"])
        after = self.model_copy(update=fields)
        return self.changed(after._announced(), **fields)

    def archive(self, now: datetime) -> Change[Dossier] | None:
        """The end of a dossier; its members are then removed one by one. None when it is archived already."""
        if self.archived_at:
            return None
        after = self.model_copy(update={"archived_at": now})
        return self.changed(after._announced(), archived_at=now, members_to_add=(), unfinished_since=now)

    def finished(self) -> Change[Dossier] | None:
        """Every member named is added, or, in an archived dossier, removed."""
        return self.changed(members_to_add=(), unfinished_since=None) if self.unfinished_since else None

    def announced_anew(self) -> Change[Dossier]:
        """The present state told again."""
        return self.changed(self._announced())

    def refuse_archived(self) -> None:
        if self.archived_at:
            raise DossierArchived

    def _announced(self) -> Announcement:
        archived = self.archived_at is not None
        return Announcement(
            "dossier.updated",
            self.id,
            _state(self.id, self.cabinet_id, self.name, self.external_ref, archived=archived),
        )


def _state(id: str, cabinet_id: str, name: str, external_ref: str | None, *, archived: bool) -> dict[str, Any]:
    return {"id": id, "cabinet_id": cabinet_id, "name": name, "external_ref": external_ref, "archived": archived}
