"""What each collection would be sharded by, and whether a command names it.

On a sharded cluster, a command whose filter holds the shard key with equality goes to the one shard (a list of values:
to those shards) that can have it. Any other goes to all of them, so its cost grows with the cluster, and an upsert or a
`findAndModify` of that kind may be refused. Of unique indexes a sharded collection takes only those that begin with its
shard key, and that of `_id`, which holds across shards where `_id` is the shard key: "Unique indexes are not supported
on sharded collections unless the index is the shard key or includes it as a prefix" (MongoDB manual, "Sharded
Collections with Unique Indexes", docs/manual/tutorial/shard-collection-with-unique-index; also "Shard Key Indexes":
"Unique Indexes"; a hashed index can never be unique itself).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from convive_kit.mongo import Document

SHARDED: Mapping[str, str] = {
    "invitation.invitations": "_id",
    "invitation.names": "_id",
    "directory.accounts": "_id",
    "directory.cabinets": "_id",
    "directory.dossiers": "_id",
    "directory.sessions": "_id",
}
"""The shard key of each collection that grows with what comes in; hashed, for ids are drawn from everywhere. That of an
invitation comes from its event, that of an account is the e-mail address."""

_FEW = "as many as there are operators or processes"
_CLAIMED = (
    "whoever is free claims what has been due for longest, with a findAndModify that knows no id; few, or short-lived"
)
UNSHARDED: Mapping[str, str] = {
    "invitation.audit": "one record per act of an operator, read by time, target and actor",
    "invitation.bulk": _CLAIMED,
    "invitation.bulk_items": "gone when its bulk operation is over; read in ranges of `_id`",
    "invitation.checks": "one document",
    "invitation.console_sign_outs": _FEW,
    "invitation.console_views": f"{_FEW}; a view's name is unique for its operator",
    "invitation.erasures": _CLAIMED,
    "invitation.ops_tokens": f"{_FEW}; the hash of a token is unique",
    "invitation.parked": "what could not be handled; read in lists",
    "invitation.processes": _FEW,
    "invitation.rate_limits": "gone after minutes; always found by `_id`, so it could be sharded",
    "invitation.rate_limit_windows": "not used",
    "invitation.replays": _CLAIMED,
    "directory.digests": "one document a day",
    "directory.import_rows": "gone after thirty days; read in ranges of `_id`",
    "directory.imports": _CLAIMED,
    "directory.letters": _CLAIMED,
    "directory.members": "no two members of a dossier have the same address: that unique index wants dossier_id as the"
    " shard key, and members are read and saved by `_id` alone, which is all that an event about one says",
    "directory.parked": "what could not be handled; read in lists",
    "directory.rate_limits": "gone after minutes; always found by `_id`, so it could be sharded",
    "directory.rate_limit_windows": "not used",
}
"""Collections that stay on one shard, and why."""


@dataclass(frozen=True, slots=True)
class Scattering:
    """A query that asks every shard, and is meant to. `fields`: the only ones that its filter may name, of which the
    first must be there; with an `index`, it insists on the one whose name begins so. `most`: how many answers it may
    want; None where the index alone bounds it."""

    what: str
    collections: tuple[str, ...]
    commands: tuple[str, ...]
    fields: tuple[str, ...]
    index: str | None = None
    most: int | None = None

    def allows(self, collection: str, name: str, statement: Mapping[str, Any]) -> bool:
        if collection not in self.collections or name not in self.commands:
            return False
        if self.index is not None and not str(statement.get("hint", "")).startswith(self.index):
            return False
        names = set(_fields(_filter(statement)))
        if not (self.index or "").startswith("listed") and not {*self.fields[:1]} <= names <= {*self.fields}:
            return False
        return self.most is None or 0 < _limit(statement) <= self.most


def _scattering(
    what: str,
    collections: str,
    fields: str = "",
    *,
    commands: str = "find",
    index: str | None = None,
    most: int | None = None,
) -> Scattering:
    return Scattering(what, tuple(collections.split()), tuple(commands.split()), tuple(fields.split()), index, most)


_INVITATIONS = "invitation.invitations"
_WITH_OUTBOX = "invitation.invitations directory.accounts directory.cabinets directory.dossiers"
EXPECTED: Sequence[Scattering] = (
    _scattering("the due loop", _INVITATIONS, "channel due_at", most=1000),
    _scattering("how much is due, for the metrics", _INVITATIONS, "channel due_at", index="due",
                commands="find aggregate", most=10_000),
    _scattering("how much of it was rebuilt", _INVITATIONS, "channel due_once_armed", index="due_once_armed",
                commands="find aggregate", most=10_000),
    _scattering("the sweeper of the outbox", _WITH_OUTBOX, "outbox.at", most=200),
    _scattering("how much waits in the outbox, for the metrics", _WITH_OUTBOX, "outbox.at", index="outbox_waiting",
                commands="find aggregate", most=10_000),
    _scattering("the invitations of a person: lists, and others to accept on the page of a link", _INVITATIONS,
                index="listed_member_email_key", commands="find aggregate"),
    _scattering("lists, exports, counts: a walk along an index", _INVITATIONS, index="listed",
                commands="find aggregate"),
    _scattering("who was never announced, when a person is erased", _INVITATIONS,
                "held member.email_key member.id", index="held"),
    _scattering("retention", _INVITATIONS, "ended updated_at", index="ended", most=1000),
    _scattering("the due loop after a rebuild", _INVITATIONS, "channel due_once_armed", most=1000),
    _scattering("what a rebuild has to decide", _INVITATIONS, "disarmed removal", most=500),
    _scattering("whether there is any invitation, when a replay begins", _INVITATIONS, index="_id_", most=1),
    _scattering("a receipt from a provider that names a message by its own id alone", _INVITATIONS,
                "history.detail.provider_id", index="provider_id", most=1),
    _scattering("who signs in with the code from a link", "directory.accounts", "handoffs.hash", most=1),
    _scattering("an account by the id that stands in events", "directory.accounts", "account_id", most=1),
    _scattering("the staff of a cabinet", "directory.accounts", "staff.cabinet_id _id", most=1000),
    _scattering("the sessions of an account, when they are ended", "directory.sessions", "account",
                commands="find delete"),
    _scattering("the dossiers of a cabinet", "directory.dossiers", "cabinet_id archived_at name_key external_ref _id",
                most=1000),
    _scattering("the dossiers that an import names", "directory.dossiers",
                "cabinet_id archived_at name_key external_ref"),
    _scattering("dossiers left half made", "directory.dossiers", "unfinished_since", most=1000),
    _scattering("everything, page by page, to announce it again", "directory.accounts directory.cabinets"
                " directory.dossiers", "_id", most=1000),
)  # fmt: skip
"""Every query that may ask all shards."""

_STATEMENTS = {"update": "updates", "delete": "deletes", "insert": "documents"}
_LOOKS_AT_NO_DOCUMENT = frozenset(
    ("getMore", "killCursors", "createIndexes", "listIndexes", "hello", "ping", "endSessions", "buildInfo", "collMod")
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of what was heard. `targeted`: how many statements named the shard key, by collection and command;
    `scattered`: by the name of an expected query, the commands that were one; `faults`: everything else."""

    targeted: Mapping[tuple[str, str], int]
    scattered: Mapping[str, Sequence[Document]]
    faults: Sequence[str]


def judge(service_of: Callable[[str], str], commands: Iterable[Mapping[str, Any]]) -> Verdict:
    """Look at every command; `service_of` says whose database one is."""
    targeted: dict[tuple[str, str], int] = {}
    scattered: dict[str, list[Document]] = {}
    faults: dict[str, None] = {}
    for command in commands:
        name = next(iter(command))
        if name in _LOOKS_AT_NO_DOCUMENT:
            continue
        collection = f"{service_of(command['$db'])}.{command[name]}"
        if collection not in SHARDED:
            if collection not in UNSHARDED:
                faults[f"{collection}: nobody has said what it would be sharded by ({name})"] = None
            continue
        for statement in cast("Sequence[Mapping[str, Any]]", command.get(_STATEMENTS.get(name, ""), [command])):
            if _names(SHARDED[collection], name, statement):
                targeted[collection, name] = targeted.get((collection, name), 0) + 1
                continue
            expected = next((one for one in EXPECTED if one.allows(collection, name, statement)), None)
            if expected is None:
                faults[_fault(collection, name, statement)] = None
            else:
                kept = {key: value for key, value in command.items() if key != _STATEMENTS.get(name)}
                if name in _STATEMENTS:
                    kept[_STATEMENTS[name]] = [dict(statement)]
                scattered.setdefault(expected.what, []).append(kept)
    return Verdict(targeted, scattered, list(faults))


def refused_indexes(indexes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Of the indexes by collection and name, the unique ones that a sharded cluster would not keep."""
    return [
        f"{collection}.{name}: unique over {', '.join(field for field, _ in index['key'])}"
        for collection, by_name in indexes.items()
        for name, index in by_name.items()
        if index.get("unique") and collection in SHARDED and index["key"][0][0] not in ("_id", SHARDED[collection])
    ]


def _fault(collection: str, name: str, statement: Mapping[str, Any]) -> str:
    fields = ", ".join(sorted(set(_fields(_filter(statement))))) or "nothing"
    hint, limit = statement.get("hint"), _limit(statement)
    return f"{collection}: {name} by {fields} (index {hint}, limit {limit}) asks every shard"


def _names(key: str, name: str, statement: Mapping[str, Any]) -> bool:
    """Whether a statement can be sent to the shards that have what it is about."""
    if name == "insert":
        return key in statement
    return _pinned(key, _filter(statement))


def _pinned(key: str, which: Mapping[str, Any]) -> bool:
    if key in which:
        value = which[key]
        operators = [one for one in cast("Mapping[str, Any]", value) if one[0] == "$"] if _is_document(value) else []
        return not operators or "$eq" in operators or "$in" in operators
    return any(_pinned(key, part) for part in which.get("$and", ()))


def _filter(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    if "pipeline" in statement:
        first = next(iter(statement["pipeline"]), {})
        return first.get("$match", {})
    return next((statement[name] for name in ("filter", "q", "query") if name in statement), {})


def _limit(statement: Mapping[str, Any]) -> int:
    if "pipeline" in statement:
        return next((stage["$limit"] for stage in statement["pipeline"] if "$limit" in stage), 0)
    return statement.get("limit", 0)


def _fields(which: Mapping[str, Any]) -> Iterator[str]:
    for name, value in which.items():
        if name[0] == "$":
            for part in value if isinstance(value, (list, tuple)) else ():
                yield from _fields(cast("Mapping[str, Any]", part))
        else:
            yield name


def _is_document(value: object) -> bool:
    return isinstance(value, Mapping)
