"""Operators at the console, in a browser: somebody's wrong address is found, put right, and seen to work."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import pytest
from playwright.async_api import Page, ViewportSize, expect

from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Person, Words
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import FIRST_NAME, LAST_NAME, Member, cloud_event, new_address, until, user_data
from tests.stacks import OwnStack

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
    await page.goto(f"{stack.invitation.url}/ops/invitations")
    await page.locator("#token").fill(made["token"])
    await page.get_by_role("button", name=button).click()
    await page.wait_for_url("**/ops/invitations")
    return page


async def find(page: Page, stack: Stack, member: Member) -> None:
    """By what all who failed like this have in common; then the person, by the address that was typed wrong."""
    await page.get_by_role("link", name="Failed", exact=True).click()
    await page.locator(".why").first.click()
    assert "error=unknown_address" in page.url
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

    for _ in range(2):
        await stack.add_member(cabinet, dossier)

    await expect(page.locator("[data-row] .sent")).to_have_count(2)
    first = await page.locator("[data-row] [data-open]").first.get_attribute("href")
    await page.keyboard.press("/")
    await expect(page.locator("#q")).to_be_focused()
    await page.locator("#q").blur()
    for key in ("j", "j", "k", "Enter"):
        await page.keyboard.press(key)
    await page.wait_for_url(f"**{first}")


@pytest.mark.parametrize(("words", "screen"), [(ENGLISH, DESKTOP), (FRENCH, PHONE)], ids=["desktop", "phone"])
async def test_everybody_can_use_it(stack: Stack, new_person: NewPerson, words: Words, screen: ViewportSize) -> None:
    member = await failed(stack)
    person = await new_person(words=words, screen=screen)
    await person.page.goto(f"{stack.invitation.url}/ops")
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    page = await sign_in(stack, person, "admin", button=words.sign_in)
    (await stack.operate(member, "revoke")).ok(202)
    for path in (
        "/ops",
        "/ops/audit",
        "/ops/surroundings",
        "/ops/tokens",
        "/ops/bulk",
        "/ops/failures",
        "/ops/invitations?channel=email",
        f"/ops/invitations/{member.invitation_id}",
        "/ops/nothing",
    ):
        await page.goto(stack.invitation.url + path)
        for summary in await page.locator("summary").all():
            await summary.click()
        await person.finds_it_accessible()
        await person.finds_nothing_cut_off()


async def test_ten_parked_messages_are_looked_at_and_handled_again_as_a_group(
    own_stack: OwnStack, new_person: NewPerson
) -> None:
    stack = await own_stack()
    # Requests about invitations that nobody knows, old enough not to be waited for.
    members = [Member(str(uuid4()), new_address(), "/tests/payroll") for _ in range(10)]
    async with stack.wire() as wire:
        for member in members:
            data = {"invitation_id": member.invitation_id}
            event = cloud_event("invitation.resend_requested", member.invitation_id, data)
            await wire.send(event | {"time": "2026-01-01T00:00:00.000Z"}, "invitation.resend_requested")

    async def all_parked() -> bool:
        return len(await stack.parked()) == len(members)

    await until(all_parked, within=30)
    for member in members:
        await stack.publish("user.created", member.id, user_data(member.id, member.email))
        await stack.until_state(member, "sent")
    person = await new_person(stack=stack, screen=PHONE)
    page = await sign_in(stack, person)
    await page.get_by_role("link", name="Failures").click()
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    await page.locator("[data-open]").first.click()
    await expect(page.locator("[data-row]")).to_have_count(10)
    await person.finds_it_accessible()
    await page.get_by_label("Why the whole group is handled again").fill("they are here now")
    await page.get_by_role("button", name="Look what would be done").click()
    # Counted while the page is open, without anybody's reloading it.
    await page.get_by_role("button", name="Handle these 10 messages again").click()
    await expect(page.locator("#run")).to_contain_text("Finished")
    await expect(page.locator("#run dd").nth(1)).to_have_text("10")
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    assert await stack.parked() == []
    for member in members:
        await stack.mail(member.email, count=2)


async def test_what_stands_in_a_message_is_seen_and_corrected_by_everybody(stack: Stack, new_person: NewPerson) -> None:
    member = Member(str(uuid4()), new_address(), "/tests/payroll")
    data = user_data(member.id, member.email)
    wrong = json.loads(json.dumps(data))
    del wrong["dossier"]["name"]
    async with stack.wire() as wire:
        await wire.send(cloud_event("user.created", member.id, wrong), "user.created")

    async def parked() -> str:
        bodies = {one["id"]: (await stack.parked_message(one["id"]))["body"] for one in await stack.parked()}
        return next((id for id, body in bodies.items() if member.id in body), "")

    id = await until(parked)
    person = await new_person(screen=PHONE)
    page = await sign_in(stack, person)
    await page.goto(f"{stack.invitation.url}/ops/failures/messages/{id}")
    await expect(page.locator("main")).not_to_contain_text(member.email)
    await page.get_by_label("Why you must see what stands in it").fill("to correct it")
    await page.get_by_role("button", name="Show once").click()
    await expect(page.locator("#body")).to_have_value(re.compile(re.escape(member.email)))
    await person.finds_it_accessible()
    await person.finds_nothing_cut_off()
    await page.locator("#body").fill(json.dumps(cloud_event("user.created", member.id, data)))
    await page.get_by_label("What you correct").fill("the name was missing")
    await page.get_by_role("button", name="Park a corrected copy").click()
    await page.get_by_role("button", name="Handle it again").click()
    await expect(page.get_by_role("status")).to_contain_text("The message was handled")
    await stack.until_state(member, "sent")


async def test_a_bulk_operation_is_followed_and_aborted(stack: Stack, new_person: NewPerson) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    members = [await stack.add_member(cabinet, dossier) for _ in range(4)]
    for member in members:
        await stack.until_state(member, "sent")
    person = await new_person()
    page = await sign_in(stack, person)
    await page.goto(f"{stack.invitation.url}/ops/invitations?cabinet_id={cabinet.id}")
    await page.get_by_role("link", name="Do something to all that fit").click()
    await page.get_by_label("Action").select_option("revoke")
    await page.get_by_label("At most per second").fill("0.1")
    await page.get_by_label("Reason").fill("a mistake")
    await person.finds_it_accessible()
    await page.get_by_role("button", name="Look what would be done").click()
    await page.get_by_role("button", name="Do it to these 4").click()
    await expect(page.locator("#run")).to_contain_text("Under way")
    await expect(page.locator("#run dd").nth(1)).not_to_have_text("0")
    await person.finds_it_accessible()
    await page.get_by_role("button", name="Abort").click()
    await expect(page.locator("#run")).to_contain_text("Aborted")
    await page.get_by_role("link", name="Bulk operations").first.click()
    await expect(page.locator("[data-row]").first).to_contain_text("Aborted")
    await person.finds_it_accessible()
    states = [(await stack.detail(member))["state"] for member in members]
    assert {"sent", "revoked"} == set(states)
