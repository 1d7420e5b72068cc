"""Somebody has forgotten their password: a link by mail, a new password, and every other sign-in has ended."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from playwright.async_api import ViewportSize, expect

from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Person, Words
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.service.directory.test_password_resets import link_in, reset_mails
from tests.speaking import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
NEW = "vingt canards traversent lentement"


@dataclass(frozen=True, slots=True)
class Reset:
    forgotten: str
    email: str
    send: str
    look: str
    choose: str
    new: str
    weak: str
    save: str
    saved: str
    signed_in: str
    here: str
    end: str
    everywhere: str


EN = Reset(
    forgotten="You have forgotten your password?",
    email="E-mail address",
    send="Send me the link",
    look="Look into your mailbox",
    choose="Choose a new password",
    new="New password",
    weak="This password will not do yet",
    save="Save this password",
    saved="Your new password is saved.",
    signed_in="Where you are signed in",
    here="here and now",
    end="Sign out there",
    everywhere="Sign out everywhere",
)
FR = Reset(
    forgotten="Vous avez oublié votre mot de passe\u00a0?",
    email="Adresse e-mail",
    send="M’envoyer le lien",
    look="Consultez votre messagerie",
    choose="Choisir un nouveau mot de passe",
    new="Nouveau mot de passe",
    weak="Ce mot de passe ne convient pas encore",
    save="Enregistrer ce mot de passe",
    saved="Votre nouveau mot de passe est enregistré.",
    signed_in="Où vous êtes connecté",
    here="ici, en ce moment",
    end="Y mettre fin",
    everywhere="Se déconnecter partout",
)
in_both_languages = pytest.mark.parametrize(
    ("words", "reset", "screen"), [(FRENCH, FR, PHONE), (ENGLISH, EN, DESKTOP)], ids=["french", "english"]
)


async def sign_in(stack: Stack, person: Person, email: str, password: str, words: Words) -> None:
    await person.page.goto(f"{stack.directory.url}/sign-in")
    await person.page.locator("#email").fill(email)
    await person.page.locator("#password").fill(password)
    await person.press(words.sign_in)


async def looks(person: Person) -> None:
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()


@in_both_languages
async def test_a_forgotten_password_is_chosen_anew_by_a_link(
    stack: Stack, new_person: NewPerson, words: Words, reset: Reset, screen: ViewportSize
) -> None:
    member = await stack.new_member(locale=words.locale)
    session = await stack.come_in(member)
    stack.private.add(NEW)
    person = await new_person(words=words, screen=screen)
    await person.page.goto(f"{stack.directory.url}/sign-in")
    await person.page.get_by_role("link", name=reset.forgotten).click()
    await person.sees(reset.forgotten)
    await looks(person)
    await person.page.get_by_label(reset.email).fill(member.email)
    await person.press(reset.send)
    await person.sees(reset.look)
    await looks(person)

    await person.page.goto(link_in(stack, (await reset_mails(stack, member.email))[0]))
    await person.sees(reset.choose)
    await looks(person)
    await person.page.get_by_label(reset.new, exact=True).fill("password1234")
    await person.press(reset.save)
    await expect(person.page.get_by_role("alert")).to_contain_text(reset.weak)
    await looks(person)
    await person.page.get_by_label(reset.new, exact=True).fill(NEW)
    await person.press(reset.save)
    await person.reads(reset.saved)
    assert (await stack.directory.call("GET", "/v1/me", token=session)).status == 401
    await sign_in(stack, person, member.email, NEW, words)
    await person.is_in(stack.directory.url, member.email, words)


@in_both_languages
async def test_a_person_sees_where_they_are_signed_in_and_ends_it(
    stack: Stack, new_person: NewPerson, words: Words, reset: Reset, screen: ViewportSize
) -> None:
    member = await stack.new_member(locale=words.locale)
    await stack.come_in(member)
    here, there = [await new_person(words=words, screen=screen) for _ in range(2)]
    for person in (here, there):
        await sign_in(stack, person, member.email, PASSWORD, words)
        await person.is_in(stack.directory.url, member.email, words)
    await here.page.get_by_role("link", name=reset.signed_in).click()
    await here.sees(reset.signed_in)
    await here.reads(reset.here)
    await looks(here)
    ends = here.page.get_by_role("button", name=reset.end)
    await expect(ends).to_have_count(2)
    # Newest first below this one: the other browser's, then that of the way in.
    for left in (1, 0):
        await ends.first.click()
        await expect(ends).to_have_count(left)
    await there.page.reload()
    await expect(there.page.locator("#password")).to_be_visible()
    await here.press(reset.everywhere)
    await expect(here.page.locator("#password")).to_be_visible()
