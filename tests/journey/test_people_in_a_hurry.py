"""Two windows, impatient fingers, the back button: one password, and no page that leads nowhere."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Request, expect

from tests.journey.browsing import ENGLISH
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import FIRST_NAME, PASSWORD, Member, until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

OTHER_PASSWORD = "quatre lapins bleus au grenier"


async def invited(stack: Stack) -> tuple[Member, str]:
    stack.private |= {PASSWORD, OTHER_PASSWORD}
    member = await stack.new_member(locale="en")
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    return member, mail.link


async def test_of_two_people_racing_one_comes_in_and_the_other_is_told(stack: Stack, new_person: NewPerson) -> None:
    member, link = await invited(stack)
    people = [await new_person(), await new_person()]
    passwords = [PASSWORD, OTHER_PASSWORD]
    for person, password in zip(people, passwords, strict=True):
        await person.page.goto(link)
        await person.type_password(password)
    await asyncio.gather(*(person.press(ENGLISH.submit) for person in people))

    async def done() -> list[str]:
        titles = [await person.page.title() for person in people]
        over = [title for title in titles if title.startswith(("My files", "A password has already been set"))]
        return titles if len(over) == len(people) else []

    titles = await until(done, what="both have their answer")
    winner = next(i for i, title in enumerate(titles) if title.startswith("My files"))
    loser = people[1 - winner]
    await people[winner].is_in(stack.directory.url, member.email, ENGLISH)
    await loser.sees("A password has already been set")
    await loser.finds_it_accessible()
    await loser.page.get_by_role("link", name=ENGLISH.sign_in, exact=True).click()
    await loser.sees(ENGLISH.sign_in)
    assert (await stack.sign_in(member.email, passwords[winner])).status == 201
    assert (await stack.sign_in(member.email, passwords[1 - winner])).status == 401


async def test_a_second_window_of_the_same_person_leads_in_too(stack: Stack, new_person: NewPerson) -> None:
    member, link = await invited(stack)
    person = await new_person()
    first, second = person.page, await person.context.new_page()
    for window in (first, second):
        await window.goto(link)
        await window.locator("#password").press_sequentially(PASSWORD)
    for window in (first, second):
        await window.get_by_role("button", name=ENGLISH.submit).click()
        await window.wait_for_url(f"{stack.directory.url}/")
        await expect(window.get_by_role("heading", name=ENGLISH.files)).to_be_visible()
    detail = await stack.until_state(member, "active")
    assert [step["to"] for step in detail["history"]].count("active") == 1


async def test_a_double_click_sends_the_form_once(stack: Stack, new_person: NewPerson) -> None:
    member, link = await invited(stack)
    person = await new_person()
    sent: list[Request] = []
    person.context.on("request", lambda request: sent.append(request) if request.url.endswith("/password") else None)
    await person.page.goto(link)
    await person.type_password(PASSWORD)
    await person.page.get_by_role("button", name=ENGLISH.submit).dblclick()
    await person.is_in(stack.directory.url, member.email, ENGLISH)
    assert len([request for request in sent if request.method == "POST"]) == 1


async def test_the_back_button_after_it_is_done_says_so(stack: Stack, new_person: NewPerson) -> None:
    member, link = await invited(stack)
    person = await new_person()
    await person.page.goto(link)
    await person.choose_password(PASSWORD, ENGLISH)
    await person.is_in(stack.directory.url, member.email, ENGLISH)
    await person.page.go_back()
    await person.sees("You already have access")
    await person.finds_it_accessible()
    await person.page.get_by_role("link", name=ENGLISH.sign_in, exact=True).click()
    await person.is_in(stack.directory.url, member.email, ENGLISH)


async def test_back_from_a_refused_password_the_form_works_again(stack: Stack, new_person: NewPerson) -> None:
    member, link = await invited(stack)
    person = await new_person()
    await person.page.goto(link)
    await person.choose_password("password1234", ENGLISH)
    await person.sees(ENGLISH.weak)
    await person.page.go_back()
    await person.sees(ENGLISH.welcome.format(FIRST_NAME))
    await person.page.locator("#password").fill("")
    await person.choose_password(PASSWORD, ENGLISH)
    await person.is_in(stack.directory.url, member.email, ENGLISH)


async def test_reloading_the_answer_to_a_form_leads_back_to_the_page(stack: Stack, new_person: NewPerson) -> None:
    _, link = await invited(stack)
    person = await new_person()
    await person.page.goto(link)
    await person.choose_password("password1234", ENGLISH)
    await person.sees(ENGLISH.weak)
    # As a bookmark, or a tab that the browser restores.
    await person.page.goto(f"{link}/password")
    await person.sees(ENGLISH.welcome.format(FIRST_NAME))
    assert person.page.url == link


async def test_what_was_typed_when_a_newer_link_came_is_not_lost_without_a_word(
    stack: Stack, new_person: NewPerson
) -> None:
    member, link = await invited(stack)
    person = await new_person()
    await person.page.goto(link)
    await person.type_password(PASSWORD)
    await stack.until_state(member, "opened")
    (await stack.operate(member, "resend")).ok(202)
    newest = await stack.mail(member.email, count=2)
    await person.press(ENGLISH.submit)
    await person.sees("A newer link is waiting for you")
    await person.page.goto(newest.link)
    await person.choose_password(PASSWORD, ENGLISH)
    await person.is_in(stack.directory.url, member.email, ENGLISH)
