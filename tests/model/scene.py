"""One run: a world, the services in it, the people around it, and the ways to bring it to rest and look at it."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
import uuid
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from unittest.mock import patch

import structlog

from convive_contracts import DIRECTORY_SOURCE, invitation_id, new_event
from convive_contracts.envelope import Event
from convive_kit.errors import Conflict, Retry
from directory.browsers import Browser
from directory.entrance import WrongCredentials
from directory.model.cabinet import Cabinet
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.model.refusals import Refusal
from invitation.lifecycle.invitation import Change, Invitation
from invitation.store.replays import Replay
from tests.model.broker import Broker
from tests.model.databases import SELDOM, Database, MemoryDatabase, OnCommit
from tests.model.directory_side import CABINET, DOSSIER, DirectoryCalls, DirectoryProcess, DirectorySide
from tests.model.mail_server import LINKS
from tests.model.processes import InvitationProcess
from tests.model.promise import AtRest, Guest, Publication, Record, Told, snapshot
from tests.model.world import START, World

Result = TypeVar("Result")
MakeDatabase = Callable[[World, OnCommit], Database]

EMAILS = ("jeanne@example.com", "paul@example.com", "aya@example.com")
PASSWORDS = ("marmalade-trombone-77", "lantern-oyster-gravel-1", "velvet-harbour-kiosk-9")
PHONE = "+33612345678"
FOREIGN = "/payroll"
REST_WITHIN = 2 * 3600.0
_NAMES = uuid.UUID("7e0f3a52-1c1b-4a8e-8a65-3f1f4f0c2b22")


class Violated(AssertionError):
    """The promise was broken."""


class Scene:
    def __init__(
        self,
        seed: int,
        make_database: MakeDatabase = MemoryDatabase,
        violated: Callable[[Violated], None] | None = None,
    ) -> None:
        """`violated` is told of a broken promise, if given; otherwise that is raised."""
        self._violated = violated
        self.world = World(seed)
        self.broker = Broker(self.world)
        # aio-pika's one way in, as the real bus calls it.
        self._patches = ExitStack()
        self._patches.enter_context(patch("convive_kit.bus.aio_pika.connect", self.broker.connect))
        self._patches.enter_context(patch("convive_kit.runner._LOOK_EVERY", SELDOM))
        self._logging = structlog.get_config()
        structlog.configure(
            processors=[self._log_line], wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
        )
        self.record = Record(self.world)
        self.database = make_database(self.world, self.record.on_commit)
        self.world.sees_commits = isinstance(self.database, MemoryDatabase)
        self.broker.on_publish.append(self.record.on_publish)
        self.directory = DirectorySide(self.world, self.broker)
        self.calls = DirectoryCalls(self.directory, self.world)
        self.guests: dict[str, Guest] = {}
        self.published: list[tuple[str, Event]] = []
        self.codes: list[str] = []
        self._incarnations = self._replays = 0
        self._last_time = START
        self._busy: list[asyncio.Task[Any]] = []
        self.processes: list[InvitationProcess] = []
        for _ in range(2):
            self.processes.append(self._new_process())

    def close(self) -> None:
        self.database.close()
        self.world.loop.close()
        self._patches.close()
        structlog.configure(**self._logging)

    def _log_line(self, _: Any, level: str, line: Any) -> Any:
        """Part of what happened; and an exception that was logged is one that nobody expected."""
        about = {name: value for name, value in line.items() if name not in ("event", "exc_info", "correlation_id")}
        if line["event"] not in (
            "bus.away",
            "run.waits",
            "outbox.sweep_paused",
            "bus.consuming_paused",
        ):  # again and again
            self.world.note(f"log {line['event']} {about}")
        if line.get("exc_info"):
            self.world.violations.append(f"{line['event']}: {traceback.format_exc()}")
        raise structlog.DropEvent

    def _new_process(self) -> InvitationProcess:
        self._incarnations += 1
        name = f"invitation.{self._incarnations}"
        return InvitationProcess(name, self.world, self.broker, self.database, self.calls)

    def restart(self, number: int) -> None:
        if self.processes[number].owner.dead:
            self.processes[number] = self._new_process()

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have somebody outside do something; the world is not at rest before it is done."""
        self._busy.append(self.world.spawn(work))

    # --- publishers ------------------------------------------------------------------------------------------------

    def invite_foreign(self, email: str, *, in_order: bool) -> Guest:
        id = str(uuid.uuid5(_NAMES, str(len(self.guests))))
        guest = Guest(id, FOREIGN, invitation_id(FOREIGN, id), email, in_order)
        self.guests[guest.invitation_id] = guest
        self.say(guest, "created")
        return guest

    def say(self, guest: Guest, kind: Any, email: str | None = None) -> None:
        """Another team publishes something about its member."""
        guest.order += 1
        guest.alive = kind != "removed"
        guest.email = email or guest.email
        event = self._event(f"user.{kind}", guest, _data(guest, kind), guest.order if guest.in_order else None)
        guest.said.append(Publication(kind, guest.order, guest.email, event.id))
        self.publish(f"user.{kind}", event)

    def request(self, guest: Guest, what: str) -> None:
        """Somebody asks on the bus for a resend or a revoke."""
        data = {"invitation_id": guest.invitation_id, "requested_by": "the model"}
        event = self._event(f"invitation.{what}_requested", guest, data, None)
        guest.requests.append((what, event.id))
        guest.revoking = guest.revoking or what == "revoke"
        self.publish(f"invitation.{what}_requested", event)

    def _event(self, short: str, guest: Guest, data: Mapping[str, Any], sequence: int | None) -> Event:
        # Two facts of one source are never told in the same millisecond: without a sequence the time decides.
        self._last_time = max(self.world.now(), self._last_time + timedelta(milliseconds=1))
        id = f"{guest.id[:8]}.{short}.{len(self.published)}"
        return new_event(
            short, source=guest.source, subject=guest.id, data=data, id=id, time=self._last_time, sequence=sequence
        )

    def publish(self, key: str, event: Event) -> None:
        """Publish until the broker has it, as a publisher with an outbox does."""
        self.published.append((key, event))

        async def persist() -> None:
            while True:
                await asyncio.sleep(self.world.delay())
                if self.broker.up and not self.broker.refuses:
                    self.broker.publish(key, event.to_structured(), event.id)
                    if not self.broker.drops_confirms:
                        return
                await asyncio.sleep(5)

        self.begin(persist())

    # --- the directory's staff --------------------------------------------------------------------------------------

    def invite_own(self, email: str, invite_by: str) -> Guest:
        id = str(uuid.uuid5(_NAMES, str(len(self.guests))))
        guest = Guest(id, DIRECTORY_SOURCE, invitation_id(DIRECTORY_SOURCE, id), email, True)
        self.guests[guest.invitation_id] = guest
        fields = {
            "id": id,
            "first_name": "Jeanne",
            "last_name": "Martin",
            "email": email,
            "email_key": email,
            "phone": PHONE,
            "created_at": self.world.now(),
            "invite_by": invite_by,
        }

        async def add(process: DirectoryProcess) -> None:
            dossier, cabinet = await _place(process)
            await process.membership.add(Member.added(fields, dossier, cabinet))

        self.at_the_directory(add)
        return guest

    def edit(self, guest: Guest, email: str) -> None:
        guest.edits += 1

        async def act(process: DirectoryProcess) -> None:
            dossier, cabinet = await _place(process)
            if member := await process.store.member(guest.id):
                await process.membership.edit(member, {"email": email, "email_key": email}, dossier, cabinet)

        self.at_the_directory(act)

    def invite_again(self, guest: Guest) -> None:
        self.at_the_directory(lambda process: process.membership.invite(guest.id, "email", "staff"))

    def remove(self, guest: Guest) -> None:
        self.at_the_directory(lambda process: process.membership.remove(guest.id))

    def at_the_directory(self, act: Callable[[DirectoryProcess], Coroutine[Any, Any, Any]]) -> None:
        async def call() -> None:
            with suppress(TimeoutError, Refusal, Retry, Conflict, WrongCredentials):
                await self.directory.call(act)

        self.begin(call())

    # --- people and operators ---------------------------------------------------------------------------------------

    def person(self, process: InvitationProcess, token: str, what: str, password: str) -> None:
        """Somebody with a link does something on its page."""
        link = LINKS.read(token)
        assert link is not None
        body = {
            "open": {"proof": "input"},
            "password": {"password": password},
            "accept": {"password": password},
            "decline": {"reason": "unknown_firm"},
        }.get(what, {})

        async def act() -> None:
            found = (await self.database.invitations()).get(link.invitation_id)
            before = None if found is None else found.link_state(link.link_sequence, self.world.now())
            status, answer = await process.request(what, {"token": token}, json.dumps(body))
            self.world.note(f"person {what} {token[:6]} link {link.link_sequence} → {status}")
            if status >= 500 and status != 503:
                self.world.violations.append(f"{what}: {status} {answer}")
            if status != 200 or what not in ("password", "accept"):
                return
            if before not in ("alive", "over"):
                self.world.violations.append(f"a {before} link let somebody in")
            self.codes.append(json.loads(answer)["next"].rpartition("=")[2])
            self.record.told.append(Told(link.invitation_id, password, link.link_sequence))

        self.begin(act())

    def operate(self, process: InvitationProcess, guest: Guest, what: str) -> None:
        """Somebody calls the operations API."""
        body: dict[str, Any] = {}
        if what == "extend":
            body = {"until": (self.world.now() + timedelta(hours=1)).isoformat()}

        async def act() -> None:
            guest.revoking = guest.revoking or what == "revoke"
            status, _ = await process.request(what, {"id": guest.invitation_id}, json.dumps(body))
            guest.revoked = guest.revoked or (what == "revoke" and status == 202)
            self.world.note(f"ops {what} {guest.invitation_id[:4]} → {status}")
            if status >= 500 and status != 503:
                self.world.violations.append(f"{what}: {status}")

        self.begin(act())

    def use_code(self, code: str) -> None:
        """Follow the redirect of a redemption."""
        self.at_the_directory(lambda process: process.entrance.sign_in_with_code(code, Browser()))

    def sign_in(self, email: str, password: str) -> None:
        self.at_the_directory(lambda process: process.entrance.sign_in(email, password, Browser("::1")))

    def replay(self, origin: Any, process: InvitationProcess, *, rebuild: bool = False) -> str:
        """Begin a replay of all there is."""
        now = self.world.now()
        self._replays += 1
        id = str(uuid.uuid5(_NAMES, f"replay {self._replays}"))
        replay = Replay(
            id=id,
            origin=origin,
            filter={"after": (START - timedelta(days=1)).isoformat()},
            dry_run=False,
            rate=None,
            reason="the model",
            actor="ops",
            created_at=now,
            frozen_at=now,
            rebuild=rebuild,
            last_offset=len(self.broker.log) - 1 if self.broker.log else None,
        )
        self.world.loop.run(process._opened.replays.begin(replay))
        process.replayer.wake()
        return id

    # --- rest -------------------------------------------------------------------------------------------------------

    def end_faults(self) -> None:
        world, broker = self.world, self.broker
        world.fuses.clear()
        world.next_mail.clear()
        world.set_database("up")
        world.mail_mode = "accept"
        world.directory_answers = True
        broker.refuses = broker.drops_confirms = broker.disorderly = False
        broker.doubles = 0
        if not broker.up:
            broker.come_up()
        for number, process in enumerate(self.processes):
            world.go_on(process.owner)
            process.owner.dies_after = None
            self.restart(number)
        world.go_on(self.directory.process.owner)
        self.directory.process.owner.dies_after = None
        self.directory.restart()

    def rest(self) -> None:
        """End all faults and wait until nothing is under way; raises `Violated` for whatever never comes to its end."""
        self.end_faults()
        end = self.world.loop.time() + REST_WITHIN
        why = "never looked"
        while self.world.loop.time() < end:
            self.world.loop.run_for(2)
            # A drain that was under way ends its process even now.
            for number in range(len(self.processes)):
                self.restart(number)
            why = self._not_at_rest()
            if why is None:
                return
        self.fail([f"stuck: {why}"])

    def _not_at_rest(self) -> str | None:
        self._busy = [task for task in self._busy if not task.done()]
        if self._busy:
            return f"{len(self._busy)} people wait"
        if not self.broker.idle:
            return "messages wait in queues"
        if any(self.directory.rows.outboxes.values()):
            return "the directory's outbox"
        if self.world.loop.run(self.database.unpublished()):
            return "the invitations' outbox"
        if self.world.loop.run(self.database.parked_messages("waiting")):
            return "a message waits for its invitation"
        now = self.world.now()
        for invitation in self.world.loop.run(self.database.invitations()).values():
            if invitation.send_at is not None or invitation.lease is not None:
                return f"{invitation.id} waits to be sent"
            if invitation.remind_at is not None:
                return f"{invitation.id} is to be reminded of"
            if any(at is not None and at <= now for at in (invitation.due_at, invitation.due_once_armed)):
                return f"{invitation.id} is due"
        return None

    def check(self) -> None:
        """What must hold always."""
        if self.world.violations:
            self.fail(self.world.violations)
        failures = [f for f in self.world.loop.failures if "exception" in f]
        if failures:
            self.fail([repr(failure) for failure in failures])

    def check_at_rest(self) -> Mapping[str, Invitation]:
        """What must hold once the world has come to rest; returns the invitations."""
        self.world.check_copies()
        self.check()
        invitations = self.invitations()
        histories = {id: self.world.loop.run(self.database.history(id)) for id in invitations}
        parked = self.world.loop.run(self.database.parked_messages())
        wrong = AtRest(self.world, self.broker, self.directory, self.record, self.guests).check(
            invitations, histories, parked
        )
        wrong += [f"the directory parked {row['slug']}" for row in self.directory.parked.rows.values()]
        if wrong:
            self.fail(wrong)
        return invitations

    def invitations(self) -> Mapping[str, Invitation]:
        return self.world.loop.run(self.database.invitations())

    def replaying_all_changes_nothing(self) -> None:
        """What was parked has not had its effect yet, so it is replayed first."""
        self._carried_out(self.replay("parked", self.processes[0]), self.processes[0])
        self.rest()
        self.check_at_rest()
        before, mails = self.invitations(), len(self.world.mails)
        self._carried_out(self.replay("log", self.processes[0]), self.processes[0])
        self.rest()
        after = self.invitations()
        changed = [
            f"{id[:4]} {before.get(id)} → {one}"
            for id, one in after.items()
            # What expires meanwhile expires.
            if id not in before or (not same(before[id], one) and one.state != "expired")
        ]
        if changed:
            self.fail([f"replaying the log changed {one}" for one in changed])
        if len(self.world.mails) != mails:
            self.fail(["replaying the log sent mail"])

    def rebuilding_brings_all_back(self) -> None:
        """Fold the log into an empty database, beside the one that there is."""
        before, mails = self.invitations(), len(self.world.mails)
        unlike = self._handled_in_another_order(before)
        for process in self.processes:
            self.world.kill(process.owner)
        known, log = self.database, len(self.broker.log)

        def quietly(change: Change, outbox: Any) -> None:
            after, steps = change.after, [(step.trigger, step.event_id) for step in change.steps]
            self.world.note(f"rebuilding {after.id[:4]} v{after.version} {after.state} {steps}")
            for entry in outbox:
                self.record.committed.setdefault(entry["id"], entry["body"])

        self.database = known.empty() if not isinstance(known, MemoryDatabase) else MemoryDatabase(self.world, quietly)
        process = self.processes[0] = self._new_process()
        self._carried_out(self.replay("log", process, rebuild=True), process)
        self.rest()
        after, now = self.invitations(), self.world.now()
        wrong = [
            f"the rebuild sent {mail.invitation_id[:4]} send {mail.send}"
            for mail in self.world.mails[mails:]
            if mail.invitation_id not in unlike
        ]
        expired = {id for id, one in after.items() if one.state == "expired"}
        for logged in self.broker.log[log:]:
            id = (logged.message.message_id or "").rpartition(".")[0]
            if id not in unlike | expired:
                wrong.append(f"the rebuild announced {logged.message.routing_key} of {id}")
        for id, was in before.items():
            if id in unlike:
                continue
            rebuilt = after.get(id)
            if rebuilt is None:
                wrong.append(f"{id} was not rebuilt")
                continue
            there, had = snapshot(rebuilt), snapshot(was)
            if was.expires_at is not None and was.expires_at <= now and rebuilt.state == "expired":
                continue  # it went on living where it was
            if there != had:
                wrong.append(f"{id} was rebuilt as {there}, not as {had}")
            for mail in self.world.mails[:mails]:
                if mail.invitation_id == id:
                    states = {one.link_state(mail.link_sequence, now) for one in (was, rebuilt)}
                    if len(states) > 1:
                        wrong.append(f"{id}: link {mail.link_sequence} is {states} after the rebuild")
        wrong += [f"{id} was invented by the rebuild" for id in after.keys() - before.keys()]
        if wrong:
            self.fail(wrong)

    def _handled_in_another_order(self, invitations: Mapping[str, Invitation]) -> set[str]:
        """Invitations whose removal came only after they had been added again, by the publisher's order: the log, which
        has that order, tells of two lives where there was one."""
        late = "older than what is known"
        return {
            id
            for id in invitations
            for step in self.world.loop.run(self.database.history(id))
            if (step.detail or {}).get("ignored") == late
        }

    def _carried_out(self, id: str, process: InvitationProcess) -> None:
        for attempt in range(600):
            # Often at first: nothing may come due while it is under way.
            self.world.loop.run_for(0.02 if attempt < 100 else 2)
            process.due.wake()
            replay = self.world.loop.run(process._opened.replays.load(id))
            if replay is not None and replay.status != "running":
                if replay.status != "done":
                    self.fail([f"the replay {replay.status}: {replay.error}"])
                return
        self.fail(["the replay never ended"])

    def fail(self, wrong: Sequence[str]) -> None:
        lines = "\n".join(self.world.trace[-200:])
        violated = Violated("\n".join(wrong) + f"\n\nwhat happened:\n{lines}")
        if self._violated is None:
            raise violated
        self._violated(violated)


def same(one: Invitation, other: Invitation) -> bool:
    """Whether nothing differs but that an event was noted as ignored: one that was too old to be noted the first time
    may be news to the history later."""
    unlike = {"version": 0, "updated_at": one.updated_at, "handled": (), "correlation_id": None}
    return replace(one, **unlike) == replace(other, **unlike)


async def _place(process: DirectoryProcess) -> tuple[Dossier, Cabinet]:
    return await process.store.dossier(DOSSIER), await process.store.cabinet(CABINET)


def _data(guest: Guest, kind: str) -> dict[str, Any]:
    dossier = {"id": DOSSIER, "name": "Boulangerie Martin"}
    cabinet = {"id": CABINET, "name": "Cabinet Léger"}
    if kind == "removed":
        return {"member": {"id": guest.id}, "dossier": {"id": DOSSIER}, "cabinet": {"id": CABINET}}
    member = {"id": guest.id, "first_name": "Jeanne", "last_name": "Martin", "email": guest.email, "phone": PHONE}
    return {"member": member, "dossier": dossier, "cabinet": cabinet, "invite_by": "email"}
