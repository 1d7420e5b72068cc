"""How a list is read: one index is walked in order of time, and what else the filter asks for is compared on the way.

So every filter comes out of an index already in order, whatever it combines; where what is looked for is rare, a walk
is cut into pieces and a page may end before it is full.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pymongo import ASCENDING, DESCENDING, IndexModel

from convive_kit.mongo import Document
from invitation.lifecycle.states import FINAL, State
from invitation.store.protocol import Filter
from invitation.store.search import LENGTHS, indexed_part

Key = tuple[datetime, str]
"""What lists are ordered by: creation and id."""

LISTED_BY = (
    "member.id",
    "member.email_key",
    "dossier.id",
    "reason",
    "beginnings",
    "cabinet.id",
    "state",
    "channel",
)
"""What an index leads to, that with the fewest to look at first."""


def _index(*fields: str, counted_with: Sequence[str] = ()) -> IndexModel:
    # What was never announced is in no list. The field stands in the index too, or counting would read documents.
    fields = ("announced", *fields)
    keys = [
        *((name, ASCENDING) for name in fields),
        ("created_at", DESCENDING),
        ("_id", DESCENDING),
        *((name, ASCENDING) for name in counted_with),
    ]
    return IndexModel(keys, name=index_name(*fields[1:]), partialFilterExpression={"announced": True})


def index_name(*fields: str) -> str:
    return "_".join(("listed", *fields)).replace(".", "_")


_COUNTED_WITH = {"state": ("channel",)}
LIST_INDEXES = (_index(), *(_index(field, counted_with=_COUNTED_WITH.get(field, ())) for field in LISTED_BY))


@dataclass(frozen=True, slots=True)
class Walk:
    """`index` leads to what fits `walked`; `rest` is compared in the documents."""

    index: str
    walked: Document
    rest: Document
    newest_first: bool

    @classmethod
    def through(cls, which: Filter, *, newest_first: bool) -> Self:
        """The walk that has least to look at."""
        conditions = _conditions(which)
        by = sorted((field for field in conditions if field in LISTED_BY), key=lambda field: _rank(field, which))[:1]
        walked: Document = {"announced": True, **{field: conditions.pop(field) for field in by}}
        if "beginnings" in by:
            # The index leads to all who begin alike that far; the whole beginning is compared only where it says more.
            if indexed_part(which.begins) == which.begins:
                conditions.pop("phrases", None)
        else:
            conditions.pop("beginnings", None)
        created: Document = {}
        if which.created_after is not None:
            created["$gte"] = which.created_after
        ends = [end for end in (which.created_before, which.stuck_since) if end is not None]
        if ends:
            # What has stood still since then was created before.
            created["$lt"] = min(ends)
        if created:
            walked["$and"] = [{"created_at": created}]
        return cls(index_name(*by), walked, conditions, newest_first)

    @property
    def order(self) -> list[tuple[str, int]]:
        """The order of the index, or its reverse."""
        direction = DESCENDING if self.newest_first else ASCENDING
        return [("created_at", direction), ("_id", direction)]

    def between(self, after: Key | None, edge: Key | None) -> Document:
        """What is walked behind `after`, up to and with `edge`."""
        ahead, back = ("$lt", "$gt") if self.newest_first else ("$gt", "$lt")
        bounds: list[Document] = list(self.walked.get("$and", ()))
        for key, way, beyond in ((after, ahead, f"{back}e"), (edge, back, ahead)):
            if key is not None:
                moment, id = key
                # The first bound is what the index can use; the second leaves out those of the same moment that lie
                # beyond. An `$or` would say the same, but may be taken for two walks whose results are to be sorted.
                bounds += [{"created_at": {f"{way}e": moment}}, {"$nor": [{"created_at": moment, "_id": {beyond: id}}]}]
        return {**self.walked, "$and": bounds} if bounds else dict(self.walked)


def _conditions(which: Filter) -> Document:
    wanted: tuple[tuple[str, Sequence[str]], ...] = (
        ("channel", which.channels),
        ("cabinet.id", which.cabinet_ids),
        ("dossier.id", which.dossier_ids),
        ("member.id", which.member_ids),
        ("member.email_key", which.email_keys),
        ("reason", which.errors),
    )
    conditions: Document = {name: _one_of(values) for name, values in wanted if values}
    states = [state.value for state in which.states or (State if which.stuck_since else ())]
    if which.stuck_since is not None:
        conditions["updated_at"] = {"$lt": which.stuck_since}
        # Each state by name: the index of a state is in order, a range over states would be sorted in memory.
        states = [state for state in states if State(state) not in FINAL]
    if states or which.stuck_since is not None:
        conditions["state"] = _one_of(states)
    if which.begins:
        conditions["phrases"] = {"$regex": f"^{re.escape(which.begins)}"}
        if (part := indexed_part(which.begins)) is not None:
            conditions["beginnings"] = part
    return conditions


def _one_of(values: Sequence[str]) -> object:
    return values[0] if len(values) == 1 else {"$in": list(values)}


def _rank(field: str, which: Filter) -> float:
    """How much there is to look at by a field, compared with others."""
    if field == "beginnings" and len(which.begins) < LENGTHS[1]:
        return LISTED_BY.index("cabinet.id") + 0.5
    return LISTED_BY.index(field)
