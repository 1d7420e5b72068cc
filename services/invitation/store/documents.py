"""Invitations as MongoDB documents, and changes as updates that touch only what changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any, cast

from convive_kit.mongo import Document
from convive_kit.outbox import OutboxEntry
from invitation.lifecycle.facts import announcements
from invitation.lifecycle.invitation import Change, Invitation, Invitee, Lease, Step, Told
from invitation.lifecycle.schedule import LINK_IS_ALIVE
from invitation.lifecycle.states import State
from invitation.store.search import beginnings, phrases

COLUMNS = {
    "id": "_id",
    "state": "state",
    "reason": "reason",
    "channel": "channel",
    "first_name": "member.first_name",
    "last_name": "member.last_name",
    "email": "member.email",
    "phone": "member.phone",
    "role": "member.role",
    "member_id": "member.id",
    "dossier": "dossier.name",
    "dossier_id": "dossier.id",
    "cabinet": "cabinet.name",
    "cabinet_id": "cabinet.id",
    "source": "source",
    "link_sequence": "link_sequence",
    "send_sequence": "send_sequence",
    "version": "version",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "expires_at": "expires_at",
    "due_at": "due_at",
}
"""The columns of an exported table, and where in a document each is found."""

_AS_TEXT = "%Y-%m-%dT%H:%M:%S.%LZ"
FLAT: Document = {
    "_id": 0,
    **{
        column: {"$dateToString": {"date": f"${path}", "format": _AS_TEXT}} if column.endswith("_at") else f"${path}"
        for column, path in COLUMNS.items()
    },
}
"""The projection that makes a row of a document, where that costs least. What is missing is left out."""

KEPT_STEPS = 300
"""A history longer than any honest life; what floods it pushes the oldest steps out."""

WITHOUT_HISTORY = {"history": 0, "outbox": 0, "writes": 0, "phrases": 0, "beginnings": 0}

_MEMBER = (
    "first_name",
    "last_name",
    "employee_code",
    "email",
    "email_key",
    "phone",
    "locale",
    "time_zone",
    "role",
    "own_expense_reports",
)
_PLAIN = (
    "version",
    "channel",
    "link_sequence",
    "send_sequence",
    "attempt",
    "send_at",
    "occasion",
    "received",
    "wanted_at",
    "sent_at",
    "reminders",
    "remind_at",
    "fell_back",
    "expires_at",
    "due_at",
    "due_once_armed",
    "reason",
    "announced",
    "erased",
    "disarmed",
    "rebuilt_to",
    "rebuilt_at",
    "began_at",
    "began_link",
    "account_id",
    "credential",
    "correlation_id",
    "traceparent",
    "updated_at",
)
_plain_values: Callable[[Invitation], tuple[object, ...]] = attrgetter(*_PLAIN)
_member_values: Callable[[Invitee], tuple[object, ...]] = attrgetter(*_MEMBER)


def entries(change: Change, correlation_id: str | None, trace: dict[str, str] | None = None) -> list[OutboxEntry]:
    """The outbox entries that go with a change; `trace` is handed on in each."""
    made: list[OutboxEntry] = [
        {"id": told["id"], "at": change.after.updated_at, "key": told["key"], "body": told["body"]}
        for told in announcements(change, correlation_id, trace)
    ]
    return [{**entry, "trace": trace} for entry in made] if trace else made


def to_document(change: Change, outbox: list[OutboxEntry]) -> Document:
    """The document of a new invitation."""
    after = change.after
    return {
        "_id": after.id,
        "source": after.source,
        "created_at": after.created_at,
        **_fields(after),
        **_searched(after.invitee),
        "history": [_step(step) for step in change.steps],
        "outbox": outbox,
    }


def to_update(change: Change, outbox: list[OutboxEntry]) -> dict[str, Any]:
    """The update that carries a change out."""
    before = cast("Invitation", change.before)
    same_person = change.after.invitee is before.invitee
    old, new = (_fields(one, with_person=not same_person) for one in (before, change.after))
    if not same_person and change.after.invitee != before.invitee:
        new.update(_searched(change.after.invitee))
    update: dict[str, Any] = {"$set": {name: value for name, value in new.items() if old.get(name) != value}}
    if gone := {name: "" for name in old if name not in new}:
        update["$unset"] = gone
    pushes: dict[str, Any] = {}
    if change.steps:
        pushes["history"] = {"$each": [_step(step) for step in change.steps], "$slice": -KEPT_STEPS}
    if outbox:
        pushes["outbox"] = {"$each": outbox}
    if pushes:
        update["$push"] = pushes
    return update


DISARMED_AND_REMOVED: Document = {"disarmed": True, "removal": {"$exists": True}}
"""Those at which more is to be decided, once all of the log is folded in, than when something comes due."""


def from_document(document: Mapping[str, Any]) -> Invitation:
    """The invitation of a document; the history is read on its own."""
    lease = document.get("lease")
    return Invitation(
        id=document["_id"],
        source=document["source"],
        created_at=document["created_at"],
        invitee=_invitee(document),
        state=State(document["state"]),
        lease=Lease(lease["owner"], lease["until"]) if lease else None,
        told=_told(document.get("told")),
        removal=_told(document.get("removal")),
        handled=tuple(document.get("handled", ())),
        **{name: document[name] for name in _PLAIN if name in document},
    )


def steps_of(document: Mapping[str, Any]) -> list[Step]:
    """The history of a document."""
    return [
        Step(
            at=step["at"],
            trigger=step["trigger"],
            from_=State(step["from"]),
            to=State(step["to"]),
            actor=step["actor"],
            event_id=step.get("event_id"),
            detail=step.get("detail"),
        )
        for step in document.get("history", ())
    ]


def _fields(invitation: Invitation, *, with_person: bool = True) -> Document:
    """Everything but the arrays that only grow. What is None, false or as usual is left out, and so are the indexes'
    entries."""
    values = zip(_PLAIN, _plain_values(invitation), strict=True)
    fields: Document = {name: value for name, value in values if value is not None and value is not False}
    if not invitation.reminders:
        del fields["reminders"]
    if invitation.occasion == "link":
        del fields["occasion"]
    fields["state"] = invitation.state.value
    if invitation.invitee is not None and invitation.invitee.email_key:
        # Who is still to be announced is in no list, and who has come to an end is kept for so long and no longer.
        if not invitation.announced:
            fields["held"] = True
        elif invitation.state not in LINK_IS_ALIVE or invitation.expires_at is None:
            fields["ended"] = True
    if invitation.lease is not None:
        fields["lease"] = {"owner": invitation.lease.owner, "until": invitation.lease.until}
    for name, told in (("told", invitation.told), ("removal", invitation.removal)):
        if told is not None:
            fields[name] = _without_none({"time": told.time, "sequence": told.sequence})
    if invitation.handled:
        fields["handled"] = list(invitation.handled)
    invitee = invitation.invitee
    if with_person and invitee is not None:
        fields["member"] = _without_none(
            {"id": invitee.member_id, **dict(zip(_MEMBER, _member_values(invitee), strict=True))}
        )
        fields["dossier"] = _without_none(
            {"id": invitee.dossier_id, "name": invitee.dossier_name, "external_ref": invitee.external_ref}
        )
        fields["cabinet"] = _without_none(
            {"id": invitee.cabinet_id, "name": invitee.cabinet_name, "phone": invitee.cabinet_phone}
        )
        if invitee.invited_by is not None:
            fields["invited_by"] = invitee.invited_by
    return fields


def _searched(invitee: Invitee | None) -> Document:
    if invitee is None:
        return {}
    searched = phrases(invitee)
    return {"phrases": searched, "beginnings": beginnings(searched)}


def _told(fields: Mapping[str, Any] | None) -> Told | None:
    return None if fields is None else Told(fields["time"], fields.get("sequence"))


def _invitee(document: Mapping[str, Any]) -> Invitee | None:
    member = document.get("member")
    if member is None:
        return None
    dossier, cabinet = document["dossier"], document["cabinet"]
    return Invitee(
        member_id=member["id"],
        dossier_id=dossier["id"],
        dossier_name=dossier["name"],
        external_ref=dossier.get("external_ref"),
        cabinet_id=cabinet["id"],
        cabinet_name=cabinet["name"],
        cabinet_phone=cabinet.get("phone"),
        invited_by=document.get("invited_by"),
        **{name: member[name] for name in _MEMBER if name in member},
    )


def _step(step: Step) -> Document:
    return _without_none(
        {
            "at": step.at,
            "trigger": step.trigger,
            "from": step.from_.value,
            "to": step.to.value,
            "actor": step.actor,
            "event_id": step.event_id,
            "detail": dict(step.detail) if step.detail else None,
        }
    )


def _without_none(fields: Mapping[str, object]) -> Document:
    return {name: value for name, value in fields.items() if value is not None}


def key_of(invitation: Invitation) -> tuple[datetime, str]:
    """What lists are ordered by."""
    return invitation.created_at, invitation.id
