"""What the rooms ask of a store. Memory and MongoDB keep the same promises; one suite runs over both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from convive_contracts.events import CabinetState, DossierState, Policies
from convive_kit.errors import Retry
from convive_kit.group_commit import DuplicateKey, VersionConflict
from invitation.lifecycle.invitation import Change, Invitation, Invitee, Step
from invitation.lifecycle.schedule import NOTHING_CHOSEN, Policy
from invitation.lifecycle.states import State

_MOST_RACES = 20


class Contended(Retry):
    """Too many want to change this at the same moment."""

    slug = "contended"

    def __init__(self) -> None:
        super().__init__(self.message(), after=1)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which invitations a list shows. Values of one field mean OR, fields mean AND. `begins`: how a name or the address
    begins, folded by `search_key`."""

    states: Sequence[State] = ()
    channels: Sequence[str] = ()
    cabinet_ids: Sequence[str] = ()
    dossier_ids: Sequence[str] = ()
    member_ids: Sequence[str] = ()
    email_keys: Sequence[str] = ()
    errors: Sequence[str] = ()
    created_after: datetime | None = None
    created_before: datetime | None = None
    stuck_since: datetime | None = None
    begins: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `after` is the key to go on from, or None at the end. It may be shorter than asked for, even
    empty, and go on: then more was looked at than one call should wait for."""

    items: Sequence[Invitation]
    after: tuple[datetime, str] | None


Row = Mapping[str, Any]
"""An invitation as one line of a table, moments as text; see `COLUMNS` in `store.documents`."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the firm and the client file are called at present, and how the firm shows itself."""

    cabinet: str
    cabinet_phone: str | None
    dossier: str
    colour: str | None = None
    reply_to: str | None = None
    sms_sender: str | None = None
    policies: Policies = field(default_factory=Policies)

    @classmethod
    def known(cls, invitee: Invitee, cabinet: Mapping[str, Any] | None, dossier: Mapping[str, Any] | None) -> Names:
        """From what was learned last, where anything was; else from what was said of the person."""
        firm: Mapping[str, Any] = cabinet or {"name": invitee.cabinet_name, "phone": invitee.cabinet_phone}
        return cls(
            cabinet=firm["name"],
            cabinet_phone=firm["phone"],
            dossier=dossier["name"] if dossier else invitee.dossier_name,
            colour=firm.get("colour"),
            reply_to=firm.get("reply_to"),
            sms_sender=firm.get("sms_sender"),
            policies=policies_in(cabinet),
        )


def policies_in(cabinet: Mapping[str, Any] | None) -> Policies:
    """What was learned of a cabinet's policies last; nothing chosen where nothing was."""
    chosen = cabinet.get("policies") if cabinet else None
    return Policies.model_validate(chosen) if chosen else NOTHING_CHOSEN


class Store(Protocol):
    """Where invitations live. Every method raises `DatabaseAway` (a `Retry`) in an outage."""

    async def load(self, id: str) -> Invitation | None:
        """The invitation, without its history, or None."""
        ...

    async def save(self, change: Change) -> None:
        """Carry the change out whole, and have its facts published.

        Raises `DuplicateKey` when it is new and the id is taken, `VersionConflict` when it has changed since it was
        loaded. After `DatabaseAway` it may have been carried out: load again and decide again.
        """
        ...

    async def history(self, id: str) -> Sequence[Step]:
        """All steps, oldest first; empty for an unknown id."""
        ...

    async def due(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        """Invitations of these channels at which something must happen, those longest due first."""
        ...

    async def due_once_armed(self, now: datetime, limit: int, channels: Sequence[str]) -> Sequence[Invitation]:
        """As `due`, of those that a rebuild has folded in and nobody has armed since: for when it is over."""
        ...

    async def disarmed(self) -> int:
        """At how many of those something is going to come due."""
        ...

    async def disarmed_and_removed(self, limit: int) -> Sequence[Invitation]:
        """Those of them that the log says were removed."""
        ...

    async def is_empty(self) -> bool:
        """Whether there is no invitation at all."""
        ...

    async def learn_cabinet(self, state: CabinetState, order: int) -> bool:
        """Keep what the directory says of a cabinet, unless something as new (by `order`) is kept; True if kept."""
        ...

    async def learn_dossier(self, state: DossierState, order: int) -> bool:
        """Keep what the directory says of a dossier, unless something as new (by `order`) is kept; True if kept."""
        ...

    async def names(self, invitee: Invitee) -> Names:
        """The names as they are now; what `user.created` said is the fallback."""
        ...

    async def policies(self, cabinet_id: str) -> Policies:
        """What the firm has chosen, as it is now."""
        ...

    def rows(self, which: Filter) -> AsyncGenerator[Sequence[Row]]:
        """All of a list, newest first, as flat rows and in pieces, for carrying it out of here."""
        ...

    async def find(
        self, which: Filter, *, limit: int, after: tuple[datetime, str] | None = None, newest_first: bool = True
    ) -> Page:
        """A page of invitations by creation time."""
        ...


Decide = Callable[[Invitation], Change | None]


async def policy_for(store: Store, invitation: Invitation | None, usual: Policy) -> Policy:
    """The policy of the firm that an invitation belongs to; the usual one where that is not known."""
    invitee = invitation.invitee if invitation else None
    return usual if invitee is None else usual.of(await store.policies(invitee.cabinet_id))


async def decide_and_save(store: Store, id: str, decide: Decide) -> Change | None:
    """Load, decide, save; on a lost race once more with what is there now.

    Returns the change that was carried out, or None when there is no such invitation or nothing to change. Raises
    `Contended` when race after race is lost.
    """
    for _ in range(_MOST_RACES):
        invitation = await store.load(id)
        change = None if invitation is None else decide(invitation)
        if change is None:
            return None
        try:
            await store.save(change)
        except VersionConflict:
            continue
        return change
    raise Contended


async def decide_and_save_at_once(store: Store, invitation: Invitation, decide: Decide) -> Change | None:
    """As `decide_and_save`, for one that was loaded already: whoever was faster since costs another look."""
    change = decide(invitation)
    if change is not None:
        try:
            await store.save(change)
        except VersionConflict:
            return await decide_and_save(store, invitation.id, decide)
    return change


async def decide_or_begin(
    store: Store, begin: Callable[[], Invitation], decide: Decide, *, known: bool = False
) -> Change | None:
    """As `decide_and_save`, but an unknown invitation begins as a blank one. The insert comes first, for most are new,
    unless it is probably `known`."""
    blank = begin()
    if known and (there := await store.load(blank.id)) is not None:
        return await decide_and_save_at_once(store, there, decide)
    change = decide(blank)
    if change is not None:
        try:
            await store.save(change)
        except DuplicateKey:
            return await decide_and_save(store, blank.id, decide)
    return change
