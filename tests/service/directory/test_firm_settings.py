"""The pages with a firm's settings: its face with the preview, its times, and the switch of the daily mail."""

from __future__ import annotations

import pytest

from directory.digest import DigestLetters
from tests.service.directory.driving import SERVICE, Driver, Firm
from tests.service.directory.test_pages import Browser

PAGES = ("face", "face/preview", "times", "digest")


@pytest.fixture
async def anne(driver: Driver, firm: Firm) -> Browser:
    browser = Browser(driver)
    browser.cookies["convive_session"] = await driver.staff(firm)
    return browser


async def test_only_the_firms_own_people_see_or_change_them(driver: Driver, firm: Firm, anne: Browser) -> None:
    other = await driver.firm("Another cabinet")
    stranger = Browser(driver)
    stranger.cookies["convive_session"] = await driver.staff(other)
    nobody = Browser(driver)
    for name in PAGES:
        path = f"/firms/{firm.id}/{name}"
        assert (await anne.get(path)).status == 200, name
        assert (await stranger.get(path)).status == 404, name
        assert (await nobody.get(path)).headers["Location"].startswith("/sign-in?next=/firms/")
        assert (await anne.post(path, {"name": "Mine"}, Origin="https://evil.example")).status == 403, name
        assert (await stranger.post(path, {"name": "Mine"})).status == 404, name
        assert (await nobody.post(path, {"name": "Mine"})).headers["Location"] == "/sign-in?next=/"
    assert (await firm.call("GET", f"/v1/cabinets/{firm.id}")).ok()["name"] == "Cabinet Léger"


async def test_the_face_is_saved_and_a_field_that_does_not_fit_says_what_to_do(firm: Firm, anne: Browser) -> None:
    path = f"/firms/{firm.id}/face"
    form = {"name": "Cabinet Framboise", "coloured": "yes", "colour": "#7A1F5C", "sms_sender": "FRAMBOISE"}
    saved = await anne.post(path, form)
    assert (saved.status, saved.headers["Location"]) == (303, f"{path}?saved=yes")
    state = (await firm.call("GET", f"/v1/cabinets/{firm.id}")).ok()
    assert (state["name"], state["colour"], state["sms_sender"]) == ("Cabinet Framboise", "#7a1f5c", "FRAMBOISE")

    refused = await anne.post(f"{path}?lang=en", {**form, "sms_sender": "INFO", "reply_to": "nobody"})
    assert refused.status == 422
    assert "no word that any firm could use" in refused.text
    assert 'value="INFO"' in refused.text, "what was typed stays"
    assert refused.text.count('aria-invalid="true"') == 2
    assert (await firm.call("GET", f"/v1/cabinets/{firm.id}")).ok() == state


async def test_times_are_saved_as_they_were_chosen_and_go_back_to_the_usual(firm: Firm, anne: Browser) -> None:
    path = f"/firms/{firm.id}/times"
    own = {
        "link_days": "30",
        "reminders": "own",
        "reminder_days": "3, 10",
        "quiet": "own",
        "quiet_from": "19:00",
        "quiet_until": "09:00",
        "sms_after_bounce": "yes",
    }
    assert (await anne.post(path, own)).status == 303
    policies = (await firm.call("GET", f"/v1/cabinets/{firm.id}")).ok()["policies"]
    assert policies == {
        "link_days": 30,
        "reminder_days": [3, 10],
        "quiet_from": "19:00",
        "quiet_until": "09:00",
        "sms_after_bounce": True,
    }
    assert 'value="3, 10"' in (await anne.get(path)).text
    for wrong in ({"link_days": "0"}, {"reminder_days": "3, 40"}, {"reminder_days": "soon"}, {"quiet_until": "18:30"}):
        assert (await anne.post(path, {**own, **wrong})).status == 422, wrong

    assert (await anne.post(path, {"reminders": "never", "quiet": "never"})).status == 303
    policies = (await firm.call("GET", f"/v1/cabinets/{firm.id}")).ok()["policies"]
    assert (policies["reminder_days"], policies["quiet_from"], policies["quiet_until"]) == ([], "00:00", "00:00")
    assert (await anne.post(path, {})).status == 303
    policies = (await firm.call("GET", f"/v1/cabinets/{firm.id}")).ok()["policies"]
    assert (policies["link_days"], policies["reminder_days"], policies["quiet_from"]) == (None, None, None)


async def test_without_the_invitation_service_the_preview_says_so_and_saving_works(firm: Firm, anne: Browser) -> None:
    path = f"/firms/{firm.id}/face"
    preview = await anne.post(f"{path}/preview?lang=en", {"name": "Cabinet Framboise"})
    assert preview.status == 200
    assert "not available at the moment" in preview.text
    assert preview.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert preview.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert (await anne.post(path, {"name": "Cabinet Framboise"})).status == 303


async def test_the_daily_mail_is_switched_among_the_settings_and_by_the_link_in_it(
    driver: Driver, firm: Firm, anne: Browser
) -> None:
    path = f"/firms/{firm.id}/digest"

    async def wanted() -> bool:
        return 'value="yes" checked' in (await anne.get(path)).text

    assert await wanted()
    assert (await anne.post(path, {"locale": "en"})).status == 303
    assert not await wanted()
    assert (await anne.post(path, {"digest": "yes"})).status == 303

    letters = DigestLetters(None, [SERVICE], "")  # pyright: ignore[reportArgumentType] - it only signs here
    account_id = (await driver.call("GET", "/v1/me", token=anne.cookies["convive_session"])).ok()["account_id"]
    link = f"/digest/{letters.sign(account_id, firm.id)}"
    scanner = Browser(driver)
    assert (await scanner.get(link)).status == 200
    assert await wanted(), "looking at the link stops nothing"
    assert (await scanner.go("POST", link, {"List-Unsubscribe": "One-Click"})).status == 200
    assert not await wanted()
    assert (await scanner.get(f"{link}x")).status == 404
