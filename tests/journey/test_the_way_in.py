"""The whole way in, as a person takes it: mail, click, password, signed in. Two screens, no third."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest
from playwright.async_api import ViewportSize, expect

from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Words
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import FIRST_NAME, LAST_NAME, PASSWORD, Cabinet, Member, new_address, until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

in_both_languages = pytest.mark.parametrize("words", [FRENCH, ENGLISH], ids=["french", "english"])
on_both_screens = pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])


async def announce(stack: Stack, words: Words) -> tuple[Cabinet, str, Member]:
    """What a firm does: one call makes the dossier and invites its member."""
    cabinet = await stack.new_cabinet(phone="+33142685300")
    email = new_address()
    stack.private.add(email)
    person = {"first_name": FIRST_NAME, "last_name": LAST_NAME, "email": email, "locale": words.locale}
    body = {"name": "Boulangerie Quatremaille", "members": [person]}
    made = (await stack.directory.call("POST", "/v1/dossiers", json=body, token=cabinet.key)).ok(201)
    return cabinet, made["id"], Member(made["members"][0]["id"], email)


def way_of(invitation: Any) -> list[str]:
    """The states that an invitation went through, the first included."""
    return [state for state, _ in groupby(step["to"] for step in invitation["history"])]


async def shown_to_the_firm(stack: Stack, cabinet: Cabinet, dossier: str) -> Any:
    """The member as the firm's API shows it once the invitation is through."""

    async def active() -> Any:
        listed = (await stack.directory.call("GET", f"/v1/dossiers/{dossier}/members", token=cabinet.key)).ok()
        [member] = listed["items"]
        return member if member["invitation"] and member["invitation"]["state"] == "active" else None

    return await until(active, what="the firm sees the member as active")


@in_both_languages
@on_both_screens
async def test_from_the_firms_call_to_the_first_sign_in(
    stack: Stack, new_person: NewPerson, words: Words, screen: ViewportSize
) -> None:
    cabinet, dossier, member = await announce(stack, words)
    await stack.mail(member.email)
    await stack.until_state(member, "sent")
    person = await new_person(words=words, screen=screen)

    await person.open_mail(stack.inbox.url, member.email, words)
    await person.sees(words.welcome.format(FIRST_NAME))
    await person.reads(words.invites.format(cabinet.name))
    await person.reads("Boulangerie Quatremaille")
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()

    weak = f"{FIRST_NAME}2024"
    await person.choose_password(weak, words)
    await person.sees(words.weak)
    await expect(person.page.locator("#errors")).to_be_focused()
    assert await person.page.locator("#errors li").count() >= 1
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()

    await person.choose_password(PASSWORD, words)
    await person.is_in(stack.directory.url, member.email, words)
    await person.sees("Boulangerie Quatremaille")
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()

    assert (await shown_to_the_firm(stack, cabinet, dossier))["has_signed_in"] is True
    assert way_of(await stack.until_state(member, "active")) == ["pending", "sent", "opened", "password_set", "active"]


@in_both_languages
async def test_without_scripts_the_way_in_is_the_same(stack: Stack, new_person: NewPerson, words: Words) -> None:
    cabinet, dossier, member = await announce(stack, words)
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    person = await new_person(words=words, screen=PHONE, javascript=False)
    await person.page.goto(mail.link)
    await person.choose_password("password1234", words)
    await person.sees(words.weak)
    await person.choose_password(PASSWORD, words)
    await person.is_in(stack.directory.url, member.email, words)
    assert (await shown_to_the_firm(stack, cabinet, dossier))["has_signed_in"] is True
    detail = await stack.until_state(member, "active")
    # Nobody posted that the page was opened: the redemption says so itself.
    assert way_of(detail) == ["pending", "sent", "opened", "password_set", "active"]


@in_both_languages
async def test_the_keyboard_is_enough(stack: Stack, new_person: NewPerson, words: Words) -> None:
    _, _, member = await announce(stack, words)
    mail = await stack.mail(member.email)
    person = await new_person(words=words)
    await person.page.goto(mail.link)
    field = person.page.locator("#password")
    keys = 0
    while not await field.evaluate("field => field === document.activeElement"):
        await person.page.keyboard.press("Tab")
        keys += 1
        assert keys < 10, "the password cannot be reached with the Tab key"
    await person.page.keyboard.type(PASSWORD)
    # On to "show", and further to the button that sends the form.
    await person.page.keyboard.press("Tab")
    await person.page.keyboard.press("Enter")
    await expect(field).to_have_attribute("type", "text")
    await expect(field).to_be_focused()
    await person.page.keyboard.press("Tab")
    await person.page.keyboard.press("Tab")
    await expect(person.page.get_by_role("button", name=words.submit)).to_be_focused()
    await person.page.keyboard.press("Enter")
    await person.is_in(stack.directory.url, member.email, words)


async def test_the_meter_follows_what_is_typed(stack: Stack, new_person: NewPerson) -> None:
    _, _, member = await announce(stack, ENGLISH)
    mail = await stack.mail(member.email)
    person = await new_person()
    await person.page.goto(mail.link)
    said = person.page.locator(".strength p")
    for typed, level in (("short", "Still too short"), ("aaaaaaaaaaaa", "Easy to guess"), (PASSWORD, "Very good")):
        await person.page.locator("#password").fill(typed)
        await expect(said).to_have_text(level)


@pytest.mark.parametrize(("words", "other"), [(FRENCH, ENGLISH), (ENGLISH, FRENCH)], ids=["to english", "to french"])
async def test_the_language_chosen_on_the_page_stays_until_the_end(
    stack: Stack, new_person: NewPerson, words: Words, other: Words
) -> None:
    _, _, member = await announce(stack, words)
    mail = await stack.mail(member.email)
    person = await new_person(words=words)
    await person.page.goto(mail.link)
    await person.sees(words.welcome.format(FIRST_NAME))
    await person.page.get_by_role("link", name=other.locale.upper()).click()
    await person.sees(other.welcome.format(FIRST_NAME))
    assert await person.page.locator("html").get_attribute("lang") == other.locale
    await person.choose_password("password1234", other)
    await person.sees(other.weak)
    await person.choose_password(PASSWORD, other)
    await person.is_in(stack.directory.url, member.email, other)


@in_both_languages
async def test_the_mail_itself_is_accessible(stack: Stack, new_person: NewPerson, words: Words) -> None:
    _, _, member = await announce(stack, words)
    mail = await stack.mail(member.email)
    person = await new_person(words=words, screen=PHONE)
    await person.page.set_content(mail.html)
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    await person.page.goto(stack.inbox.url)
    await expect(person.page.get_by_role("button", name=member.email)).to_be_visible()
    await person.finds_it_accessible()
    await person.page.get_by_role("button", name=member.email).click()
    await expect(person.page.frame_locator("#html").get_by_role("link", name=words.open_mail)).to_be_visible()
    await person.finds_it_accessible()
