"""Every call that a store offers, explained by a real database: an index for each, no collection read, no sort in
memory. A call that is not listed here fails the test."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from importlib import import_module
from itertools import combinations
from types import ModuleType
from typing import Any
from uuid import UUID, uuid4

import pytest

import directory.store
import invitation.store
from convive_contracts.events import CabinetState, DossierState
from convive_kit.mongo import Database, close_client, open_client
from convive_kit.outbox import Relay
from convive_kit.parked import Parked, ParkedMessages
from convive_kit.runs import Run, Runs
from directory.announcements import entries
from directory.model.account import Account, Session
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.store import mongo as directory_mongo
from directory.store.imports import Import, Imports
from invitation.lifecycle.states import State
from invitation.store import mongo as invitation_mongo
from invitation.store import statistics
from invitation.store.audit import Audit, AuditRecord
from invitation.store.bookmarks import Bookmark, Bookmarks
from invitation.store.bulk import Bulk, Bulks
from invitation.store.due import overdue
from invitation.store.mongo import INVITATIONS, MongoStore
from invitation.store.personal_data import Erasure, Erasures, People
from invitation.store.processes import Processes, ProcessSeen
from invitation.store.protocol import Filter
from invitation.store.replays import Replay, Replays
from invitation.store.sends import sent_as
from invitation.store.sign_outs import SignOuts
from invitation.store.tokens import OpsTokens
from tests.store.explaining import Heard, Plan, explain
from tests.store.stores import CABINETS, DOSSIERS, FILTERS, a_new, crowd, mongo_store
from tests.unit.directory.making import a_cabinet, a_dossier, a_member, an_account
from tests.unit.lifecycle.making import NOW, POLICY, a_cause, an_invitee, later

pytestmark = pytest.mark.database

Calls = Mapping[str, Sequence[Callable[[], Any]]]

LOOKS_NOTHING_UP = {
    "Audit.begin",
    "Bulks.begin",
    "Erasures.begin",
    "MongoStore.add_session",
    "Imports.add_part",
    "Imports.begin",
    "Imports.prepare",
    "MongoStore.announced",
    "MongoStore.drain",
    "MongoStore.prepare",
    "OpsTokens.create",
    "ParkedMessages.prepare",
    "Replays.begin",
    "create_indexes",
    "missing_indexes",
}


def offered(package: ModuleType, *others: type) -> set[str]:
    """The calls of a package of stores: its coroutines, and those of its classes that are no mere beginning of one."""
    found: set[str] = set()
    for module in (import_module(f"{package.__name__}.{one.name}") for one in pkgutil.iter_modules(package.__path__)):
        if module.__name__.rpartition(".")[2] in ("memory", "protocol"):
            continue
        own = [one for one in vars(module).values() if getattr(one, "__module__", None) == module.__name__]
        found |= {one.__name__ for one in own if _waits(one) and one.__name__[0] != "_"}
        others += tuple(one for one in own if isinstance(one, type) and not one.__subclasses__())
    for kind in others:
        found |= {f"{kind.__name__}.{name}" for name, _ in inspect.getmembers(kind, _waits) if name[0] != "_"}
    return found


def _waits(what: object) -> bool:
    return inspect.iscoroutinefunction(what) or inspect.isasyncgenfunction(what)


@dataclass
class Place:
    """A database with much in it, and an ear on what is asked of it."""

    database: Database
    heard: Heard

    async def plans(self, call: Callable[[], Any]) -> list[Plan]:
        """How everything is carried out that `call` asks for."""
        self.heard.commands.clear()
        waited = call()
        if inspect.isasyncgen(waited):
            async for _ in waited:
                pass
        else:
            await waited
        return await explain(self.database, list(self.heard.commands))

    async def check(self, calls: Calls) -> None:
        """Each call looks everything up in an index, in order."""
        for name, ways in calls.items():
            for number, call in enumerate(ways):
                plans = await self.plans(call)
                assert plans or name in LOOKS_NOTHING_UP, f"{name} {number} asked for nothing"
                for plan in plans:
                    assert not plan.faults, f"{name} {number}: {plan}"


@pytest.fixture
async def place(mongo_url: str, database: str) -> AsyncGenerator[Place]:
    heard = Heard()
    client = open_client(mongo_url, event_listeners=[heard])
    yield Place(client[database], heard)
    await close_client(client)


# --- invitation ---------------------------------------------------------------------------------------------------

ONE_CRITERION: dict[str, Filter] = {
    "state": Filter(states=[State.SENT]),
    "channel": Filter(channels=["sms"]),
    "cabinet": Filter(cabinet_ids=[CABINETS[0]]),
    "dossier": Filter(dossier_ids=[DOSSIERS[1]]),
    "member": Filter(member_ids=[str(UUID(int=101))]),
    "email": Filter(email_keys=["p1@example.com"]),
    "error": Filter(errors=["550 no such user"]),
    "beginning": Filter(begins="el"),
    "after": Filter(created_after=NOW + timedelta(minutes=2)),
    "before": Filter(created_before=NOW + timedelta(minutes=3)),
}
STUCK = Filter(stuck_since=later(hours=20))
MANY_VALUES = Filter(member_ids=[str(UUID(int=number)) for number in range(100)], email_keys=["p1@example.com"] * 2)


def both(one: Filter, other: Filter) -> Filter:
    """The invitations that both mean."""
    asked = {name: getattr(other, name) for name in Filter.__slots__ if getattr(other, name)}
    return replace(one, **asked)


EVERY_FILTER = [
    *FILTERS,
    *(both(one, other) for one, other in combinations([*ONE_CRITERION.values(), STUCK], 2)),
    *(replace(one, states=[State.SENT, State.FAILED], cabinet_ids=CABINETS) for one in ONE_CRITERION.values()),
    MANY_VALUES,
    replace(MANY_VALUES, states=list(State), channels=["email", "sms"]),
]
A_PROCESS = ProcessSeen(
    id="me", parts=["web", "worker"], version="1", started_at=NOW, seen_at=NOW, slots=96, busy=0, waiting=0,
    providers={"email": True},
)  # fmt: skip
KEY = (NOW + timedelta(minutes=4), str(uuid4()))


async def a_busy_invitation_database(place: Place) -> Calls:
    """Fills it, and lists every call with what there is to find."""
    database = place.database
    await invitation_mongo.create_indexes(database)
    parked, audit, tokens = ParkedMessages(database["parked"]), Audit(database), OpsTokens(database)
    await parked.prepare()
    store = mongo_store(database.client, database.name).store
    assert isinstance(store, MongoStore)
    await crowd(database)
    change = a_new(first_name="Jeanne")
    await store.save(change)
    await store.learn_cabinet(CabinetState(id=CABINETS[0], name="Cabinet", phone=None), 1)
    folded_in = {"disarmed": True, "due_once_armed": NOW, "removal": {"time": NOW}}
    await database[INVITATIONS].update_many({"member.id": str(UUID(int=101))}, {"$set": folded_in})
    bulks, replays, erasures = Bulks(database, INVITATIONS), Replays(database), Erasures(database)
    people, bookmarks, sign_outs = People(database[INVITATIONS]), Bookmarks(database), SignOuts(database)
    processes = Processes(database)
    for number in range(100):
        await processes.say(replace(A_PROCESS, id=f"{number}", seen_at=later(seconds=-number)))
    await bookmarks.save("ops", Bookmark("mine", "state=sent"))
    for number in range(100):
        at = later(minutes=number // 3)
        await audit.begin(a_record(at, number))
        await tokens.create(f"token.{number}", "reader", "ops", at)
        await bulks.begin(Bulk(**a_run(at), action="revoke"))
        await replays.begin(Replay(**a_run(at), origin="log", frozen_at=NOW, rebuild=number == 50))
        await erasures.begin(Erasure(**a_run(at)))
    await database["parked"].insert_many([a_parked(number) for number in range(500)])
    bulk, replay = await bulks.claim("worker", NOW), await replays.claim("worker", NOW)
    erasure = await erasures.claim("worker", NOW)
    text, token = await tokens.create("token", "reader", "ops", NOW)
    assert bulk is not None
    assert replay is not None
    assert erasure is not None
    await bulks.freeze(bulk.id, FILTERS[0])
    message = Parked("parked-1", a_parked(1))
    relay = Relay(bus=Silence(), collection=database[INVITATIONS], commit=Silence(), now=lambda: later(days=30))
    opened = change.after.opened(a_cause(), POLICY)

    return {
        "MongoStore.load": [partial(store.load, change.after.id)],
        "MongoStore.save": [partial(store.save, opened)],
        "MongoStore.history": [partial(store.history, change.after.id)],
        "MongoStore.due": [partial(store.due, NOW, 20, channels) for channels in (["none"], ["email", "sms", "none"])],
        "MongoStore.due_once_armed": [partial(store.due_once_armed, NOW, 20, ["email", "sms", "none"])],
        "MongoStore.disarmed": [store.disarmed],
        "MongoStore.disarmed_and_removed": [partial(store.disarmed_and_removed, 10)],
        "MongoStore.is_empty": [store.is_empty],
        "MongoStore.learn_cabinet": [
            partial(store.learn_cabinet, CabinetState(id=CABINETS[0], name="Firm", phone=None), n) for n in (1, 2)
        ],
        "MongoStore.learn_dossier": [
            partial(store.learn_dossier, DossierState(id=DOSSIERS[0], cabinet_id=CABINETS[0], name="File"), 1)
        ],
        "MongoStore.names": [partial(store.names, an_invitee(cabinet_id=CABINETS[1]))],
        "MongoStore.policies": [partial(store.policies, str(uuid4()))],
        "MongoStore.find": [
            *(partial(store.find, which, limit=20, after=KEY) for which in EVERY_FILTER),
            *(
                partial(store.find, which, limit=20, newest_first=newest_first, after=after)
                for which in FILTERS
                for newest_first, after in ((True, None), (False, None), (False, KEY))
            ),
        ],
        "MongoStore.rows": [partial(store.rows, which) for which in EVERY_FILTER],
        "Bulks.freeze": [partial(bulks.freeze, f"run-{number}", which) for number, which in enumerate(FILTERS)],
        "Bulks.items": [partial(bulks.items, bulk.id, after=after, limit=200) for after in (None, change.after.id)],
        "Bulks.with_items": [bulks.with_items],
        "Bulks.forget": [partial(bulks.forget, "run-1")],
        **calls_of_runs("Bulks", bulks, bulk, Bulk(**a_run(NOW), action="revoke")),
        **calls_of_runs("Replays", replays, replay, Replay(**a_run(NOW), origin="parked", frozen_at=NOW)),
        "Replays.rebuilt": [replays.rebuilt],
        "Audit.begin": [partial(audit.begin, a_record(NOW, 1))],
        "Audit.end": [partial(audit.end, a_record(NOW, 1))],
        "Audit.latest": [
            partial(audit.latest, limit=50, after=after, **asked)
            for after in (None, KEY)
            for asked in map(dict[str, Any], every_part([
                ("targets", ["invitation:1", "invitation:2"]), ("actors", ["ops", "ops:1"]), ("actions", ["a", "b"]),
                ("since", NOW), ("until", later(minutes=10)),
            ]))
        ],
        "Audit.of": [partial(audit.of, ["invitation:1", "invitation:2"])],
        "Audit.drop_reasons": [partial(audit.drop_reasons, ["invitation:1", "invitation:2"])],
        "Audit.drop": [partial(audit.drop, later(minutes=1))],
        **calls_of_runs("Erasures", erasures, erasure, Erasure(**a_run(NOW))),
        "People.invitations_of": [
            partial(people.invitations_of, email_key=email, member_id=member)
            for email, member in (("p1@example.com", None), (None, str(UUID(int=101))))
        ],
        "People.documents": [partial(people.documents, [change.after.id])],
        "People.drop_details": [partial(people.drop_details, change.after.id)],
        "People.ended": [partial(people.ended, later(days=1), 200)],
        "Bookmarks.of": [partial(bookmarks.of, "ops")],
        "Bookmarks.save": [partial(bookmarks.save, "ops", Bookmark("mine", "state=sent"))],
        "Bookmarks.remove": [partial(bookmarks.remove, "ops", "mine")],
        "Processes.say": [partial(processes.say, A_PROCESS)],
        "Processes.there": [partial(processes.there, NOW)],
        "Processes.leave": [partial(processes.leave, "me")],
        "SignOuts.add": [partial(sign_outs.add, "session", later(days=1))],
        "SignOuts.has": [partial(sign_outs.has, "session")],
        "OpsTokens.create": [partial(tokens.create, "another", "reader", "ops", NOW)],
        "OpsTokens.of": [partial(tokens.of, text)],
        "OpsTokens.with_id": [partial(tokens.with_id, token.id)],
        "OpsTokens.list": [partial(tokens.list, limit=50, after=after) for after in (None, KEY)],
        "OpsTokens.revoke": [partial(tokens.revoke, token.id, "ops", NOW)],
        "ParkedMessages.prepare": [parked.prepare],
        "ParkedMessages.latest": [
            partial(parked.latest, limit=50, after=after, fingerprints=fingerprints, status=status)
            for after in (None, KEY)
            for fingerprints in ((), ("intake:0",), ("intake:0", "intake:1"))
            for status in ("parked", "replayed")
        ],
        "ParkedMessages.groups": [parked.groups],
        "ParkedMessages.numbers": [parked.numbers],
        "ParkedMessages.one": [partial(parked.one, message.id)],
        "ParkedMessages.frozen": [partial(parked.frozen, NOW, after=after) for after in (None, "parked-3")],
        "ParkedMessages.replayed": [partial(parked.replayed, message.id, "ops", "again", NOW)],
        "ParkedMessages.failed_again": [partial(parked.failed_again, message.id, ValueError("no"), NOW)],
        "ParkedMessages.edited": [partial(parked.edited, message, b"{}", None, "ops", NOW)],
        "ParkedMessages.waiting": [partial(parked.waiting, limit=200)],
        "ParkedMessages.given_up": [partial(parked.given_up, message.id, ValueError("no"), NOW)],
        "ParkedMessages.mentioning": [partial(parked.mentioning, "jeanne@example.com")],
        "ParkedMessages.erased": [partial(parked.erased, "parked-0002", "ops", NOW)],
        "ParkedMessages.drop": [partial(parked.drop, later(seconds=-600))],
        "ParkedMessages.discarded": [partial(parked.discarded, message.id, "ops", None, NOW)],
        "Relay.sweep": [relay.sweep],
        "count": [partial(statistics.count, database, NOW)],
        "create_indexes": [partial(invitation_mongo.create_indexes, database)],
        "overdue": [partial(overdue, database, NOW)],
        "sent_as": [partial(sent_as, database[INVITATIONS], "26929925")],
        "missing_indexes": [partial(invitation_mongo.missing_indexes, database)],
        "write_of_a_majority": [partial(invitation_mongo.write_of_a_majority, database, NOW)],
    }  # fmt: skip


def calls_of_runs(name: str, runs: Runs[Any], claimed: Run, new: Run) -> Calls:
    return {
        f"{name}.begin": [partial(runs.begin, new)],
        f"{name}.load": [partial(runs.load, claimed.id)],
        f"{name}.list": [partial(runs.list, limit=50, after=after) for after in (None, KEY)],
        f"{name}.under_way": [runs.under_way],
        f"{name}.claim": [
            partial(runs.claim, "another", at, dry_run=dry)
            for at in (NOW, later(days=1))
            for dry in (None, True, False)
        ],
        f"{name}.record": [partial(runs.record, claimed, "worker", NOW)],
        f"{name}.give_back": [partial(runs.give_back, claimed, "worker")],
        f"{name}.pause": [partial(runs.pause, claimed.id)],
        f"{name}.resume": [partial(runs.resume, claimed.id)],
        f"{name}.end": [partial(runs.end, claimed, "worker", NOW)],
        f"{name}.abort": [partial(runs.abort, claimed.id, NOW)],
    }


def every_part(of: Sequence[Any]) -> list[Any]:
    """Every choice of them, none and all included."""
    return [part for number in range(len(of) + 1) for part in combinations(of, number)]


class Silence:
    """A bus and a group commit that take everything."""

    async def publish(self, *, key: str, body: bytes, message_id: str, correlation_id: str | None = None) -> None: ...

    async def pull(self, array: str, entries: Mapping[Any, Sequence[str]]) -> None: ...


def a_record(at: Any, number: int) -> AuditRecord:
    return AuditRecord(at=at, actor=f"ops:{number % 3}", action="ab"[number % 2], target=f"invitation:{number}")


def a_run(at: Any) -> dict[str, Any]:
    return {
        "id": str(uuid4()), "filter": {}, "dry_run": False, "rate": None, "reason": "so", "actor": "ops",
        "created_at": at,
    }  # fmt: skip


def a_parked(number: int) -> dict[str, Any]:
    """Most were replayed, and stand first by their id."""
    return {
        "_id": f"parked-{number:04}", "status": "replayed" if number < 480 else "parked", "size": 1, "body": b"{",
        "fingerprint": f"intake:{number % 7}", "slug": "malformed", "reason": "no JSON",
        "first_seen": later(seconds=-number), "last_seen": later(seconds=number), "count": 1,
    }  # fmt: skip


async def test_every_call_of_the_invitation_service_reads_an_index_in_order(place: Place) -> None:
    calls = await a_busy_invitation_database(place)

    assert set(calls) == offered(invitation.store, ParkedMessages) | {"Relay.sweep"}
    await place.check(calls)


async def test_one_criterion_looks_at_what_it_shows_and_little_else(place: Place) -> None:
    store = mongo_store(place.database.client, place.database.name).store
    await invitation_mongo.create_indexes(place.database)
    await crowd(place.database)
    for name, which in ONE_CRITERION.items():
        for newest_first in (True, False):
            first = await store.find(which, limit=20, newest_first=newest_first)
            assert first.after is not None, name
            for after in (None, first.after):
                plans = await place.plans(partial(store.find, which, limit=20, newest_first=newest_first, after=after))
                (plan,) = plans
                assert plan.returned == 21, name
                # Those of the moment at which the page before ended are looked at once more.
                assert plan.keys <= plan.returned + 5, f"{name}: {plan}"
                assert plan.documents <= plan.returned + 3, f"{name}: {plan}"


async def test_looking_further_is_cut_into_pieces_that_are_bounded(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitation_mongo, "LOOKED_AT", 100)
    store = mongo_store(place.database.client, place.database.name).store
    await invitation_mongo.create_indexes(place.database)
    await crowd(place.database)
    for which in EVERY_FILTER:
        for plan in await place.plans(partial(store.find, which, limit=20)):
            # One more for each value of the criterion that is walked by.
            assert plan.keys <= 100 + 2 * 100, f"{which}: {plan}"


async def test_counting_reads_no_document(place: Place) -> None:
    await invitation_mongo.create_indexes(place.database)
    await crowd(place.database)

    plans = await place.plans(partial(statistics.count, place.database, NOW + timedelta(minutes=30)))

    assert [plan.documents for plan in plans] == [0, 0, 0]


# --- directory ----------------------------------------------------------------------------------------------------


async def calls_of_imports(database: Database, cabinet_id: str, dossier_id: str) -> Calls:
    imports = Imports(database)
    await imports.prepare()

    def an_import(number: int) -> Import:
        return Import(
            **a_run(later(seconds=number)), cabinet_id=cabinet_id, dossier_id=dossier_id, file="people.csv", digest="d",
            encoding="utf-8", separator=";", headings=(), ignored=(), invited_by=None, expires_at=later(days=30),
        )  # fmt: skip

    row: dict[str, Any] = {"verdict": "ready", "email_key": "p1@example.com", "cells": [], "faults": []}
    for number in range(50):
        await imports.begin(an_import(number))
    run = await imports.claim("worker", NOW)
    assert run is not None
    for number in range(5):
        await imports.add_part(run, number, [row, {**row, "verdict": "fault"}])
    of = partial(imports.of_cabinet, cabinet_id, limit=20)
    return {
        **calls_of_runs("Imports", imports, run, an_import(99)),
        "Imports.prepare": [imports.prepare],
        "Imports.of_cabinet": [
            partial(of, only, after=after) for only in (None, dossier_id) for after in (None, (NOW, run.id))
        ],
        "Imports.start": [partial(imports.start, run.id, "email", NOW)],
        "Imports.add_part": [partial(imports.add_part, run, 5, [row])],
        "Imports.part": [partial(imports.part, run.id, 1)],
        "Imports.parts": [partial(imports.parts, run.id)],
        "Imports.record_part": [partial(imports.record_part, run.id, 1, {0: ("added", [])})],
        "Imports.rows": [partial(imports.rows, run.id, which, limit=20) for which in ((), ("ready",))],
        "Imports.rows_of": [partial(imports.rows_of, "p1@example.com")],
        "Imports.forget": [partial(imports.forget, cabinet_id, "p1@example.com")],
    }  # fmt: skip


async def test_every_call_of_the_directory_reads_an_index_in_order(place: Place) -> None:
    store = directory_mongo.MongoStore(place.database, bus=Silence(), entries_of=entries(lambda: NOW), now=lambda: NOW)
    await store.prepare()
    cabinet = a_cabinet()
    dossier = a_dossier(cabinet)
    member, account = a_member(dossier, cabinet), an_account()
    for stored in (
        cabinet, dossier, member, account,
        *(a_dossier(cabinet, name=f"Dossier {number}", members=({},)) for number in range(50)),
        *(a_member(dossier, cabinet, email=f"p{number}@example.com") for number in range(50)),
    ):  # fmt: skip
        await store.save(type(stored).created(**stored.model_dump(exclude={"version"})))
    session = Session(id="s", account=account.id, account_id=account.account_id, credential_version=1,
                      created_at=NOW, expires_at=later(days=30000))  # fmt: skip
    await store.add_session(session)
    page = (member.created_at, member.id)
    closing = await store.save(
        Account.created(id="gone@example.com", account_id=str(uuid4()), email="gone@example.com")
    )
    calls: Calls = {
        "MongoStore.prepare": [store.prepare],
        "MongoStore.drain": [store.drain],
        "MongoStore.announced": [store.announced],
        "MongoStore.save": [partial(store.save, member.changed(employee_code="E7"))],
        "MongoStore.cabinet": [partial(store.cabinet, cabinet.id)],
        "MongoStore.dossier": [partial(store.dossier, dossier.id)],
        "MongoStore.member": [partial(store.member, member.id)],
        "MongoStore.account": [partial(store.account, account.id)],
        "MongoStore.account_with_id": [partial(store.account_with_id, account.account_id)],
        "MongoStore.sessions_of": [partial(store.sessions_of, account.id)],
        "MongoStore.staff_of": [partial(store.staff_of, cabinet.id, after=a, limit=20) for a in ("", account.id)],
        "MongoStore.close": [partial(store.close, closing)],
        "MongoStore.account_with_handoff": [partial(store.account_with_handoff, "hash")],
        "MongoStore.member_with_email": [partial(store.member_with_email, dossier.id, "p1@example.com")],
        "MongoStore.dossiers_of": [
            partial(store.dossiers_of, cabinet.id, prefix=prefix, after=after, limit=20)
            for prefix in ("", "dossier")
            for after in (None, ("dossier 12", str(uuid4())))
        ],
        "MongoStore.members_of": [partial(store.members_of, dossier.id, after=a, limit=20) for a in (None, page)],
        "MongoStore.dossiers_called": [partial(store.dossiers_called, cabinet.id, ["Dossier 3", "REF-1"])],
        "MongoStore.members_at": [partial(store.members_at, [(dossier.id, "p1@example.com"), (dossier.id, "p2@x.fr")])],
        "MongoStore.see_session": [partial(store.see_session, session.id, NOW)],
        "MongoStore.every": [partial(store.every, model, after="", limit=20) for model in (Dossier, Member, Account)],
        "MongoStore.removed_before": [partial(store.removed_before, later(days=1), limit=20)],
        "MongoStore.troubled": [partial(store.troubled, (NOW, ""), later(days=1), limit=20)],
        "MongoStore.unfinished_dossiers": [partial(store.unfinished_dossiers, later(days=1), limit=20)],
        "MongoStore.session": [partial(store.session, session.id)],
        "MongoStore.add_session": [partial(store.add_session, session.model_copy(update={"id": "t"}))],
        "MongoStore.end_session": [partial(store.end_session, session.id)],
        "Relay.sweep": [relay.sweep for relay in store.relays.values()],
        **await calls_of_imports(place.database, cabinet.id, dossier.id),
    }

    assert set(calls) == offered(directory.store) | {"Relay.sweep"}
    await place.check(calls)
    await store.drain()
