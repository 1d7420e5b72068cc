"""Operators at the console, in a browser: somebody's wrong address is found, put right, and seen to work."""

from __future__ import annotations

from uuid import uuid4

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Person, Words
from tests.journey.conftest import NewPerson
from tests.running import FIRST_NAME, LAST_NAME, Member, Stack, new_address

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def failed(stack: Stack) -> Member:
    wrong = new_address("wrong")
    await stack.misbehave("refuse_permanently", match=wrong)
    member = await stack.new_member(email=wrong)
    await stack.until_state(member, "failed")
    await stack.misbehave("accept")
    return member


async def sign_in(stack: Stack, person: Person, role: str = "writer", button: str = "Sign in") -> Page:
    made = await stack.new_ops_token(role, f"anne.{uuid4().hex[:8]}")
    page = person.page
    await page.goto(f"{stack.invitation.url}/ops")
    await page.locator("#token").fill(made["token"])
    await page.get_by_role("button", name=button).click()
    await page.wait_for_url("**/ops/invitations")
    return page


async def find(page: Page, stack: Stack, member: Member) -> None:
    """By what all who failed like this have in common; then the person, by the address that was typed wrong."""
    await page.get_by_role("link", name="Failed", exact=True).click()
    await page.locator(".why").first.click()
    assert "error=550" in page.url
    await page.get_by_label("Name or e-mail begins with").fill(member.email)
    await page.get_by_role("button", name="Filter", exact=True).click()
    await expect(page.locator("[data-row]")).to_have_count(1)
    await page.locator("[data-open]").click()
    await page.wait_for_url(f"**/ops/invitations/{member.invitation_id}")
    await expect(page.locator("#state")).to_contain_text("failed")


async def correct(page: Page, right: str) -> None:
    await page.locator("#do-correct summary").click()
    await page.locator("#correct-email").fill(right)
    await page.locator("#correct-reason").fill("typed wrong")
    await page.locator("#do-correct").get_by_role("button", name="Correct the address").click()
    await expect(page.get_by_role("status")).to_contain_text("The address is corrected")


async def test_a_failed_invitation_is_found_corrected_and_seen_to_be_sent_without_reloading(
    stack: Stack, new_person: NewPerson
) -> None:
    member, right = await failed(stack), new_address("right")
    person = await new_person()
    page = await sign_in(stack, person)
    await find(page, stack, member)
    # Not at once, so that there is something to watch.
    await stack.misbehave("refuse_temporarily", match=right)
    await correct(page, right)
    await expect(page.locator("#state")).to_contain_text("pending")
    await expect(page.locator(".live[data-on]")).to_be_visible()
    await page.evaluate("window.seenFromTheStart = true")

    await stack.misbehave("accept")

    await expect(page.locator("#state")).to_contain_text("sent")
    await expect(page.locator(".lit")).to_contain_text("sent")
    await expect(page.locator("#timeline")).to_contain_text("Address changed, new link")
    assert await page.evaluate("window.seenFromTheStart") is True
    await page.locator("#do-resend summary").click()
    await page.locator("#do-resend").get_by_role("button", name="Resend").click()
    await expect(page.get_by_role("status")).to_contain_text("A new link is on its way")
    assert len(await stack.mails(right)) >= 1
    await stack.mail(right, count=2)
    await expect(page.locator("#attempts")).to_contain_text("send 3")


async def test_it_goes_without_a_script_too(stack: Stack, new_person: NewPerson) -> None:
    member, right = await failed(stack), new_address("right")
    page = await sign_in(stack, await new_person(javascript=False))
    await find(page, stack, member)
    await correct(page, right)
    await stack.until_state(member, "sent")
    await page.reload()
    await expect(page.locator("#state")).to_contain_text("sent")
    await page.get_by_label("Why you must see the name and the address").fill("called us")
    await page.get_by_role("button", name="Show once").click()
    await expect(page.locator("main")).to_contain_text(f"{FIRST_NAME} {LAST_NAME}")
    await page.get_by_role("button", name="Sign out").click()
    await page.goto(f"{stack.invitation.url}/ops/invitations/{member.invitation_id}")
    await expect(page.locator("#token")).to_be_visible()


async def test_the_list_shows_who_is_new_by_itself_and_is_gone_through_by_keys(
    stack: Stack, new_person: NewPerson
) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    page = await sign_in(stack, await new_person(), "reader")
    await page.goto(f"{stack.invitation.url}/ops/invitations?cabinet_id={cabinet.id}")
    await expect(page.locator(".live[data-on]")).to_be_visible()
    await expect(page.locator("[data-row]")).to_have_count(0)

    members = [await stack.add_member(cabinet, dossier) for _ in range(2)]

    await expect(page.locator("[data-row] .sent")).to_have_count(2)
    await page.keyboard.press("/")
    await expect(page.locator("#q")).to_be_focused()
    await page.locator("#q").blur()
    for key in ("j", "j", "k", "Enter"):
        await page.keyboard.press(key)
    await page.wait_for_url(f"**/ops/invitations/{members[1].invitation_id}")


@pytest.mark.parametrize(("words", "screen"), [(ENGLISH, DESKTOP), (FRENCH, PHONE)], ids=["desktop", "phone"])
async def test_everybody_can_use_it(stack: Stack, new_person: NewPerson, words: Words, screen: ViewportSize) -> None:
    member = await failed(stack)
    person = await new_person(words=words, screen=screen)
    await person.page.goto(f"{stack.invitation.url}/ops")
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    page = await sign_in(stack, person, button=words.sign_in)
    for path in ("/ops/invitations?channel=email", f"/ops/invitations/{member.invitation_id}", "/ops/nothing"):
        await page.goto(stack.invitation.url + path)
        for summary in await page.locator("summary").all():
            await summary.click()
        await person.finds_it_accessible()
        await person.finds_nothing_cut_off()
