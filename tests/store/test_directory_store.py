"""One suite for every store of the directory: the fake passes what the real one passes, on both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias, cast
from uuid import uuid4

import pytest

from convive_kit.errors import Retry
from convive_kit.group_commit import DuplicateKey, VersionConflict
from convive_kit.mongo import Database, Driver, close_client, open_client
from directory.announcements import entries
from directory.membership import Membership
from directory.model.account import Account, Session
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.model.refusals import DossierArchived, EmailIsLogin, EmailTaken, MemberGone
from directory.store.memory import MemoryStore
from directory.store.mongo import INDEXES, MongoStore
from directory.store.protocol import Store, settle
from tests.unit.directory.making import NOW, a_cabinet, a_claim, a_dossier, an_account, member_fields

AnyStore: TypeAlias = MemoryStore | MongoStore


class NoBus:
    """A bus that is away: what is announced stays in the outbox, where tests can look at it."""

    def __init__(self) -> None:
        self.back = False
        self.published: list[str] = []

    async def publish(self, *, key: str, body: bytes, message_id: str, correlation_id: str | None = None) -> None:
        if not self.back:
            raise Retry
        self.published.append(key)


@dataclass(frozen=True)
class Place:
    """Where a store keeps its documents; a fixture of its own, since a server cannot be started from a coroutine."""

    driver: Driver
    url: str
    database: str


@pytest.fixture(params=["memory", "motor", "pymongo"])
def place(request: pytest.FixtureRequest) -> Place | None:
    if request.param == "memory":
        return None
    return Place(request.param, request.getfixturevalue("mongo_url"), request.getfixturevalue("database"))


@pytest.fixture
async def store(place: Place | None) -> AsyncGenerator[AnyStore]:
    if place is None:
        yield MemoryStore(entries_of=entries(lambda: NOW))
        return
    client = open_client(place.url, driver=place.driver)
    database = client[place.database]
    mongo = MongoStore(database, bus=NoBus(), entries_of=entries(lambda: NOW), now=lambda: NOW)
    await mongo.prepare()
    yield mongo
    await mongo.drain()
    await close_client(client)


@pytest.fixture
async def mongo(mongo_url: str, database: str) -> AsyncGenerator[tuple[MongoStore, Database]]:
    client = open_client(mongo_url)
    store = MongoStore(client[database], bus=NoBus(), entries_of=entries(lambda: NOW), now=lambda: NOW)
    await store.prepare()
    yield store, client[database]
    await store.drain()
    await close_client(client)


def new_member(dossier: Dossier, **fields: Any):
    return Member.added(member_fields(**fields), dossier, a_cabinet())


async def outbox(store: AnyStore) -> list[str]:
    """Keys of everything announced, by document and in order."""
    if isinstance(store, MemoryStore):
        return [entry["key"] for entry in store.announced]
    database = cast("Any", store)._database
    return [
        entry["key"]
        for kind in ("cabinets", "dossiers", "members", "accounts")
        async for document in database[kind].find({}).sort("_id", 1)
        for entry in document.get("outbox", [])
    ]


async def test_what_was_saved_is_read_back_the_same(store: AnyStore) -> None:
    cabinet = a_cabinet(phone="01 23 45 67 89")
    dossier = a_dossier(cabinet, external_ref="42", members=(member_fields(),))
    member = new_member(dossier, employee_code="E7").after
    account = an_account()
    for stored in (cabinet, dossier, member, account):
        await store.save(type(stored).created(**stored.model_dump(exclude={"version"})))
    assert await store.cabinet(cabinet.id) == cabinet
    assert await store.dossier(dossier.id) == dossier
    assert await store.member(member.id) == member
    assert await store.account(account.id) == account
    assert await store.member("nobody") is None


async def test_a_change_and_its_announcements_commit_together(store: AnyStore) -> None:
    member = await store.save(new_member(a_dossier()))
    removal = member.remove(NOW)
    assert removal
    await store.save(removal)
    assert await outbox(store) == ["user.created", "user.removed"]


async def test_a_change_decided_on_an_old_version_is_refused(store: AnyStore) -> None:
    member = await store.save(new_member(a_dossier()))
    change, late = member.attach("a", signed_in=True), member.attach("b", signed_in=True)
    assert change
    assert late
    await store.save(change)
    with pytest.raises(VersionConflict):
        await store.save(late)
    current = await store.member(member.id)
    assert current
    assert current.account_id == "a"


async def test_a_document_is_created_once(store: AnyStore) -> None:
    change = new_member(a_dossier())
    await store.save(change)
    with pytest.raises(DuplicateKey):
        await store.save(change)


async def test_of_many_at_once_one_wins(store: AnyStore) -> None:
    account = an_account()
    await store.save(Account.created(**account.model_dump(exclude={"version"})))
    codes = await asyncio.gather(
        *(store.save(account.sign_in_with("code", NOW)) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(outcome, Account) for outcome in codes) == 1
    assert sum(isinstance(outcome, VersionConflict) for outcome in codes) == 9


async def test_an_email_has_one_place_in_a_dossier_also_in_a_race(store: AnyStore) -> None:
    dossier = a_dossier()
    outcomes = await asyncio.gather(*(store.save(new_member(dossier)) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(outcome, Member) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, EmailTaken) for outcome in outcomes) == 9
    await store.save(new_member(a_dossier()))  # another dossier is another matter


async def test_an_edit_cannot_take_the_email_of_another_member(store: AnyStore) -> None:
    cabinet, dossier = a_cabinet(), a_dossier()
    await store.save(new_member(dossier, email="a@example.com"))
    member = await store.save(new_member(dossier, email="b@example.com"))
    change = member.edited({"email": "a@example.com", "email_key": "a@example.com"}, dossier, cabinet, NOW)
    assert change
    with pytest.raises(EmailTaken):
        await store.save(change)


async def test_a_removed_member_frees_their_email(store: AnyStore) -> None:
    dossier = a_dossier()
    member = await store.save(new_member(dossier))
    removal = member.remove(NOW)
    assert removal
    await store.save(removal)
    again = await store.save(new_member(dossier))
    found = await store.member_with_email(dossier.id, "jeanne@example.com")
    assert found == again
    assert await store.members_of(dossier.id, after=None, limit=10) == [again]


async def test_members_are_listed_in_order_and_page_by_page(store: AnyStore) -> None:
    dossier = a_dossier()
    for number in range(7):
        # Several in one millisecond: the id decides.
        at = NOW + timedelta(milliseconds=number // 3)
        await store.save(new_member(dossier, email=f"m{number}@example.com", created_at=at))
    await store.save(new_member(a_dossier()))
    seen: list[Member] = []
    after = None
    while page := await store.members_of(dossier.id, after=after, limit=2):
        seen += page
        after = (page[-1].created_at, page[-1].id)
    assert len({member.id for member in seen}) == 7
    assert seen == sorted(seen, key=lambda member: (member.created_at, member.id))


async def test_dossiers_are_found_by_what_their_name_starts_with(store: AnyStore) -> None:
    cabinet = a_cabinet()
    for name in ("Éclair", "eclair", "Eclipse", "Boulangerie", "𐀀 nom", "\uffff"):
        await store.save(
            Dossier.created(**a_dossier(cabinet, name=name).model_dump(exclude={"version"}, exclude_none=True))
        )
    await store.save(Dossier.created(**a_dossier(name="Éclat").model_dump(exclude={"version"}, exclude_none=True)))

    async def found(prefix: str) -> list[str]:
        names: list[str] = []
        after = None
        while page := await store.dossiers_of(cabinet.id, prefix=prefix, after=after, limit=1):
            names += [dossier.name for dossier in page]
            after = (page[-1].name_key, page[-1].id)
        return names

    assert sorted(await found("ecl")) == ["Eclipse", "eclair", "Éclair"]
    assert (await found("ecl"))[-1] == "Eclipse"
    assert await found("eclairs") == []
    assert await found("𐀀") == ["𐀀 nom"]
    assert len(await found("")) == 6


async def test_archived_dossiers_are_not_listed(store: AnyStore) -> None:
    cabinet = a_cabinet()
    dossier = await store.save(Dossier.opened(str(uuid4()), cabinet.id, "Martin", now=NOW))
    change = dossier.archive(NOW)
    assert change
    await store.save(change)
    assert await store.dossiers_of(cabinet.id, prefix="", after=None, limit=10) == []
    assert await store.dossier(dossier.id) is not None


async def test_dossiers_are_found_by_what_a_table_calls_them(store: AnyStore) -> None:
    cabinet, other = str(uuid4()), str(uuid4())

    async def opened_as(name: str, cabinet_id: str = cabinet, external_ref: str | None = None) -> Dossier:
        opening = Dossier.opened(str(uuid4()), cabinet_id, name, now=NOW, external_ref=external_ref)
        return await store.save(opening)

    by_reference = await opened_as("Garage Petit", external_ref="C-17")
    by_name = await opened_as("Boulangerie  Léger")
    await opened_as("Boulangerie Léger et fils")
    await opened_as("Boulangerie Léger", other)
    archived = (await opened_as("Café")).archive(NOW)
    assert archived
    await store.save(archived)

    found = await store.dossiers_called(cabinet, ["C-17", "boulangerie leger", "Café", "Nobody"])

    assert sorted(found, key=lambda dossier: dossier.name) == [by_name, by_reference]


async def test_members_are_found_by_where_they_are_and_their_email(store: AnyStore) -> None:
    dossier, other = a_dossier(), a_dossier()
    one = await store.save(new_member(dossier, email="a@example.com"))
    await store.save(new_member(dossier, email="b@example.com"))
    two = await store.save(new_member(other, email="b@example.com"))
    removed = (await store.save(new_member(other, email="a@example.com"))).remove(NOW)
    assert removed
    await store.save(removed)

    found = await store.members_at(
        {(dossier.id, "a@example.com"), (other.id, "a@example.com"), (other.id, "b@example.com")}
    )

    assert {member.id for member in found} == {one.id, two.id}
    assert await store.members_at([]) == []


async def test_what_goes_by_the_lane_for_many_is_announced_under_its_own_key(store: AnyStore) -> None:
    await store.save(Member.added(member_fields(), a_dossier(), a_cabinet(), lane="bulk"))

    assert await outbox(store) == ["user.created.bulk"]


async def test_unfinished_dossiers_are_found_until_they_are_finished(store: AnyStore) -> None:
    opening = Dossier.opened(str(uuid4()), str(uuid4()), "Martin", now=NOW, members=(member_fields(),))
    dossier = await store.save(opening)
    assert await store.unfinished_dossiers(NOW, limit=10) == []
    assert await store.unfinished_dossiers(NOW + timedelta(seconds=1), limit=10) == [dossier]
    done = dossier.finished()
    assert done
    await store.save(done)
    assert await store.unfinished_dossiers(NOW + timedelta(seconds=1), limit=10) == []


async def test_removed_members_are_found_until_they_are_erased(store: AnyStore) -> None:
    member = await store.save(new_member(a_dossier()))
    removed = member.remove(NOW)
    assert removed
    assert await store.removed_before(NOW + timedelta(seconds=1), limit=10) == []
    member = await store.save(removed)
    assert await store.removed_before(NOW, limit=10) == []
    assert await store.removed_before(NOW + timedelta(seconds=1), limit=10) == [member]
    erased = member.erase(NOW)
    assert erased
    await store.save(erased)
    assert await store.removed_before(NOW + timedelta(seconds=1), limit=10) == []


async def test_an_account_is_found_by_its_code(store: AnyStore) -> None:
    account = an_account()
    await store.save(Account.created(**account.model_dump(exclude={"version"})))
    assert await store.account_with_handoff("code") == account
    assert await store.account_with_handoff("another") is None


async def test_a_session_lasts_until_it_is_ended(store: AnyStore) -> None:
    session = Session(
        id="s", account="a@example.com", account_id="a", credential_version=1, created_at=NOW, expires_at=NOW
    )
    session = session.model_copy(update={"expires_at": session.expires_at + timedelta(days=3650)})
    await store.add_session(session)
    assert await store.session("s") == session
    await store.end_session("s")
    assert await store.session("s") is None


async def test_settling_takes_turns_until_everyone_is_through(store: AnyStore) -> None:
    member = await store.save(new_member(a_dossier()))

    async def load() -> Member:
        current = await store.member(member.id)
        assert current
        return current

    await asyncio.gather(
        *(
            settle(cast("Store", store), load, lambda m, n=number: m.changed(employee_code=f"{m.employee_code}{n}"))
            for number in range(6)
        )
    )
    assert (await load()).version == 7


# What takes several documents, over the same stores.


async def opened(store: AnyStore, count: int) -> tuple[Membership, Dossier]:
    """A dossier whose creation crashed right after its own write."""
    cabinet = a_cabinet()
    await store.save(type(cabinet).created(**cabinet.model_dump(exclude={"version"})))
    members = tuple(member_fields(email=f"m{number}@example.com") for number in range(count))
    dossier = await store.save(Dossier.opened(str(uuid4()), cabinet.id, "Martin", now=NOW, members=members))
    return Membership(cast("Store", store), lambda: NOW + timedelta(minutes=1)), dossier


async def test_a_sweeper_adds_the_members_that_a_crash_left(store: AnyStore) -> None:
    membership, dossier = await opened(store, 5)
    cabinet = await store.cabinet(dossier.cabinet_id)
    assert cabinet
    # The crash came in the middle: two are there already.
    for fields in dossier.members_to_add[:2]:
        await store.save(Member.added(fields, dossier, cabinet))
    assert await membership.sweep() == 1
    assert len(await store.members_of(dossier.id, after=None, limit=10)) == 5
    assert (await outbox(store)).count("user.created") == 5
    assert await membership.sweep() == 0


async def test_a_sweeper_does_not_bring_back_whom_somebody_removed(store: AnyStore) -> None:
    membership, dossier = await opened(store, 2)
    cabinet = await store.cabinet(dossier.cabinet_id)
    assert cabinet
    member = await store.save(Member.added(dossier.members_to_add[0], dossier, cabinet))
    await membership.remove(member.id)
    await membership.sweep()
    assert [m.email for m in await store.members_of(dossier.id, after=None, limit=10)] == ["m1@example.com"]


async def test_archiving_removes_everybody_and_goes_on_after_a_crash(store: AnyStore) -> None:
    membership, dossier = await opened(store, 3)
    await membership.sweep()
    current = await store.dossier(dossier.id)
    assert current
    archived = current.archive(NOW)
    assert archived
    await store.save(archived)  # and here came the crash
    assert await membership.sweep() == 1
    assert await store.members_of(dossier.id, after=None, limit=10) == []
    assert (await outbox(store)).count("user.removed") == 3


async def test_a_member_added_while_the_dossier_is_archived_is_removed_again(store: AnyStore) -> None:
    membership, dossier = await opened(store, 0)
    change = new_member(dossier)  # decided before
    await membership.archive(dossier)
    with pytest.raises(DossierArchived):
        await membership.add(change)
    assert await store.members_of(dossier.id, after=None, limit=10) == []


async def test_a_member_added_in_the_moment_in_which_the_dossier_is_archived_is_swept_away(store: AnyStore) -> None:
    membership, dossier = await opened(store, 0)
    change = new_member(dossier)
    await membership.archive(dossier)
    await membership.add(change, just_read=True)
    afterwards = Membership(cast("Store", store), lambda: NOW + timedelta(minutes=2))
    assert await afterwards.sweep() == 1
    assert await store.members_of(dossier.id, after=None, limit=10) == []
    assert (await outbox(store)).count("user.removed") == 1


async def test_only_the_account_that_redeemed_is_attached(store: AnyStore) -> None:
    membership, dossier = await opened(store, 0)
    member = await membership.add(new_member(dossier))
    stranger = an_account()
    with pytest.raises(MemberGone):
        await membership.attach(member.id, stranger, signed_in=True)
    account = an_account(a_claim(member))
    attached = await membership.attach(member.id, account, signed_in=False)
    assert (attached.account_id, attached.has_signed_in) == (account.account_id, False)


async def test_an_email_cannot_change_in_the_gap_between_redemption_and_note(store: AnyStore) -> None:
    membership, dossier = await opened(store, 0)
    member = await membership.add(new_member(dossier))
    account = an_account(a_claim(member))  # the account's write, and then a crash
    await store.save(Account.created(**account.model_dump(exclude={"version"})))
    with pytest.raises(EmailIsLogin):
        await membership.edit(member, {"email": "j@example.com", "email_key": "j@example.com"}, dossier, a_cabinet())


# What only a real database can show.


async def test_preparing_again_is_safe(mongo: tuple[MongoStore, Database]) -> None:
    store, database = mongo
    await store.prepare()
    for kind, indexes in INDEXES.items():
        assert len(await database[kind].index_information()) == len(indexes) + 1


async def test_a_sweeper_announces_what_an_outage_left(mongo_url: str, database: str) -> None:
    client, bus, now = open_client(mongo_url), NoBus(), NOW
    store = MongoStore(client[database], bus=bus, entries_of=entries(lambda: NOW), now=lambda: now)
    await store.prepare()
    member = await store.save(new_member(a_dossier()))
    removal = member.remove(NOW)
    assert removal
    await store.save(removal)
    await store.drain()
    bus.back = True
    await store.relays["members"].sweep()
    assert bus.published == [], "too young: whoever wrote it may be announcing it"
    now += timedelta(seconds=31)
    await store.relays["members"].sweep()
    await store.relays["members"].sweep()
    assert bus.published == ["user.created", "user.removed"]
    assert await outbox(store) == []
    await close_client(client)


async def test_an_account_is_closed_once_another_process_has_cleared_what_it_published(
    mongo: tuple[MongoStore, Database],
) -> None:
    store, database = mongo
    claim = a_claim()
    nobody = Account(id=claim.email_key, account_id=str(uuid4()), email=claim.email)
    account = await store.save(nobody.redeem(claim, new_hash="first", handoff="code", now=NOW))
    await store.announced()
    await database["accounts"].update_one({"_id": account.id}, {"$set": {"outbox": [{"id": "theirs", "at": NOW}]}})

    with pytest.raises(VersionConflict):  # it never does
        await store.close(account)
    closing = asyncio.create_task(store.close(account))
    await database["accounts"].update_one({"_id": account.id}, {"$set": {"outbox": []}})
    await closing

    assert await store.account(account.id) is None


async def test_two_writers_change_different_fields_without_losing_either(store: AnyStore) -> None:
    member = await store.save(new_member(a_dossier()))
    await store.save(member.changed(employee_code="E7"))
    current = await store.member(member.id)
    assert current
    await store.save(current.changed(phone="+33612345678"))
    current = await store.member(member.id)
    assert current
    assert (current.employee_code, current.phone) == ("E7", "+33612345678")
