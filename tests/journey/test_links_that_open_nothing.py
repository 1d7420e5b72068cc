"""A link that opens nothing any more, or not now, says why and what to do next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import expect

from convive_contracts.envelope import rfc3339
from tests.journey.browsing import ENGLISH, FRENCH, PHONE, Person, Words
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import FIRST_NAME, PASSWORD, Member
from tests.stacks import OwnStack

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

in_both_languages = pytest.mark.parametrize("words", [FRENCH, ENGLISH], ids=["french", "english"])


async def invited(stack: Stack, words: Words = ENGLISH) -> tuple[Member, str]:
    member = await stack.new_member(locale=words.locale)
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    return member, mail.link


async def expire(stack: Stack, member: Member) -> None:
    """Let the link's life end, by an operator's word."""
    soon = rfc3339(datetime.now(UTC) + timedelta(seconds=1))
    (await stack.operate(member, "extend", until=soon)).ok(202)
    await stack.until_state(member, "expired")


async def looks_right(person: Person, heading: str) -> None:
    await person.sees(heading)
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()


@in_both_languages
@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_an_expired_link_is_sent_anew_and_the_new_one_leads_in(
    stack: Stack, new_person: NewPerson, words: Words, javascript: bool
) -> None:
    member, link = await invited(stack, words)
    await expire(stack, member)
    person = await new_person(words=words, screen=PHONE, javascript=javascript)
    await person.page.goto(link)
    title = {"fr": "Ce lien a expiré", "en": "This link has expired"}[words.locale]
    if javascript:
        await looks_right(person, title)
    await person.sees(title)
    assert member.email not in await person.page.content()
    if not javascript:
        await person.page.locator("#proof").check()
    await person.press(words.send_again)
    title = {"fr": "Votre lien est en route", "en": "Your link is on its way"}[words.locale]
    await person.sees(title)
    if javascript:
        await looks_right(person, title)
    mail = await stack.mail(member.email, count=2)
    await person.page.goto(mail.link)
    await person.choose_password(PASSWORD, words)
    await person.is_in(stack.directory.url, member.email, words)


@in_both_languages
async def test_a_superseded_link_points_to_the_newest_and_has_it_sent_again(
    stack: Stack, new_person: NewPerson, words: Words
) -> None:
    member, link = await invited(stack, words)
    (await stack.operate(member, "resend")).ok(202)
    newest = await stack.mail(member.email, count=2)
    await stack.until_state(member, "sent")
    person = await new_person(words=words)
    await person.page.goto(link)
    title = {"fr": "Un lien plus récent vous attend", "en": "A newer link is waiting for you"}[words.locale]
    await looks_right(person, title)
    await person.press(words.send_again)
    await person.sees({"fr": "Votre lien est en route", "en": "Your link is on its way"}[words.locale])
    again = await stack.mail(member.email, count=3)
    assert again.link == newest.link


@in_both_languages
async def test_a_withdrawn_invitation_says_so_and_keeps_no_form(
    stack: Stack, new_person: NewPerson, words: Words
) -> None:
    member, link = await invited(stack, words)
    (await stack.operate(member, "revoke")).ok(202)
    person = await new_person(words=words)
    await person.page.goto(link)
    title = {"fr": "Cette invitation a été retirée", "en": "This invitation has been withdrawn"}[words.locale]
    await looks_right(person, title)
    await expect(person.page.locator("form")).to_have_count(0)


@in_both_languages
@pytest.mark.parametrize("javascript", [True, False], ids=["script", "no script"])
async def test_who_is_not_the_invited_person_says_so_and_the_firm_learns_it(
    stack: Stack, new_person: NewPerson, words: Words, javascript: bool
) -> None:
    member, link = await invited(stack, words)
    person = await new_person(words=words, screen=PHONE, javascript=javascript)
    await person.page.goto(link)
    await person.page.get_by_role("link", name=words.not_me).click()
    title = {"fr": "Cette invitation n’est pas pour vous\u202f?", "en": "Is this invitation not for you?"}[words.locale]
    await person.sees(title)
    if javascript:
        await looks_right(person, title)
    assert (await stack.detail(member))["state"] == "sent"
    await person.page.locator("label[for=wrong_person]").click()
    await person.page.locator("main form button").click()
    await person.sees({"fr": "Merci de nous l’avoir signalé", "en": "Thank you for telling us"}[words.locale])
    if javascript:
        await person.finds_it_accessible()
    detail = await stack.until_state(member, "declined")
    assert detail["history"][-1]["detail"]["reason"] == "wrong_person"
    await person.page.goto(link)
    title = {"fr": "Cette invitation a été refusée", "en": "This invitation was declined"}[words.locale]
    await person.sees(title)
    if javascript:
        await looks_right(person, title)


@pytest.mark.parametrize("words", [FRENCH, ENGLISH], ids=["french", "english"])
async def test_a_cut_link_tells_nothing_and_what_to_try(stack: Stack, new_person: NewPerson, words: Words) -> None:
    _, link = await invited(stack)
    person = await new_person(words=words, screen=PHONE)
    await person.page.goto(link[:-5])
    title = {"fr": "Ce lien ne fonctionne pas", "en": "This link does not work"}[words.locale]
    await looks_right(person, title)
    assert FIRST_NAME not in await person.page.content()


async def test_a_page_of_the_directory_that_does_not_exist_leads_back(stack: Stack, new_person: NewPerson) -> None:
    person = await new_person()
    await person.page.goto(f"{stack.directory.url}/no-such-page")
    await looks_right(person, "That did not work")
    await person.page.get_by_role("link", name="Back to my files").click()
    await person.sees(ENGLISH.sign_in)


async def test_while_the_directory_is_away_nothing_is_lost_and_the_link_works_again_after(
    own_stack: OwnStack, new_person: NewPerson
) -> None:
    stack = await own_stack()
    member, link = await invited(stack)
    person = await new_person(stack=stack, screen=PHONE)
    await person.page.goto(link)
    await person.type_password(PASSWORD)
    await stack.until_state(member, "opened")
    await stack.directory_service.stop()
    await person.press(ENGLISH.submit)
    await looks_right(person, "One moment, please")
    assert (await stack.detail(member))["state"] == "opened"
    await stack.directory_service.start()
    await person.page.get_by_role("link", name="Try again").click()
    await person.sees(ENGLISH.welcome.format(FIRST_NAME))
    await person.choose_password(PASSWORD, ENGLISH)
    await person.is_in(stack.directory.url, member.email, ENGLISH)
    await stack.until_state(member, "active")
