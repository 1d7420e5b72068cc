"""The checker: holds what was found against what was asked and told."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from convive_contracts.events import INVITATION_SOURCE
from tests.chaos.evidence import Document, Evidence
from tests.chaos.ledger import Guest, Ledger
from tests.chaos.plan import LEASE
from tests.chaos.rules import facts, illegal
from tests.chaos.sink import Mail, MailSink
from tests.chaos.trouble import Incident

_IN = ("password_set", "active")
_UNCERTAIN = 30.0
"""Seconds for which an outcome may stay unrecorded before a fault makes it unknown: an attempt, and an outage of the
database, the longest of a plan."""


@dataclass(slots=True)
class Verdict:
    """Each list says in words what is wrong. `repeats`: mails beyond the first of a send; `bound`: how many there may
    be by the promise, besides the `timed_out` ones, whose answer took longer than an attempt; `beyond`: those that
    nothing accounts for."""

    lost: list[str] = field(default_factory=list[str])
    stuck: list[str] = field(default_factory=list[str])
    unexpected: list[str] = field(default_factory=list[str])
    illegal: list[str] = field(default_factory=list[str])
    beyond: list[str] = field(default_factory=list[str])
    repeats: int = 0
    timed_out: int = 0
    bound: int = 0
    events_repeated: int = 0

    @property
    def passed(self) -> bool:
        return not (self.lost or self.stuck or self.unexpected or self.illegal or self.beyond)


def judge(evidence: Evidence, ledger: Ledger, sink: MailSink, incidents: Sequence[Incident]) -> Verdict:
    """All checks."""
    verdict = Verdict()
    check = _Check(evidence, ledger, sink, verdict)
    check.everybody()
    check.events()
    check.mails()
    check.directory()
    check.at_rest(incidents)
    _count_repeats(sink, incidents, _timeouts(evidence), verdict)
    verdict.events_repeated = sum(evidence.copies.values()) - len(evidence.copies)
    verdict.unexpected += ledger.surprises + evidence.links + evidence.passwords
    return verdict


class _Check:
    def __init__(self, evidence: Evidence, ledger: Ledger, sink: MailSink, verdict: Verdict) -> None:
        self._evidence = evidence
        self._ledger = ledger
        self._verdict = verdict
        self._guests = {guest.invitation_id: guest for guest in ledger.guests if guest.member_id}
        self._mails: dict[str, list[Mail]] = defaultdict(list)
        for mail in sink.mails:
            self._mails[mail.invitation_id].append(mail)
        self._unreadable = len(sink.unreadable)

    # --- what people and programs were told ------------------------------------------------------------------------

    def everybody(self) -> None:
        """What each guest was told, held against where their invitation stands."""
        for guest in self._ledger.guests:
            who = f"guest {guest.number} ({guest.story}, {guest.member_id or 'never added'})"
            invitation = self._evidence.invitations.get(guest.invitation_id) if guest.member_id else None
            if not guest.ends:
                state = invitation["state"] if invitation else "none"
                self._verdict.stuck.append(f"{who}: the story is not over; invitation: {state}")
            if not guest.accepted:
                continue
            if invitation is None:
                self._verdict.lost.append(f"{who}: accepted, and there is no invitation")
            else:
                self._one(guest, who, invitation)
        for id, invitation in self._evidence.invitations.items():
            if id not in self._guests:
                self._verdict.unexpected.append(f"invitation {id} ({invitation['state']}): nobody asked for it")

    def _one(self, guest: Guest, who: str, invitation: Document) -> None:
        verdict, state = self._verdict, invitation["state"]
        if guest.ends and state not in guest.ends:
            lived = ", ".join(f"{step['trigger']} {step.get('at')}" for step in invitation["history"])
            logged = [
                f"{event.get('type')} {event.get('time')}"
                for event in self._evidence.log.values()
                if guest.invitation_id in str(event.get("data"))
            ]
            told = (
                f"{who}: it is {state}, and what was told makes it {' or '.join(guest.ends)};"
                f" it lived {lived}; the log has {', '.join(logged)}"
            )
            (verdict.unexpected if state in ("revoked", "declined", "expired") else verdict.lost).append(told)
        links = 1 + guest.new_links + guest.renewals
        if invitation["link_sequence"] > links:
            verdict.unexpected.append(f"{who}: link {invitation['link_sequence']}, at most {links} were asked for")
        account = self._evidence.accounts.get(guest.email)
        redeemed = account["redemptions"].get(guest.invitation_id) if account else None
        if guest.told_passwords and redeemed is None:
            verdict.lost.append(f"{who}: told that the password is set, and the directory knows nothing of it")
        if redeemed is not None and not guest.tried_password:
            verdict.unexpected.append(f"{who}: redeemed by nobody")
        if redeemed is not None and state not in _IN:
            verdict.lost.append(f"{who}: redeemed, and the invitation is {state}")
        if len(guest.told_passwords) > 1:
            verdict.unexpected.append(f"{who}: {len(guest.told_passwords)} passwords were told to be set")

    # --- the log ---------------------------------------------------------------------------------------------------

    def events(self) -> None:
        """The histories are legal, and the log tells all of them and nothing else."""
        verdict, evidence = self._verdict, self._evidence
        logged: dict[str, list[tuple[int, str]]] = defaultdict(list)
        published: Counter[tuple[str, str]] = Counter()
        for id, event in evidence.log.items():
            short = str(event.get("type", "")).removeprefix("convive.").removesuffix(".v1")
            published[short, str(event.get("subject"))] += 1
            if event.get("source") != INVITATION_SOURCE:
                continue
            data = event["data"]
            sequence = int(event["sequence"])
            if id != f"{data['invitation_id']}.{sequence}" or data["version"] != sequence:
                verdict.illegal.append(f"event {id}: sequence {sequence}, version {data['version']}")
            logged[data["invitation_id"]].append((sequence, short.removeprefix("invitation.")))
        for id in logged.keys() - evidence.invitations.keys():
            verdict.unexpected.append(f"events of an invitation {id} that does not exist")
        for id, invitation in evidence.invitations.items():
            self._history(id, invitation, sorted(logged.get(id, ())))
        for id, member in evidence.members.items():
            for short, happened in (("user.created", True), ("user.removed", bool(member.get("removed_at")))):
                if bool(published[short, id]) is not happened:
                    told = f"member {id}: {short} {'is missing in' if happened else 'is in'} the log"
                    (verdict.lost if happened else verdict.unexpected).append(told)
        redeemed = {
            event["data"]["invitation_id"]
            for event in evidence.log.values()
            if event.get("type") == "convive.account.redeemed.v1"
        }
        for key, account in evidence.accounts.items():
            for invitation_id in account["redemptions"].keys() - redeemed:
                verdict.lost.append(f"account {key}: account.redeemed of {invitation_id} is missing in the log")

    def _history(self, id: str, invitation: Document, told: Sequence[tuple[int, str]]) -> None:
        verdict, history = self._verdict, invitation["history"]
        verdict.illegal += [f"invitation {id}: {step}" for step in illegal(history, invitation["state"])]
        sequences = [sequence for sequence, _ in told]
        if len(set(sequences)) != len(sequences) or (sequences and sequences[-1] > invitation["version"]):
            verdict.illegal.append(f"invitation {id}: events {sequences}, version {invitation['version']}")
        expected, found = list(facts(history)), [name for _, name in told]
        if expected != found:
            missing, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
            if missing:
                verdict.lost.append(f"invitation {id}: in its history and not in the log: {', '.join(missing)}")
            if surplus:
                verdict.unexpected.append(f"invitation {id}: in the log and not in its history: {', '.join(surplus)}")
            if not missing and not surplus:
                verdict.illegal.append(f"invitation {id}: the log tells {found}, the history {expected}")

    # --- mail ------------------------------------------------------------------------------------------------------

    def mails(self) -> None:
        """Each send that is noted as taken was taken, and each mail was asked for."""
        verdict = self._verdict
        for id, invitation in self._evidence.invitations.items():
            taken = {mail.send_sequence for mail in self._mails.get(id, ())}
            for step in invitation["history"]:
                detail = step.get("detail", {})
                send = detail.get("of_send", detail.get("send")) if step["trigger"] == "accepted" else None
                if send is not None and send not in taken:
                    verdict.lost.append(f"invitation {id}: send {send} is noted as taken and never arrived")
            if invitation["state"] == "sent" and invitation["send_sequence"] not in taken:
                verdict.lost.append(f"invitation {id}: sent, and its mail never arrived")
        for id, mails in self._mails.items():
            guest, invitation = self._guests.get(id), self._evidence.invitations.get(id)
            for mail in mails:
                if guest is None or invitation is None:
                    verdict.unexpected.append(f"a mail to {mail.to}, of an invitation nobody asked for")
                elif mail.to not in guest.addresses:
                    verdict.unexpected.append(f"a mail of guest {guest.number} went to {mail.to}")
                elif guest.ends == {"pending"} or guest.story == "unwanted":
                    verdict.unexpected.append(f"a mail to guest {guest.number} ({guest.story}), whom nobody invited")
                elif mail.send_sequence > invitation["send_sequence"]:
                    verdict.unexpected.append(f"send {mail.send_sequence} of invitation {id}, which knows none")
        if self._unreadable:
            verdict.unexpected.append(f"{self._unreadable} mails without a link or a Message-ID")

    # --- the directory ---------------------------------------------------------------------------------------------

    def directory(self) -> None:
        """Members, accounts and sessions: what the directory shows is what happened."""
        verdict, evidence = self._verdict, self._evidence
        own = {guest.member_id: guest for guest in self._ledger.guests if guest.own and guest.member_id}
        for id, guest in own.items():
            member = evidence.members.get(id)
            if member is None:
                verdict.lost.append(f"member {id} of guest {guest.number}: told 201, and not there")
            else:
                self._member(guest, member)
        for id in evidence.members.keys() - own.keys():
            verdict.unexpected.append(f"member {id}: nobody asked for them")
        emails = {email for guest in self._ledger.guests if guest.tried_password for email in guest.addresses}
        verdict.unexpected += [
            f"account {key}: nobody chose a password" for key in evidence.accounts if key not in emails
        ]
        signed_in = {guest.email for guest in self._ledger.guests if guest.tried_sign_in}
        for session in evidence.sessions:
            if session["account"] not in signed_in:
                verdict.unexpected.append(f"a session of {session['account']}: nobody signed in")
        found = Counter(message["sha256"] for message in evidence.parked)
        for message in evidence.parked:
            if message.get("status") == "replayed":  # set aside, and handled once its invitation was known
                continue
            if message["sha256"] not in self._ledger.poison:
                told = f"{message['slug']}: {message['reason'][:200]}"
                verdict.unexpected.append(f"parked though healthy, from {message['queue']}: {told}")
        verdict.lost += [f"a bad message is not parked ({digest[:8]})" for digest in self._ledger.poison - found.keys()]

    def _member(self, guest: Guest, member: Document) -> None:
        verdict = self._verdict
        who = f"guest {guest.number} ({guest.story}, {guest.member_id})"
        invitation = self._evidence.invitations.get(guest.invitation_id)
        signed_in = bool(member.get("has_signed_in"))
        if guest.told_signed_in and not signed_in:
            verdict.unexpected.append(f"{who}: was signed in, and has_signed_in is false")
        if signed_in and not guest.tried_sign_in:
            verdict.unexpected.append(f"{who}: has_signed_in, and nobody signed in")
        if invitation is None:
            return
        if signed_in is not (invitation["state"] == "active"):
            verdict.unexpected.append(f"{who}: has_signed_in is {signed_in}, the invitation {invitation['state']}")
        shown: Mapping[str, Any] = member.get("invitation") or {"state": "pending"}
        # Of a removal that overtook its creation nothing is told: the member is gone from every list besides.
        told = "member" in invitation
        if told and shown["state"] != invitation["state"]:
            verdict.lost.append(f"{who}: the directory shows {shown['state']}, the invitation is {invitation['state']}")
        if bool(member.get("removed_at")) is not guest.removed:
            verdict.lost.append(f"{who}: told that they were removed, and they were not")

    # --- rest ------------------------------------------------------------------------------------------------------

    def at_rest(self, incidents: Sequence[Incident]) -> None:
        """Nothing waits any more, everything recovered, and the services end in order."""
        evidence, verdict = self._evidence, self._verdict
        verdict.stuck += [f"{count} {what}" for what, count in evidence.waiting.items()]
        verdict.stuck += [f"no recovery from {i.fault.what}" for i in incidents if i.recovery is None]
        verdict.stuck += [f"{name} ended with code {code}" for name, code in evidence.exits.items() if code != 0]


def _timeouts(evidence: Evidence) -> Counter[str]:
    """Attempts of each invitation that the service gave up waiting for: the mail may have been taken all the same."""
    return Counter(
        id
        for id, invitation in evidence.invitations.items()
        for step in invitation["history"]
        if step.get("detail", {}).get("reason") == "timeout"
    )


def _count_repeats(sink: MailSink, incidents: Sequence[Incident], timeouts: Counter[str], verdict: Verdict) -> None:
    """Account for each mail that came again: to the connection that was cut after its DATA, to an attempt that waited
    for the answer until its time was over, or to a fault that made the outcome unknown (it began while that may still
    have been unrecorded, and before the copy came), and to none more often than the promise allows. When the copy comes
    is no matter: it waits its turn behind all that a fault has held up."""
    cuts = Counter(sink.cut_after_data)
    room = {id(incident): incident.allowed for incident in incidents}
    verdict.bound = sum(cuts.values()) + sum(room.values())
    before: dict[tuple[str, int], float] = {}
    for mail in sink.mails:
        first = before.get(mail.message_id)
        before[mail.message_id] = mail.at
        if first is None:
            continue
        verdict.repeats += 1
        if cuts[mail.message_id]:
            cuts[mail.message_id] -= 1
            continue
        near = [
            i
            for i in incidents
            if room[id(i)] and i.begin - _UNCERTAIN <= first <= i.end + LEASE and i.begin <= mail.at
        ]
        if timeouts[mail.invitation_id]:
            timeouts[mail.invitation_id] -= 1
            verdict.timed_out += 1
        elif near:
            room[id(max(near, key=lambda incident: room[id(incident)]))] -= 1
        else:
            verdict.beyond.append(
                f"send {mail.send_sequence} of {mail.invitation_id} came again after {mail.at - first:.1f} s"
            )
