"""The firm is told what came to nothing: once a working day, each of its people who wants to know."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from convive_kit.mongo import Database, close_client, open_client
from directory.announcements import entries
from directory.digest import DigestLetters, Digests, due_since
from directory.letters.letters import LETTERS, Letters
from directory.letters.stationery import Stationery
from directory.model.account import Account, StaffPlace
from directory.model.cabinet import Cabinet
from directory.model.change import Change
from directory.model.dossier import Dossier
from directory.model.member import Member
from directory.store.mongo import MongoStore
from tests.unit.directory.making import a_cabinet, a_dossier, a_fact, a_member

WEDNESDAY = datetime(2026, 3, 4, 7, 5, tzinfo=UTC)
"""Five minutes after the digest's time in Paris."""
BEFORE = WEDNESDAY - timedelta(hours=5)


class Silence:
    async def publish(self, *, key: str, body: bytes, message_id: str, correlation_id: str | None = None) -> None: ...


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-03-04T06:59:59", "2026-03-03T07:00:00"),
        ("2026-03-04T07:00:00", "2026-03-04T07:00:00"),
        ("2026-03-09T06:00:00", "2026-03-06T07:00:00"),  # before Monday's: Friday's
        ("2026-04-06T12:00:00", "2026-04-03T06:00:00"),  # Easter Monday; the clocks have gone forward
    ],
)
def test_it_is_due_at_eight_in_paris_on_working_days(now: str, due: str) -> None:
    assert due_since(datetime.fromisoformat(f"{now}+00:00")) == datetime.fromisoformat(f"{due}+00:00")


@dataclass
class Office:
    """A directory without its process, whose clock the test sets."""

    database: Database
    store: MongoStore
    now: datetime = WEDNESDAY

    def __post_init__(self) -> None:
        self.letters = Letters(self.database, lambda: self.now)
        self.written = DigestLetters(self.store, ["a key of some length"], "https://directory.example.com")

    def another(self) -> Digests:
        """What one process has."""
        return Digests(self.database, self.store, self.letters, lambda: self.now)

    async def keep(self, *documents: Cabinet | Dossier | Member | Account) -> None:
        for document in documents:
            await self.store.save(Change(None, document))

    async def firm(self, *emails: str) -> tuple[Cabinet, Dossier]:
        cabinet = a_cabinet()
        dossier = a_dossier(cabinet)
        await self.keep(cabinet, dossier)
        for email in emails:
            place = StaffPlace(cabinet_id=cabinet.id, first_name="Anne", last_name="Léger", since=BEFORE)
            account = Account(id=email, account_id=cabinet.id, email=email, verified=True, staff=(place,), version=1)
            await self.keep(account.model_copy(update={"account_id": dossier.id}))
        return cabinet, dossier

    async def trouble(self, firm: tuple[Cabinet, Dossier], state: str, at: datetime = BEFORE, **fields: Any) -> Member:
        cabinet, dossier = firm
        name = fields.pop("last_name", "Martin")
        member = a_member(dossier, cabinet, email=f"{name}.{state}@example.com".lower(), last_name=name)
        change = member.learn(a_fact(member, state, 3, **fields), at, at)
        assert change is not None
        await self.keep(change.after)
        return change.after

    async def waiting(self) -> list[dict[str, Any]]:
        return [letter async for letter in self.database[LETTERS].find({"done_at": {"$exists": False}})]

    async def read(self) -> Any:
        """The one letter that waits, as a mail."""
        claimed = await self.letters.claim()
        assert claimed is not None
        written = await self.written.write(claimed)
        return written and Stationery("noreply@convive.example").write(claimed, written, self.now)


@pytest.fixture
async def office(mongo_url: str, database: str) -> AsyncGenerator[Office]:
    client = open_client(mongo_url)
    place = client[database]
    store = MongoStore(place, bus=Silence(), entries_of=entries(lambda: BEFORE), now=lambda: BEFORE)
    office = Office(place, store)
    await store.prepare()
    await office.letters.prepare()
    await office.another().prepare()
    yield office
    await store.drain()
    await close_client(client)


async def test_what_came_to_nothing_is_told_once_whatever_number_of_processes_there_are(office: Office) -> None:
    firm = await office.firm("anne@example.com")
    await office.trouble(firm, "failed", reason="unknown_address", last_name="Durand")
    await office.trouble(firm, "declined")
    await office.trouble(firm, "expired", last_name="Petit")
    first, second = office.another(), office.another()
    assert [await first.make(), await second.make(), await first.make()] == [1, 0, 0]
    (letter,) = await office.waiting()
    assert "Durand" not in str(letter), "names are looked up when the letter is written"

    mail = await office.read()
    text = mail.get_body(("plain",)).get_content()
    assert "Cette adresse n’existe pas" in text
    for name in ("Durand", "Martin", "Petit", "Boulangerie Martin"):
        assert name in text
    assert f"https://directory.example.com/clients/{firm[1].id}/users" in text
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    token = mail["List-Unsubscribe"].strip("<>").rpartition("/")[2]
    assert office.written.read(token) == (firm[1].id, firm[0].id)
    # Its last letter has bits that mean nothing: the first of the signature counts whole.
    said, _, signature = token.rpartition(".")
    forged = f"{said}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    assert office.written.read(forged) is None


async def test_what_a_crash_left_is_made_good_and_nobody_gets_it_twice(office: Office) -> None:
    firm = await office.firm("anne@example.com")
    await office.trouble(firm, "failed")
    await office.another().make()
    # As if the first had died before it could say that it was done.
    await office.database["digests"].update_many({}, {"$unset": {"done_at": ""}, "$set": {"due_at": office.now}})
    office.now += timedelta(minutes=6)
    assert await office.another().make() == 1
    assert len(await office.waiting()) == 1


async def test_nothing_is_written_where_nothing_happened_or_nobody_wants_to_know(office: Office) -> None:
    quiet, unwilling = await office.firm("anne@example.com"), await office.firm("paul@example.com")
    await office.trouble(quiet, "sent")
    await office.trouble(quiet, "failed", at=WEDNESDAY - timedelta(days=2), last_name="Before")
    await office.trouble(unwilling, "failed")
    assert await office.written.switch(unwilling[1].id, unwilling[0].id, digest=False)
    assert await office.another().make() == 0
    assert await office.waiting() == []


async def test_a_day_on_which_nothing_ran_is_told_with_the_next(office: Office) -> None:
    firm = await office.firm("anne@example.com")
    office.now = WEDNESDAY - timedelta(days=2)
    assert await office.another().make() == 0
    await office.trouble(firm, "failed", at=WEDNESDAY - timedelta(days=1, hours=5))
    office.now = WEDNESDAY
    assert await office.another().make() == 1


async def test_whoever_switched_it_off_or_has_no_news_any_more_gets_no_letter_that_was_on_its_way(
    office: Office,
) -> None:
    firm = await office.firm("anne@example.com")
    member = await office.trouble(firm, "failed")
    await office.another().make()
    await office.store.save(member.invite("email", WEDNESDAY, None))
    assert await office.read() is None, "a new link is on its way"
