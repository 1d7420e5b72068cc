"""`python -m tests.journey.pictures`: takes the pictures of docs/pictures anew, of a product that runs for them."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, Page, ViewportSize, async_playwright

from convive_contracts.envelope import rfc3339
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.programs import REPOSITORY
from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Words, launch
from tests.running import Stack
from tests.speaking import PASSWORD, Mail, Member

FOLDER = REPOSITORY / "docs" / "pictures"
LARGEST = 150 * 1024
"""Bytes of a picture: a clone should not be slow for its pictures."""

_INBOX = ViewportSize(width=1180, height=760)
_FORM = ViewportSize(width=760, height=900)
_CONSOLE = ViewportSize(width=1180, height=1000)


class Photographer:
    def __init__(self, stack: Stack, browser: Browser, folder: Path) -> None:
        self._stack = stack
        self._browser = browser
        self._folder = folder

    async def take(
        self,
        name: str,
        look: Callable[[Page], Awaitable[object]],
        *,
        screen: ViewportSize,
        words: Words = ENGLISH,
        colours: Literal["light", "dark"] = "light",
        whole: bool = True,
    ) -> None:
        """Take one picture of what `look` leads to: as wide as the screen, and with `whole` as high as what is there to
        see."""
        context = await self._browser.new_context(
            viewport=screen, locale=words.browser, reduced_motion="reduce", color_scheme=colours
        )
        page = await context.new_page()
        await look(page)
        file = self._folder / f"{name}.png"
        await page.screenshot(path=file, full_page=whole)
        await context.close()
        size = file.stat().st_size
        if size > LARGEST:
            raise SystemExit(f"{file.name} has {size // 1024} KiB; a picture may have {LARGEST // 1024}.")
        print(f"{file.relative_to(self._folder.parent)} ({size // 1024} KiB)")

    async def take_all(self) -> None:
        stack = self._stack
        cabinet = await stack.new_cabinet("Cabinet Léger", "+33142685300")
        dossier = await stack.new_dossier(cabinet, "Boulangerie Martin")

        async def invite(first_name: str, last_name: str, role: str, locale: str) -> tuple[Member, Mail]:
            member = await stack.add_member(
                cabinet,
                dossier,
                f"{first_name}.{last_name}@example.com".lower(),
                first_name=first_name,
                last_name=last_name,
                role=role,
                own_expense_reports=True,
                locale=locale,
            )
            return member, await stack.mail(member.email)

        oliver, for_oliver = await invite("Oliver", "Bennett", "standard_user", "en")
        _, for_jeanne = await invite("Jeanne", "Martin", "expense_approver", "fr")
        late, for_late = await invite("Emma", "Clarke", "standard_user", "en")
        soon = rfc3339(datetime.now(UTC) + timedelta(seconds=1))
        (await stack.operate(late, "extend", until=soon)).ok(202)
        await stack.until_state(late, "expired")

        await stack.misbehave("refuse_permanently", match="karim")
        wrong = await stack.add_member(
            cabinet, dossier, "karim.hadad@example.com", first_name="Karim", last_name="Haddad", locale="fr"
        )
        await stack.until_state(wrong, "failed")
        await stack.misbehave("accept")
        token = (await stack.new_ops_token("writer", "anne"))["token"]

        async def console(page: Page, path: str = "/ops/invitations") -> None:
            await page.goto(stack.invitation.url + path)
            await page.locator("#token").fill(token)
            await page.locator("#token").press("Enter")
            await page.locator(".live[data-on]").wait_for()

        async def one_at_the_console(page: Page) -> None:
            await console(page, f"/ops/invitations/{wrong.invitation_id}")
            await page.locator("#do-correct summary").click()

        async def mail(page: Page) -> None:
            await page.goto(f"{stack.inbox.url}/messages/{for_oliver.id}/html")

        async def inbox(page: Page) -> None:
            await page.goto(f"{stack.inbox.url}/#{for_oliver.id}")
            await page.frame_locator("#html").get_by_role("link", name=ENGLISH.open_mail).wait_for()

        async def done(page: Page) -> None:
            await page.goto(for_oliver.link)
            await page.locator("#password").press_sequentially(PASSWORD)
            await page.get_by_role("button", name=ENGLISH.submit).click()
            await page.wait_for_url(f"{stack.directory.url}/")

        staff = {"email": "claire@example.com", "first_name": "Claire", "last_name": "Léger", "password": PASSWORD}
        path = f"/v1/cabinets/{cabinet.id}/staff"
        (await stack.directory.call("POST", path, json=staff, token=stack.admin_token)).ok(201)
        users = f"/clients/{dossier.id}/users"

        async def firm(page: Page, path: str) -> None:
            await page.goto(stack.directory.url + path)
            await page.locator("#email").fill(staff["email"])
            await page.locator("#password").fill(PASSWORD)
            await page.locator("#password").press("Enter")
            await page.wait_for_url(stack.directory.url + path)

        async def users_list(page: Page) -> None:
            await firm(page, users)
            await page.get_by_text("Karim Haddad", exact=True).first.wait_for()

        async def adding(page: Page) -> None:
            await firm(page, f"{users}/new")
            for field, typed in (("first_name", "Amina"), ("last_name", "Diallo"), ("employee_code", "E-17")):
                await page.locator(f"#{field}").fill(typed)
            await page.locator("input[name=role][value=standard_user]").check()
            await page.locator("input[name=own_expense_reports]").check()
            await page.locator("input[name=invite_by][value=sms]").check()
            await page.locator("#email").fill("amina.diallo@example.com")
            await page.locator("#phone").fill("06 12 34 56 78")

        async def face(page: Page) -> None:
            await firm(page, f"/firms/{cabinet.id}/face")
            await page.frame_locator("iframe[name=preview]").get_by_role("link", name=ENGLISH.open_mail).wait_for()

        await self.take("mail", mail, screen=PHONE)
        await self.take("inbox", inbox, screen=_INBOX)
        await self.take("invitation-desktop", lambda page: page.goto(for_oliver.link), screen=DESKTOP)
        await self.take("invitation-phone", lambda page: page.goto(for_oliver.link), screen=PHONE)
        await self.take("invitation-phone-fr", lambda page: page.goto(for_jeanne.link), screen=PHONE, words=FRENCH)
        await self.take("expired-phone", lambda page: page.goto(for_late.link), screen=PHONE)
        await self.take("console-list", console, screen=_INBOX, whole=False)
        await self.take("console-invitation", one_at_the_console, screen=_CONSOLE, whole=False)
        await self.take("console-phone-dark", console, screen=PHONE, colours="dark", words=FRENCH, whole=False)
        await self.take("signed-in", done, screen=DESKTOP)
        await stack.until_state(oliver, "active")
        await self.take("firm-users", users_list, screen=DESKTOP)
        await self.take("firm-users-phone-fr", users_list, screen=PHONE, words=FRENCH)
        await self.take("firm-add-user", adding, screen=_FORM)
        await self.take("firm-face", face, screen=_CONSOLE, whole=False)


async def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="convive-pictures-") as place:
        folder = Path(place)
        broker, database = Broker(folder / "broker", management=False), Database(folder / "database")
        try:
            await asyncio.gather(broker.start(), database.start())
            stack = Stack(folder / "stack", amqp_url=broker.url, mongo_url=database.url)
            try:
                await stack.start()
                async with async_playwright() as playwright:
                    browser = await launch(playwright)
                    await Photographer(stack, browser, FOLDER).take_all()
                    await browser.close()
            finally:
                await stack.stop()
        finally:
            await broker.close()
            await database.close()


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
