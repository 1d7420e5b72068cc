"""What a machine does with a link changes nothing; a code that was sent to somebody else signs nobody in."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Route

from tests.journey.browsing import ENGLISH
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import PASSWORD, Member

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def invited(stack: Stack) -> tuple[Member, str]:
    member = await stack.new_member(locale="en")
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    return member, mail.link


async def test_the_page_tells_that_it_was_opened_at_the_first_real_key_and_not_before(
    stack: Stack, new_person: NewPerson
) -> None:
    member, link = await invited(stack)
    person = await new_person()
    posts: list[str] = []
    person.context.on("request", lambda request: posts.append(request.url) if request.method == "POST" else None)
    await person.page.goto(link)
    await person.page.wait_for_load_state("networkidle")
    # As a script on the page could do, or a scanner's: the browser does not vouch for it.
    for event in ("keydown", "pointerdown", "touchstart", "click"):
        await person.page.locator("#password").dispatch_event(event)
    await person.page.evaluate("document.querySelector('#password').value = 'typed by a machine'")
    assert posts == []
    assert (await stack.detail(member))["state"] == "sent"
    await person.page.locator("#password").press("a")
    await stack.until_state(member, "opened")
    await person.page.keyboard.type(" few more")
    assert posts == [f"{link}/open"]


@pytest.mark.parametrize("step", ["password", "accept", "renew", "decline"])
async def test_a_form_sent_by_a_script_without_input_changes_nothing(
    stack: Stack, new_person: NewPerson, step: str
) -> None:
    member, link = await invited(stack)
    person = await new_person()
    await person.page.goto(link)
    async with person.page.expect_navigation():
        await person.page.evaluate(
            "action => { const form = document.querySelector('main form'); form.action = action; form.submit(); }",
            f"{link}/{step}",
        )
    assert (await stack.detail(member))["state"] == "sent"
    # And the person who comes after the machine gets in.
    await person.page.goto(link)
    await person.choose_password(PASSWORD, ENGLISH)
    await person.is_in(stack.directory.url, member.email, ENGLISH)


async def test_a_handoff_link_opened_in_another_browser_signs_nobody_in(stack: Stack, new_person: NewPerson) -> None:
    member, link = await invited(stack)
    person, somebody_else = await new_person(), await new_person()
    caught: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def lose(route: Route) -> None:
        # The answer comes, its cookie with it, but the browser does not follow where it points to.
        answer = await route.fetch(max_redirects=0)
        caught.set_result(answer.headers["location"])
        await route.fulfill(status=204)

    # The code goes astray before its own browser has used it up. (Where a redirect leads cannot be intercepted.)
    await person.context.route("**/password", lose)
    await person.page.goto(link)
    await person.choose_password(PASSWORD, ENGLISH)
    handoff = await asyncio.wait_for(caught, 15)
    await somebody_else.page.goto(handoff)
    await somebody_else.sees(ENGLISH.sign_in)
    await somebody_else.reads("This sign-in link belongs to another browser")
    await somebody_else.finds_it_accessible()
    assert "convive_session" not in {cookie.get("name") for cookie in await somebody_else.context.cookies()}
    # It was not used up by that: where it belongs, it works, once.
    assert "convive_session" not in {cookie.get("name") for cookie in await person.context.cookies()}
    await person.page.goto(handoff)
    await person.is_in(stack.directory.url, member.email, ENGLISH)


async def test_no_cookie_of_ours_can_be_read_by_a_script(stack: Stack, new_person: NewPerson) -> None:
    member, link = await invited(stack)
    person = await new_person()
    await person.page.goto(link)
    await person.choose_password(PASSWORD, ENGLISH)
    await person.is_in(stack.directory.url, member.email, ENGLISH)
    cookies = {cookie.get("name"): cookie for cookie in await person.context.cookies()}
    assert "convive_session" in cookies
    assert all(cookie.get("httpOnly") and cookie.get("sameSite") == "Lax" for cookie in cookies.values())
    assert await person.page.evaluate("document.cookie") == ""
