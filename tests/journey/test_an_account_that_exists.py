"""Somebody who has an account is added to another file: they keep their password and accept."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from playwright.async_api import expect

from tests.journey.browsing import ENGLISH, FRENCH, PHONE, Person, Words
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import FIRST_NAME, PASSWORD, Member, new_address

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

in_both_languages = pytest.mark.parametrize("words", [FRENCH, ENGLISH], ids=["french", "english"])


@dataclass(frozen=True, slots=True)
class SecondInvitation:
    member: Member
    link: str
    dossier: str


async def invited_twice(stack: Stack, words: Words = ENGLISH) -> SecondInvitation:
    """Somebody came in by a first invitation, long ago and on another machine; a second one waits."""
    first = await stack.new_member(locale=words.locale)
    await stack.come_in(first)
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier, first.email, locale=words.locale)
    mail = await stack.mail(first.email, count=2)
    await stack.until_state(member, "sent")
    return SecondInvitation(member, mail.link, dossier.name)


async def sign_in(stack: Stack, person: Person, email: str, words: Words) -> None:
    await person.page.goto(f"{stack.directory.url}/sign-in")
    await person.page.locator("#email").fill(email)
    await person.page.locator("#password").fill(PASSWORD)
    await person.press(words.sign_in)
    await person.is_in(stack.directory.url, email, words)


@in_both_languages
async def test_who_is_signed_in_presses_one_button(stack: Stack, new_person: NewPerson, words: Words) -> None:
    second = await invited_twice(stack, words)
    person = await new_person(words=words)
    await sign_in(stack, person, second.member.email, words)
    await person.page.goto(second.link)
    await person.sees(words.welcome_back.format(FIRST_NAME))
    await expect(person.page.locator("#password")).to_have_count(0)
    await person.finds_it_accessible()
    await person.press(words.accept)
    await person.is_in(stack.directory.url, second.member.email, words)
    await person.sees(second.dossier)
    await stack.until_state(second.member, "active")


@in_both_languages
async def test_who_is_not_signed_in_signs_in_with_the_password_they_have(
    stack: Stack, new_person: NewPerson, words: Words
) -> None:
    second = await invited_twice(stack, words)
    person = await new_person(words=words, screen=PHONE)
    await person.page.goto(second.link)
    await person.sees(words.welcome_back.format(FIRST_NAME))
    await person.finds_it_accessible()
    await person.type_password("not the one it was")
    await person.press(words.sign_in_and_accept)
    await person.sees(words.wrong_password)
    await expect(person.page.locator("#errors")).to_be_focused()
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    await person.type_password(PASSWORD)
    await person.press(words.sign_in_and_accept)
    await person.is_in(stack.directory.url, second.member.email, words)
    await person.sees(second.dossier)
    await stack.until_state(second.member, "active")


async def test_without_scripts_they_sign_in_too(stack: Stack, new_person: NewPerson) -> None:
    second = await invited_twice(stack)
    person = await new_person(javascript=False)
    await person.page.goto(second.link)
    await person.type_password(PASSWORD)
    await person.press(ENGLISH.sign_in_and_accept)
    await person.is_in(stack.directory.url, second.member.email, ENGLISH)
    await stack.until_state(second.member, "active")


async def test_on_a_browser_where_somebody_else_is_signed_in_the_invited_person_takes_over(
    stack: Stack, new_person: NewPerson
) -> None:
    second = await invited_twice(stack)
    somebody_else = await stack.new_member(email=new_address("otto"))
    await stack.come_in(somebody_else)
    person = await new_person()
    await sign_in(stack, person, somebody_else.email, ENGLISH)
    await person.page.goto(second.link)
    await person.reads("Another account is signed in on this browser")
    await expect(person.page.get_by_role("button", name=ENGLISH.accept, exact=True)).to_have_count(0)
    await person.finds_it_accessible()
    await person.type_password(PASSWORD)
    await person.press(ENGLISH.sign_in_and_accept)
    await person.is_in(stack.directory.url, second.member.email, ENGLISH)
    await person.sees(second.dossier)
    assert (await stack.detail(second.member))["state"] == "active"


@in_both_languages
async def test_signing_in_out_and_wrongly_at_the_directory(stack: Stack, new_person: NewPerson, words: Words) -> None:
    member = await stack.new_member(locale=words.locale)
    await stack.come_in(member)
    person = await new_person(words=words, screen=PHONE)
    await person.page.goto(stack.directory.url)
    await person.sees(words.sign_in)
    await person.finds_it_accessible()
    await person.page.locator("#email").fill(member.email)
    await person.page.locator("#password").fill("not the one it was")
    await person.press(words.sign_in)
    await expect(person.page.get_by_role("alert")).to_be_visible()
    await expect(person.page.locator("#email")).to_have_value(member.email)
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    await person.page.locator("#password").fill(PASSWORD)
    await person.press(words.sign_in)
    await person.is_in(stack.directory.url, member.email, words)
    await person.page.locator("form[action='/sign-out'] button").click()
    await person.page.wait_for_url("**/sign-in?reason=signed-out")
    await person.finds_it_accessible()
    await person.page.go_back()
    await person.sees(words.sign_in)


@pytest.mark.parametrize(
    ("words", "button"),
    [(FRENCH, "Accepter celle-ci et celles cochées"), (ENGLISH, "Accept this one and those ticked")],
    ids=["french", "english"],
)
async def test_several_invitations_are_accepted_together_and_none_that_was_not_ticked(
    stack: Stack, new_person: NewPerson, words: Words, button: str
) -> None:
    first = await invited_twice(stack, words)
    email, names = first.member.email, list[str]()
    for number in (3, 4):
        cabinet = await stack.new_cabinet()
        dossier = await stack.new_dossier(cabinet)
        other = await stack.add_member(cabinet, dossier, email, locale=words.locale)
        await stack.mail(email, count=number)
        await stack.until_state(other, "sent")
        names.append(dossier.name)
    person = await new_person(words=words, screen=PHONE)
    await sign_in(stack, person, email, words)
    await person.page.goto(first.link)
    ticked, left = names
    await person.page.locator("label").filter(has_text=ticked).click()
    await expect(person.page.get_by_label(ticked)).to_be_checked()
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    await person.press(button)
    await person.is_in(stack.directory.url, email, words)
    await person.sees(first.dossier)
    await person.sees(ticked)
    await expect(person.page.get_by_role("heading", name=left, exact=True)).to_have_count(0)
