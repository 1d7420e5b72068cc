"""What must hold: at every commit, at every publish, and once the faults have ended and the world has come to rest."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from convive_contracts import DIRECTORY_SOURCE, INVITATION_SOURCE, parse_event
from convive_contracts.envelope import STRUCTURED
from convive_contracts.events import InvitationState
from convive_kit.outbox import OutboxEntry
from directory.model.account import Account, Redemption
from directory.model.member import Member
from invitation.lifecycle.invitation import Change, Invitation, Step
from invitation.lifecycle.schedule import LINK_IS_ALIVE, REMINDED
from invitation.lifecycle.states import TABLE, WAY_IN, State, Trigger, counts
from tests.model.broker import Broker
from tests.model.directory_side import DirectorySide
from tests.model.world import POLICY, Mail, World

Kind = Literal["created", "updated", "removed"]

_MOVES = {(row.trigger.value, state, row.to) for row in TABLE for state in row.from_ if row.to is not None}
_TRIGGERS = {trigger.value for trigger in Trigger}
_NAMED = {"accepted": "sent", "extended": "extended"}
_NEW_LINK = (Trigger.RESEND, Trigger.ADDRESS_CHANGED, Trigger.RENEW, Trigger.CREATED_AGAIN)
_USED_UP = (State.PASSWORD_SET, State.ACTIVE)


@dataclass
class Publication:
    """An event about a member, as its publisher means it."""

    kind: Kind
    order: int
    email: str
    id: str


@dataclass
class Guest:
    """Somebody who was invited: what the publisher has said, in the order in which it was true."""

    id: str
    source: str
    invitation_id: str
    email: str
    in_order: bool
    alive: bool = True
    order: int = 0
    said: list[Publication] = field(default_factory=list[Publication])
    # Somebody tried, and somebody was told that it is done.
    revoking: bool = False
    revoked: bool = False
    edits: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def lives(self) -> int:
        return sum(one.kind == "created" for one in self.said)

    @property
    def is_own(self) -> bool:
        return self.source == DIRECTORY_SOURCE


@dataclass(frozen=True)
class Told:
    """A person was told that they are in, with that password."""

    invitation_id: str
    password: str
    link_sequence: int


class Record:
    """Everything that was committed and published, checked on the way."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.committed: dict[str, bytes] = {}
        self._by_event: dict[tuple[str, str], int] = defaultdict(int)
        self.told: list[Told] = []
        self._reminders: dict[tuple[str, int], set[int]] = defaultdict(set)
        self._bounced: set[tuple[str, int]] = set()

    def on_commit(self, change: Change, outbox: Sequence[OutboxEntry]) -> None:
        after = change.after
        self._world.note(
            f"commit {after.id[:4]} v{after.version} {after.state} "
            f"{[(s.trigger, s.event_id) for s in change.steps]} send={after.send_sequence}/{after.attempt}"
        )
        if change.before is not None and after.version <= change.before.version:
            self._wrong(f"{after.id}: a save did not raise the version")
        for wrong in illegal(change.steps, change.before.state if change.before else State.PENDING):
            self._wrong(f"{after.id}: {wrong}")
        if change.steps and change.steps[-1].to is not after.state:
            self._wrong(f"{after.id}: the state changed without a step")
        for event in {step.event_id for step in change.steps if step.event_id is not None}:
            self._by_event[after.id, event] += 1
            if self._by_event[after.id, event] > 1:
                self._wrong(f"{after.id}: event {event} had its effect twice")
        if after.send_at is not None and after.state not in LINK_IS_ALIVE:
            self._wrong(f"{after.id}: a {after.state} invitation is to be sent")
        newly_claimed = after.lease is not None and (change.before is None or after.lease != change.before.lease)
        if newly_claimed and after.attempt < 1:
            self._wrong(f"{after.id}: a claim that is no attempt")
        if after.remind_at is not None and (after.state not in REMINDED or after.send_at is not None):
            self._wrong(
                f"{after.id}: a {after.state} invitation is to be reminded of, sends={after.send_at is not None}"
            )
        if newly_claimed and after.occasion == "reminder":
            self._reminded(after)
        versions = [fact.version for fact in change.facts]
        by_sms = after.fell_back and not (change.before and change.before.fell_back)
        last = (
            versions[-1] if by_sms and versions else after.version
        )  # it went on in the same save, with nothing to tell
        if versions and versions != list(range(change.seen + 1, last + 1)):
            self._wrong(f"{after.id}: facts {versions} between versions {change.seen} and {after.version}")
        for step in change.steps:
            if step.trigger == "bounced" and change.before and _fact_of(step):
                self._bounced.add((after.id, change.before.link_sequence))
            if step.trigger == Trigger.ACCEPTED and "of_send" not in (step.detail or {}):
                self._accepted(after)
            hastened = "same_link" in (step.detail or {})  # a text message that waited for the morning
            if step.trigger in _NEW_LINK and step.to is State.PENDING and after.channel != "none" and not hastened:
                old = change.before.link_sequence if change.before else 0
                if after.link_sequence <= old:
                    self._wrong(f"{after.id}: {step.trigger} made no new link")
        for entry in outbox:
            if entry["id"] in self.committed:
                self._wrong(f"event id {entry['id']} was given twice")
            self.committed[entry["id"]] = entry["body"]

    def _reminded(self, after: Invitation) -> None:
        """A reminder is on its way: of a link that works, and not more often than there are days for it."""
        sends = self._reminders[after.id, after.link_sequence]
        sends.add(after.send_sequence)
        if after.state not in REMINDED or (after.id, after.link_sequence) in self._bounced:
            self._wrong(f"{after.id}: somebody is reminded of a link that is {after.state}, or whose mail came back")
        if len(sends) > len(POLICY.reminders):
            self._wrong(f"{after.id}: {len(sends)} reminders of one link")

    def _accepted(self, after: Invitation) -> None:
        """A send counts as taken: then the mail server must have it."""
        send = (after.id, after.send_sequence)
        self._world.accepted.setdefault(send, self._world.now())
        if not any((mail.invitation_id, mail.send) == send for mail in self._world.mails):
            self._wrong(f"{after.id}: send {after.send_sequence} counts as taken, and was not")

    def on_publish(self, key: str, body: bytes, message_id: str | None) -> None:
        if not key.startswith("invitation.") or key.endswith("_requested") or not self._world.sees_commits:
            return
        if self.committed.get(message_id or "") != body:
            self._wrong(f"{key} {message_id} was announced and is not what was committed")

    def _wrong(self, what: str) -> None:
        self._world.note(f"VIOLATION {what}")
        self._world.violations.append(what)


def illegal(steps: Sequence[Step], state: State) -> Iterator[str]:
    """What is no row of the table, beginning in `state`."""
    for step in steps:
        if step.trigger == "rebuilt":
            state = step.to
            continue
        if step.from_ is not state:
            yield f"the history has a gap between {state} and {step.from_}"
        if step.to is not step.from_:
            on_the_way = (
                (step.detail or {}).get("skipped") is True
                and step.from_ in WAY_IN
                and step.to in WAY_IN
                and WAY_IN.index(step.to) == WAY_IN.index(step.from_) + 1
            )
            if not on_the_way and (step.trigger, step.from_, step.to) not in _MOVES:
                yield f"{step.from_} → {step.to} by {step.trigger} is no row of the table"
        state = step.to


class AtRest:
    """The check of a world at rest."""

    def __init__(
        self, world: World, broker: Broker, directory: DirectorySide, record: Record, guests: Mapping[str, Guest]
    ) -> None:
        self._world = world
        self._broker = broker
        self._directory = directory
        self._record = record
        self._guests = guests
        self.wrong: list[str] = []

    def check(
        self,
        invitations: Mapping[str, Invitation],
        histories: Mapping[str, Sequence[Step]],
        parked: Sequence[Mapping[str, Any]],
    ) -> list[str]:
        """Everything that is not as promised."""
        facts = self.facts()
        mails: dict[str, list[Mail]] = defaultdict(list)
        for mail in self._world.mails:
            mails[mail.invitation_id].append(mail)
        parked_ids = {_id_of(row["body"]) for row in parked}
        for unknown in invitations.keys() - self._guests.keys():
            self.wrong.append(f"{unknown} is the invitation of nobody")
        for id, invitation in invitations.items():
            with_id = [f"{id[:4]} ({invitation.state}): {wrong}" for wrong in illegal(histories[id], State.PENDING)]
            self.wrong += with_id
            self._facts(invitation, histories[id], facts.get(id, {}))
            self._links(invitation, mails[id])
        for guest in self._guests.values():
            invitation = invitations.get(guest.invitation_id)
            self._requests(guest, histories.get(guest.invitation_id, ()), parked_ids)
            if guest.said or guest.is_own:
                self._guest(guest, invitation, mails[guest.invitation_id])
        self._accounts(invitations)
        if self._world.sees_commits:
            published = {event for events in facts.values() for event in events}
            for lost in self._record.committed.keys() - published:
                self.wrong.append(f"{lost} was committed and never published")
        return self.wrong

    def facts(self) -> dict[str, dict[str, tuple[int, str, InvitationState]]]:
        """What the log says of each invitation, by event id: version, name and data."""
        found: dict[str, dict[str, tuple[int, str, InvitationState]]] = defaultdict(dict)
        for logged in self._broker.log:
            if logged.message.routing_key.startswith("invitation."):
                event = parse_event(logged.message.body, content_type=STRUCTURED)
                if isinstance(event.data, InvitationState) and event.source == INVITATION_SOURCE:
                    assert event.sequence is not None
                    name = event.short_type.removeprefix("invitation.")
                    found[event.data.invitation_id][event.id] = (event.sequence, name, event.data)
        return found

    def _facts(
        self, invitation: Invitation, steps: Sequence[Step], facts: Mapping[str, tuple[int, str, InvitationState]]
    ) -> None:
        told = sorted(facts.values(), key=lambda one: one[0])
        versions = [version for version, _, _ in told]
        if len(set(versions)) != len(versions):
            self.wrong.append(f"{invitation.id}: two facts with one version: {versions}")
        if any(version != fact.version for version, _, fact in told):
            self.wrong.append(f"{invitation.id}: a fact's sequence is not its version")
        if told and told[-1][0] > invitation.version:
            self.wrong.append(f"{invitation.id}: a fact is newer than the invitation")
        if invitation.invitee is None:
            return
        known = next((n for n, s in enumerate(steps) if s.trigger in ("created", "updated", "created_again")), 0)
        expected = Counter(_fact_of(step) for step in steps[known:])
        del expected[None]
        names = Counter(name for _, name, _ in told)
        if expected != names:
            self.wrong.append(f"{invitation.id}: history tells {dict(expected)}, facts tell {dict(names)}")
        if told and invitation.state is not State.PENDING and told[-1][2].state != invitation.state:
            self.wrong.append(f"{invitation.id} is {invitation.state}, its last fact says {told[-1][2].state}")

    def _links(self, invitation: Invitation, mails: Sequence[Mail]) -> None:
        now = self._world.now()
        ends = invitation.expires_at
        if invitation.state in LINK_IS_ALIVE and ends is not None and ends + timedelta(minutes=2) < now:
            self.wrong.append(f"{invitation.id} is {invitation.state} long after its link ran out")
        for mail in mails:
            state = invitation.link_state(mail.link_sequence, now)
            if state == "alive" and (invitation.removed or mail.link_sequence != invitation.link_sequence):
                self.wrong.append(f"{invitation.id}: link {mail.link_sequence} is alive")
            if mail.link_sequence > invitation.link_sequence or mail.send > invitation.send_sequence:
                self.wrong.append(f"{invitation.id}: a mail of the future")
        if invitation.state is State.SENT and not any(m.link_sequence == invitation.link_sequence for m in mails):
            self.wrong.append(f"{invitation.id} is sent and nobody has a mail with its link")
        if invitation.state is State.PENDING and invitation.channel != "none":
            self.wrong.append(f"{invitation.id} is stuck in pending")

    def _requests(self, guest: Guest, steps: Sequence[Step], parked: set[str]) -> None:
        for what, event_id in guest.requests:
            handled = [step for step in steps if step.event_id == event_id]
            guest.revoked = guest.revoked or bool(handled and what == "revoke")
            if not handled and event_id not in parked:
                self.wrong.append(f"{what} {event_id} about {guest.invitation_id} had no effect and is not parked")

    def _guest(self, guest: Guest, invitation: Invitation | None, mails: Sequence[Mail]) -> None:
        redemption = self._redemption(guest)
        if guest.is_own:
            member = self._member(guest)
            if member is None:  # the directory never committed it
                if invitation is not None:
                    self.wrong.append(f"{guest.invitation_id}: an invitation of no member")
                return
            gone, email, none = member.removed_at is not None, member.email, member.invite_by == "none"
            self._note(guest, member, invitation)
        else:
            last = max((one for one in guest.said if one.kind != "updated"), key=lambda one: one.order)
            details = max((one for one in guest.said if one.kind != "removed"), key=lambda one: one.order)
            gone, email, none = last.kind == "removed", details.email, False
        if invitation is None:
            self.wrong.append(f"{guest.invitation_id}: its events were lost")
            return
        state = invitation.state
        id = f"{invitation.id} ({state})"
        over = {State.REVOKED, *((State.PASSWORD_SET, State.ACTIVE) if redemption else ())}
        if gone:
            if not invitation.removed:
                self.wrong.append(f"{id}: its member was removed, and it does not know")
            if state not in over:
                self.wrong.append(f"{id}: its member was removed")
            return
        if invitation.removed or not invitation.announced:
            self.wrong.append(f"{id}: its member is there, and it does not know")
        if invitation.invitee is None or invitation.invitee.email != email:
            self.wrong.append(f"{id}: the last address told was {email}")
        if guest.lives <= 1:
            if guest.revoked and state not in over:
                self.wrong.append(f"{id}: it was revoked")
            if not guest.revoking and state is State.REVOKED:
                self.wrong.append(f"{id}: nobody revoked it")
            if redemption is not None:
                allowed = {State.ACTIVE} if redemption.active else {State.PASSWORD_SET}
                if guest.revoking and not redemption.active:
                    allowed.add(State.REVOKED)
                if state not in allowed:
                    self.wrong.append(f"{id}: the directory has redeemed it, active={redemption.active}")
        if state in _USED_UP and redemption is None:
            self.wrong.append(f"{id}: the directory knows of no redemption")
        if none or state in (State.REVOKED, State.DECLINED, State.FAILED, State.EXPIRED):
            return
        if not mails:
            self.wrong.append(f"{id}: no mail was ever sent")

    def _note(self, guest: Guest, member: Member, invitation: Invitation | None) -> None:
        """What the directory shows of the invitation."""
        if invitation is None or invitation.channel == "none" or member.removed_at:
            return
        # There and back again: if the second address comes first there is nothing to send, and the directory goes on
        # expecting it until the next fact.
        assumes = guest.edits > 1 and member.invitation is not None and member.invitation.state == "pending"
        if not assumes and (member.invitation is None or member.invitation.state != invitation.state):
            shown = member.invitation and (member.invitation.state, member.invitation.version)
            self.wrong.append(
                f"{invitation.id} is {invitation.state} v{invitation.version}; the directory shows {shown}"
            )
        if invitation.state is State.ACTIVE and not member.has_signed_in:
            self.wrong.append(f"{invitation.id} is active, and the directory says never signed in")

    def _accounts(self, invitations: Mapping[str, Invitation]) -> None:
        for told in self._record.told:
            accounts = self._accounts_in(told.invitation_id)
            if not accounts:
                self.wrong.append(f"{told}: told to be in, and the directory knows nothing")
            elif all(account.password_hash != f"hash of {told.password}" for account in accounts):
                self.wrong.append(f"{told}: told to be in, and that password does not work")
            # A newer link belongs to a newer life: whoever is in gets none.
            invitation = invitations[told.invitation_id]
            if invitation.link_sequence == told.link_sequence and invitation.state not in (*_USED_UP, State.REVOKED):
                self.wrong.append(f"{told}: told to be in, and the invitation is {invitation.state}")

    # --- the directory's rows ----------------------------------------------------------------------------------------

    def _member(self, guest: Guest) -> Member | None:
        return self._directory.rows._load(Member, guest.id)

    def _accounts_in(self, id: str) -> list[Account]:
        return self._directory.rows._all(Account, lambda account: id in account.redemptions)

    def _redemption(self, guest: Guest) -> Redemption | None:
        found = [account.redemptions[guest.invitation_id] for account in self._accounts_in(guest.invitation_id)]
        set_here = [redemption for redemption in found if redemption.credential == "new"]
        if len(set_here) > 1 and guest.lives <= 1:
            self.wrong.append(f"{guest.invitation_id}: {len(set_here)} passwords were set with it")
        return max(found, key=lambda redemption: redemption.active, default=None)


def _fact_of(step: Step) -> str | None:
    """The fact that a step must have announced."""
    detail = step.detail or {}
    if detail.get("skipped") is True:
        return step.to.value
    if "kept" in detail or "of_send" in detail:
        return None
    if step.trigger in ("delivered", "bounced"):
        return step.trigger
    if step.trigger not in _TRIGGERS or not counts(Trigger(step.trigger), step.from_):
        return None
    if step.trigger in _NAMED:
        return _NAMED[step.trigger]
    return None if step.to in (step.from_, State.PENDING) else step.to.value


def _id_of(body: bytes) -> str:
    try:
        return parse_event(body, content_type=STRUCTURED).id
    except Exception:
        return ""


def snapshot(invitation: Invitation) -> dict[str, Any]:
    """What a rebuild must bring back. Of the removed no details: where the removal reached the log first, its
    `user.created` is too old to count."""
    details = {} if invitation.removed else _details(invitation)
    return {
        **details,
        "state": invitation.state,
        "removed": invitation.removed,
        "sends": invitation.send_at is not None,
    }


def _details(invitation: Invitation) -> dict[str, Any]:
    email = invitation.invitee.email if invitation.invitee else None
    return {
        "announced": invitation.announced,
        "email": email,
        "channel": invitation.channel,
        "link_sequence": invitation.link_sequence,
        "expires_at": _seconds(invitation.expires_at),
    }


def _seconds(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(microsecond=0)
