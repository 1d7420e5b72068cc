"""A forgotten password, from the page to the mail to the new password."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.running import Stack
from tests.speaking import PASSWORD, Answer, Mail, Member, new_address, new_client, until

NEW = "vingt canards traversent lentement"


@pytest.fixture
async def jeanne(stack: Stack) -> Member:
    """Somebody who has a password."""
    member = await stack.new_member()
    await stack.come_in(member)
    return member


async def ask(stack: Stack, email: str, language: str = "en", **options: Any) -> Answer:
    stack.private.add(email)
    body = {"email": email, "language": language}
    return await stack.directory.call("POST", "/v1/password-resets", json=body, **options)


async def reset_mails(stack: Stack, email: str, count: int = 1) -> list[Mail]:
    """The mails with a link to a new password, newest first, once there are that many."""

    async def enough() -> list[Mail]:
        found = [mail for mail in await stack.mails(email) if "/new-password/" in mail.text]
        return found if len(found) >= count else []

    return await until(enough, what=f"{count} mails with a link to a new password")


def link_in(stack: Stack, mail: Mail) -> str:
    link = next(word for word in mail.text.split() if "/new-password/" in word)
    stack.private.add(link.rpartition("/")[2])
    return link


async def new_link(stack: Stack, member: Member) -> str:
    assert (await ask(stack, member.email)).status == 202
    return link_in(stack, (await reset_mails(stack, member.email))[0])


async def choose(stack: Stack, link: str, password: str = NEW, **options: Any) -> Answer:
    stack.private.add(password)
    token = link.rpartition("/")[2]
    return await stack.directory.call("POST", f"/v1/password-resets/{token}", json={"password": password}, **options)


async def test_a_link_by_mail_sets_a_new_password_and_ends_every_session(stack: Stack, jeanne: Member) -> None:
    session = await stack.session(email=jeanne.email)
    link = await new_link(stack, jeanne)
    # Scanners look, and post empty forms.
    assert (await stack.directory.page(link)).status == 200
    assert (await stack.directory.post_form(link, {})).status == 422
    assert await stack.me(session)
    stack.private.add(NEW)
    page = await stack.directory.post_form(link, {"password": NEW})
    assert (page.status, page.headers["Location"]) == (303, "/sign-in?reason=password-changed")
    assert (await stack.directory.call("GET", "/v1/me", token=session)).status == 401
    assert (await stack.sign_in(jeanne.email, PASSWORD)).status == 401
    assert (await stack.sign_in(jeanne.email, NEW)).status == 201


async def test_its_owner_is_told_that_the_password_was_changed(stack: Stack, jeanne: Member) -> None:
    (await choose(stack, await new_link(stack, jeanne))).ok()
    async with stack.documents("directory") as database:
        # It waits for half a minute, until the change has surely been made or not.
        moved = await database["letters"].update_many(
            {"kind": "password_changed", "to": jeanne.email}, {"$set": {"due_at": datetime.now(UTC)}}
        )
        assert moved.modified_count == 1

    async def told() -> bool:
        return any("mot de passe a été changé" in mail.subject for mail in await stack.mails(jeanne.email))

    await until(told)


async def test_of_two_who_hold_the_link_one_sets_the_password(stack: Stack, jeanne: Member) -> None:
    link = await new_link(stack, jeanne)
    passwords = [f"{number} canards traversent lentement" for number in ("vingt", "trente", "cent", "mille")]
    answers = await asyncio.gather(*(choose(stack, link, password) for password in passwords))
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    entered = [(await stack.sign_in(jeanne.email, password)).status == 201 for password in passwords]
    assert entered == [answer.status == 200 for answer in answers]


async def test_a_link_that_is_over_says_why_and_what_to_do(stack: Stack, jeanne: Member) -> None:
    first = await new_link(stack, jeanne)

    async def expire(**in_time: int) -> None:
        async with stack.documents("directory") as database:
            expires_at = datetime.now(UTC) + timedelta(**in_time)
            change = {"$set": {"password_link.expires_at": expires_at}}
            await database["accounts"].update_one({"_id": jeanne.email}, change)

    async def read(link: str, heading: str, status: int) -> None:
        page = await stack.directory.page(f"{link}?lang=en")
        assert page.status == status
        assert heading in page.text
        assert "Ask for a new link" in page.text
        assert (await choose(stack, link)).status == status

    await expire(minutes=-1)
    await read(first, "This link has expired", 410)
    await ask(stack, jeanne.email)
    second = link_in(stack, (await reset_mails(stack, jeanne.email, 2))[0])
    await read(first, "A newer link is waiting for you", 410)
    (await choose(stack, second)).ok()
    await read(second, "This link was used already", 409)
    await read(f"{second}x", "This link does not work", 404)


async def test_asking_again_sends_the_same_link_and_not_too_often(stack: Stack, jeanne: Member) -> None:
    link = await new_link(stack, jeanne)
    # From anywhere: whoever does this cannot take the link away that the person has.
    answers = await asyncio.gather(*(ask(stack, jeanne.email) for _ in range(12)))
    assert {answer.status for answer in answers} == {202}
    mails = await reset_mails(stack, jeanne.email, 5)
    assert {link_in(stack, mail) for mail in mails} == {link}
    assert len(mails) == 5
    (await choose(stack, link)).ok()


async def test_nobody_learns_whether_there_is_an_account(stack: Stack, jeanne: Member) -> None:
    nobody = new_address("nobody")
    known, unknown = await ask(stack, jeanne.email), await ask(stack, nobody)
    assert (known.status, known.body) == (unknown.status, unknown.body)
    assert (await ask(stack, "no address")).status == 202

    async def forgotten() -> bool:
        """What was typed is not kept either."""
        async with stack.documents("directory") as database:
            return await database["letters"].count_documents({"to": {"$in": [nobody, jeanne.email]}}) == 0

    await reset_mails(stack, jeanne.email)
    await until(forgotten)
    assert not await stack.mails(nobody)


async def test_one_address_cannot_ask_without_end(stack: Stack) -> None:
    client = {"X-Forwarded-For": new_client()}
    addresses = [new_address("nobody") for _ in range(31)]
    answers = await asyncio.gather(*(ask(stack, address, headers=client) for address in addresses))
    assert sorted({answer.status for answer in answers}) == [202, 429]


@pytest.mark.parametrize("password", ["kurz1", "motdepasse123", "jeannette quatremaille"])
async def test_a_weak_password_is_refused_in_words_and_the_link_stays(
    stack: Stack, jeanne: Member, password: str
) -> None:
    link = await new_link(stack, jeanne)
    page = await stack.directory.post_form(f"{link}?lang=en", {"password": password})
    assert page.status == 422
    assert "This password will not do yet" in page.text
    assert password not in page.text
    answer = await choose(stack, link, password)
    assert (answer.status, answer.json()["slug"]) == (422, "weak_password")
    (await choose(stack, link)).ok()


async def test_a_form_of_another_site_is_refused(stack: Stack, jeanne: Member) -> None:
    link = await new_link(stack, jeanne)
    foreign = {"Origin": "https://evil.example"}
    assert (await stack.directory.post_form(link, {"password": NEW}, headers=foreign)).status == 403
    path = "/forgotten-password"
    assert (await stack.directory.post_form(path, {"email": jeanne.email}, headers=foreign)).status == 403
    assert (await stack.sign_in(jeanne.email, PASSWORD)).status == 201


async def test_what_is_kept_leads_to_no_link(stack: Stack, jeanne: Member) -> None:
    token = (await new_link(stack, jeanne)).rpartition("/")[2]
    async with stack.documents("directory") as database:
        kept = await asyncio.gather(*(database[name].find().to_list() for name in ("accounts", "letters")))
    assert token not in str(kept)
