"""A firm says how its clients see it, and looks at that before it saves."""

from __future__ import annotations

import pytest
from playwright.async_api import ViewportSize, expect

from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Words
from tests.journey.conftest import NewPerson
from tests.running import Stack
from tests.speaking import PASSWORD, new_address

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

LABELS = {
    "fr": ("Nom du cabinet", "Utiliser notre propre couleur", "Notre couleur", "E-mail", "Page du lien", "SMS"),
    "en": ("Name of the firm", "Use our own colour", "Our colour", "E-mail", "Page of the link", "Text message"),
}
SAVE = {"fr": "Enregistrer", "en": "Save"}
SAVED = {"fr": "C’est enregistré.", "en": "Saved."}
INVITES = {"fr": "Cabinet Framboise vous invite", "en": "Cabinet Framboise invites you"}


@pytest.mark.parametrize(("words", "screen"), [(FRENCH, DESKTOP), (ENGLISH, PHONE)], ids=["french", "english"])
async def test_a_firm_sees_its_mail_page_and_text_before_it_saves_them(
    stack: Stack, new_person: NewPerson, words: Words, screen: ViewportSize
) -> None:
    cabinet, email = await stack.new_cabinet(), new_address("anne")
    staff = {"email": email, "first_name": "Anne", "last_name": "Léger", "password": PASSWORD}
    path = f"/v1/cabinets/{cabinet.id}/staff"
    (await stack.directory.call("POST", path, json=staff, token=stack.admin_token)).ok(201)
    stack.private |= {email, PASSWORD}
    anne = await new_person(words=words, screen=screen)
    page, base = anne.page, f"{stack.directory.url}/firms/{cabinet.id}"
    await page.goto(f"{stack.directory.url}/sign-in")
    await page.locator("#email").fill(email)
    await page.locator("#password").fill(PASSWORD)
    await anne.press(words.sign_in)
    await anne.sees("Clients")

    await page.goto(f"{base}/face")
    name, own, colour, mail, link_page, text = LABELS[words.locale]
    frame = page.frame_locator("iframe[name=preview]")
    await expect(frame.locator("body")).to_contain_text(cabinet.name)
    await page.get_by_label(name).fill("Cabinet Framboise")
    await page.get_by_label(own).check()
    await page.get_by_label(colour, exact=True).fill("#7a1f5c")
    await anne.press(mail)
    await expect(frame.locator("body")).to_contain_text(INVITES[words.locale])
    await expect(frame.locator('td[bgcolor="#7a1f5c"]')).to_have_count(1)
    await anne.press(link_page)
    await expect(frame.locator(".lead")).to_contain_text(INVITES[words.locale])
    await expect(frame.locator("button[type=submit]")).to_have_css("background-color", "rgb(122, 31, 92)")
    await anne.press(text)
    await expect(frame.locator("pre")).to_contain_text("Cabinet Framboise")
    await expect(frame.locator("body")).to_contain_text("GSM-7")

    saved = await stack.directory.call("GET", f"/v1/cabinets/{cabinet.id}", token=cabinet.key)
    assert saved.ok()["name"] == cabinet.name, "a preview saves nothing"
    await anne.press(SAVE[words.locale])
    await expect(page.get_by_role("status")).to_contain_text(SAVED[words.locale])
    await expect(page.get_by_label(name)).to_have_value("Cabinet Framboise")
    for section in ("face", "times", "digest"):
        await page.goto(f"{base}/{section}")
        await anne.finds_it_accessible()
