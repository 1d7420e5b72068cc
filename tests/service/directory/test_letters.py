"""The directory's own mails, on a real database and to a real mail server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.smtp import SMTP

from convive_kit.mongo import Database, close_client, open_client
from convive_kit.smtp import SmtpServer
from directory.letters.letters import LETTERS, Letter, Letters
from directory.letters.postman import Postman, Writer, as_it_is
from directory.letters.stationery import Stationery, Written
from tests.service.directory.driving import eventually
from tests.service.invitation.mail_server import MailServer, Taken, mail_server

KIND = "password_changed"
DATA = {"moment": "1 January", "link": "https://example.com/forgotten"}


class Office:
    """Letters and a postman whose clock the test sets forward."""

    def __init__(self, database: Database, server: MailServer, writer: Writer = as_it_is) -> None:
        self.server, self.database = server, database
        self.time = datetime(2026, 3, 2, 9, tzinfo=UTC)
        self.letters = Letters(database, lambda: self.time)
        self.postman = Postman(
            self.letters,
            {KIND: writer},
            Stationery("noreply@convive.example"),
            SmtpServer("127.0.0.1", server.port, "never"),
            lambda: self.time,
            first_backoff=timedelta(minutes=1),
        )

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        await self.letters.prepare()
        running = asyncio.create_task(self.postman.run(every=0.02))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    async def waits(self, attempts: int) -> bool:
        """Whether a letter was tried that often and waits again."""
        due = {"attempts": attempts, "due_at": {"$gt": self.time, "$ne": self.time + timedelta(seconds=60)}}
        return await self.database[LETTERS].count_documents(due) == 1

    async def over(self) -> bool:
        return await self.database[LETTERS].count_documents({"done_at": {"$exists": False}}) == 0


@pytest.fixture
async def place(mongo_url: str, database: str) -> AsyncGenerator[Database]:
    client = open_client(mongo_url)
    yield client[database]
    await close_client(client)


@pytest.fixture
async def server() -> AsyncGenerator[MailServer]:
    async with mail_server() as running:
        yield running


async def test_a_letter_is_sent_once_however_often_it_is_written(place: Database, server: MailServer) -> None:
    office = Office(place, server)
    async with office.open():
        for _ in range(2):
            await office.letters.write(KIND, "jeanne@example.com", language="fr", id="changed.1", data=DATA)
        await eventually(office.over)
        await office.letters.write(KIND, "jeanne@example.com", language="fr", id="changed.1", data=DATA)
    (taken,) = server.taken
    assert taken.message_id == "<changed.1@convive.example>"
    assert taken.message["Auto-Submitted"] == "auto-generated"
    assert taken.message["Subject"] == "Votre mot de passe a été changé"
    assert "Le mot de passe de votre compte Convive a été changé le 1 January" in taken.text.replace("\n", " ")
    assert [part.get_content_type() for part in taken.message.iter_parts()] == ["text/plain", "text/html"]
    assert [document.keys() & {"to", "data"} for document in await place[LETTERS].find().to_list()] == [set()]


async def test_two_postmen_send_a_letter_once(place: Database, server: MailServer) -> None:
    first, second = Office(place, server), Office(place, server)
    async with first.open(), second.open():
        addresses = [f"person{number}@example.com" for number in range(20)]
        await asyncio.gather(*(first.letters.write(KIND, to, language="en", data=DATA) for to in addresses))
        await eventually(first.over)
    assert sorted(taken.to for taken in server.taken) == sorted(addresses)


async def test_trouble_is_waited_out_with_the_same_message_id(place: Database, server: MailServer) -> None:
    office = Office(place, server)

    async def later(_: Taken, __: SMTP) -> str:
        return "451 4.3.0 later"

    async with office.open():
        server.answer = later
        await office.letters.write(KIND, "jeanne@example.com", language="en", data=DATA)
        await eventually(lambda: office.waits(1))
        server.answer = _confirm
        office.time += timedelta(minutes=2)
        await eventually(office.over)
    assert len({taken.message_id for taken in server.taken}) == 1
    assert len(server.taken) == 2


async def _confirm(_: Taken, __: SMTP) -> str:
    return "250 taken"


@pytest.mark.parametrize("to", ["jeanne@example.com", "not an address"])
async def test_what_is_refused_for_good_is_given_up(place: Database, server: MailServer, to: str) -> None:
    async def never(_: Taken, __: SMTP) -> str:
        return "550 5.7.1 never"

    server.answer = never
    office = Office(place, server)
    async with office.open():
        await office.letters.write(KIND, to, language="en", data=DATA)
        await eventually(office.over)
    assert len(server.taken) <= 1


async def test_what_a_crash_left_is_sent_when_the_claim_ends(place: Database, server: MailServer) -> None:
    office = Office(place, server)
    await office.letters.prepare()
    await office.letters.write(KIND, "jeanne@example.com", language="en", data=DATA)
    assert await office.letters.claim()
    assert await office.letters.claim() is None
    office.time += timedelta(seconds=60)
    async with office.open():
        await eventually(office.over)
    assert len(server.taken) == 1


async def test_a_letter_that_is_of_no_use_any_more_is_not_sent(place: Database, server: MailServer) -> None:
    async def nothing(_: Letter) -> Written | None:
        return None

    office = Office(place, server, nothing)
    async with office.open():
        await office.letters.write(KIND, "jeanne@example.com", language="en", data=DATA)
        await eventually(office.over)
    assert not server.taken


async def test_a_writer_that_fails_harms_no_other_letter(place: Database, server: MailServer) -> None:
    async def fails_once(letter: Letter) -> Written | None:
        if letter.to.startswith("bad"):
            raise KeyError(letter.kind)
        return await as_it_is(letter)

    office = Office(place, server, fails_once)
    async with office.open():
        for to in ("bad@example.com", "good@example.com"):
            await office.letters.write(KIND, to, language="en", data=DATA)
        await eventually(lambda: office.waits(1))
        await eventually(_any(server))
    assert [taken.to for taken in server.taken] == ["good@example.com"]


def _any(server: MailServer) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return bool(server.taken)

    return look
