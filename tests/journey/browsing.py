"""A person in front of a browser, and what the pages must not do to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Playwright,
    Request,
    ViewportSize,
    WebError,
    expect,
)

from deploy.local import programs

PHONE = ViewportSize(width=390, height=844)
DESKTOP = ViewportSize(width=1280, height=800)

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-gpu",
    # Processes cost more than the pages: a few do for all of them.
    "--disable-site-isolation-trials",
    "--process-per-site",
    "--renderer-process-limit=1",
]
# In the dark nothing is different but the colours.
_SCHEMES: tuple[tuple[Literal["light", "dark"], list[str] | None], ...] = (
    ("light", None),
    ("dark", ["color-contrast"]),
)
_ANSWERED_WITH = "Failed to load resource: the server responded with a status of"


@dataclass(frozen=True, slots=True)
class Words:
    """What a person looks for on the pages, in their language."""

    locale: str
    browser: str
    open_mail: str
    welcome: str
    welcome_back: str
    invites: str
    password: str
    own_password: str
    weak: str
    submit: str
    accept: str
    sign_in_and_accept: str
    wrong_password: str
    send_again: str
    not_me: str
    sign_in: str
    signed_in_as: str
    files: str


FRENCH = Words(
    locale="fr",
    browser="fr-FR",
    open_mail="Ouvrir l’invitation",
    welcome="Bienvenue, {}",
    welcome_back="Bonjour, {}",
    invites="{} vous invite à rejoindre le dossier en ligne",
    password="Mot de passe",
    own_password="Votre mot de passe",
    weak="Ce mot de passe ne convient pas encore",
    submit="Ouvrir mon accès",
    accept="Accepter",
    sign_in_and_accept="Se connecter et accepter",
    wrong_password="Le mot de passe n’est pas le bon",
    send_again="Me renvoyer le lien",
    not_me="Ce n’est pas moi",
    sign_in="Se connecter",
    signed_in_as="Votre adresse de connexion est {}",
    files="Mes dossiers",
)
ENGLISH = Words(
    locale="en",
    browser="en-GB",
    open_mail="Open the invitation",
    welcome="Welcome, {}",
    welcome_back="Welcome back, {}",
    invites="{} invites you to join the online file",
    password="Password",
    own_password="Your password",
    weak="This password will not do yet",
    submit="Open my access",
    accept="Accept",
    sign_in_and_accept="Sign in and accept",
    wrong_password="The password was not right",
    send_again="Send me the link again",
    not_me="This isn’t me",
    sign_in="Sign in",
    signed_in_as="You are signed in as {}",
    files="My files",
)


async def launch(playwright: Playwright) -> Browser:
    """Debian's chromium, kept from talking to anybody."""
    found = programs.chromium()
    return await playwright.chromium.launch(executable_path=found, args=_ARGUMENTS)


class Person:
    """One person with a browser of their own. Keeps what the browser complains of, and where it went."""

    def __init__(self, context: BrowserContext, page: Page, own_origins: Iterable[str]) -> None:
        self.context = context
        self.page = page
        self.troubles: list[str] = []
        self._own = tuple(f"{origin}/" for origin in own_origins)
        self._documents: set[str] = set()
        context.on("request", self._asked)
        context.on("console", self._complained)
        context.on("weberror", self._failed)

    def _asked(self, request: Request) -> None:
        if request.is_navigation_request():
            self._documents.add(request.url)
        if not request.url.startswith((*self._own, "data:")):
            self.troubles.append(f"went to {request.url}")

    def _complained(self, message: ConsoleMessage) -> None:
        # Of a page that is an error by its nature (an expired link, say) the browser tells the status.
        of_a_page = message.text.startswith(_ANSWERED_WITH) and message.location["url"] in self._documents
        if message.type in ("error", "warning") and not of_a_page:
            self.troubles.append(f"{message.type}: {message.text} ({message.location['url']})")

    def _failed(self, failure: WebError) -> None:
        self.troubles.append(f"script: {failure.error}")

    async def open_mail(self, inbox_url: str, to: str, words: Words) -> None:
        """Look into the inbox, click the mail, click its button: the page is the one that opens."""
        await self.page.goto(inbox_url)
        await self.page.get_by_role("button", name=to).click()
        button = self.page.frame_locator("#html").get_by_role("link", name=words.open_mail)
        async with self.context.expect_page() as opened:
            await button.click()
        self.page = await opened.value
        await self.page.wait_for_load_state()

    async def type_password(self, password: str) -> None:
        """Key by key, so that the browser vouches for the input."""
        await self.page.locator("#password").press_sequentially(password)

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def choose_password(self, password: str, words: Words) -> None:
        await self.type_password(password)
        await self.press(words.submit)

    async def sees(self, heading: str) -> None:
        """Wait for a page by its heading."""
        await expect(self.page.get_by_role("heading", name=heading, exact=True)).to_be_visible()

    async def reads(self, text: str) -> None:
        await expect(self.page.locator("main")).to_contain_text(text)

    async def is_in(self, directory_url: str, email: str, words: Words) -> None:
        """Wait for the directory's page of somebody who is signed in."""
        await self.page.wait_for_url(f"{directory_url}/")
        await self.sees(words.files)
        await self.reads(words.signed_in_as.format(email))

    async def finds_it_accessible(self) -> None:
        """Fail on what axe-core calls serious or critical, in light and in dark."""
        await self.page.evaluate(AXE_SCRIPT)
        found: list[str] = []
        for scheme, rules in _SCHEMES:
            await self.page.emulate_media(color_scheme=scheme)
            answer: dict[str, Any] = await self.page.evaluate(
                "rules => axe.run(document, {resultTypes: ['violations'], iframes: false, "
                "...(rules && {runOnly: rules})})",
                rules,
            )
            found += [
                f"{scheme}: {flaw['impact']} {flaw['id']}: {flaw['help']} {[node['html'] for node in flaw['nodes']]}"
                for flaw in answer["violations"]
                if flaw["impact"] in ("serious", "critical")
            ]
        await self.page.emulate_media(color_scheme=None)
        assert not found, f"{self.page.url}\n" + "\n".join(found)

    async def finds_nothing_cut_off(self) -> None:
        """Fail when the page is wider than the screen."""
        wider = await self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{self.page.url} is {wider} px too wide"
