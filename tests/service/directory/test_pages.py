from __future__ import annotations

from http.cookies import SimpleCookie
from typing import Any

import aiohttp
import pytest

from tests.service.directory.driving import PASSWORD, Driver, Firm, nonce, person

HTML = {"Accept": "text/html", "Accept-Language": "en"}


class Page:
    def __init__(self, response: aiohttp.ClientResponse, text: str) -> None:
        self.status = response.status
        self.text = text
        self.headers = response.headers
        self.to = response.headers.get("Location")
        self.cookies: SimpleCookie = response.cookies


class Browser:
    """As much of a browser as forms and cookies need."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.cookies: dict[str, str] = {}

    async def go(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> Page:
        sent = {**HTML, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        async with self.driver.http.request(
            method, self.driver.url + path, data=form, headers=sent, allow_redirects=False
        ) as response:
            page = Page(response, await response.text())
        for name, morsel in page.cookies.items():
            self.cookies.pop(name, None)
            if morsel.value and morsel["max-age"] != "0":
                self.cookies[name] = morsel.value
        return page

    async def get(self, path: str, **headers: str) -> Page:
        return await self.go("GET", path, None, **headers)

    async def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Page:
        return await self.go("POST", path, form or {}, **{"Origin": self.driver.url, **headers})


@pytest.fixture
def browser(driver: Driver) -> Browser:
    return Browser(driver)


@pytest.fixture
async def jeanne(driver: Driver, firm: Firm) -> dict[str, Any]:
    (member,) = (await firm.dossier(person(role="expense_approver", own_expense_reports=True)))["members"]
    await driver.enter(member)
    return member


async def test_signing_in_shows_my_files_and_signing_out_ends_it(browser: Browser, jeanne: dict[str, Any]) -> None:
    assert (await browser.get("/")).to == "/sign-in"
    form = await browser.get("/sign-in")
    assert form.status == 200
    assert 'autocomplete="current-password"' in form.text
    page = await browser.post("/sign-in", {"email": jeanne["email"], "password": PASSWORD})
    assert (page.status, page.to) == (303, "/")
    cookie = page.cookies["convive_session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    home = await browser.get("/")
    assert "Boulangerie Martin" in home.text
    assert "Expense approver" in home.text
    assert "File your own expense reports" in home.text
    assert (await browser.get("/sign-in")).to == "/"
    token = browser.cookies["convive_session"]
    assert (await browser.post("/sign-out")).to == "/sign-in?reason=signed-out"
    assert "convive_session" not in browser.cookies
    browser.cookies["convive_session"] = token
    assert (await browser.get("/")).to == "/sign-in", "the session is over, not only its cookie"


async def test_the_handoff_signs_in_the_browser_that_accepted(driver: Driver, firm: Firm, browser: Browser) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    code = (await driver.redeem(member)).ok()["handoff_code"]
    stranger = Browser(driver)
    # A mailed code: the cookie is not there, and nothing is used up.
    assert (await stranger.get(f"/handoff?code={code}")).to == "/sign-in?reason=link-elsewhere"
    stranger.cookies["convive_handoff"] = nonce("another code")
    assert (await stranger.get(f"/handoff?code={code}")).to == "/sign-in?reason=link-elsewhere"
    browser.cookies["convive_handoff"] = nonce(code)
    await browser.go("HEAD", f"/handoff?code={code}")
    page = await browser.get(f"/handoff?code={code}")
    assert (page.status, page.to) == (303, "/")
    assert "convive_handoff" not in browser.cookies
    assert "Boulangerie Martin" in (await browser.get("/")).text
    # The back button.
    again = await browser.get(f"/handoff?code={code}")
    assert again.to
    assert (await browser.get(again.to)).to == "/"
    # The same code with its nonce, elsewhere and too late.
    stranger.cookies["convive_handoff"] = nonce(code)
    late = await stranger.get(f"/handoff?code={code}")
    assert late.to == "/sign-in?reason=link-used"
    assert "used already" in (await stranger.get(late.to)).text


async def test_signing_in_makes_a_new_session_and_ends_the_one_before(
    driver: Driver, browser: Browser, jeanne: dict[str, Any]
) -> None:
    form = {"email": jeanne["email"], "password": PASSWORD}
    browser.cookies["convive_session"] = "chosen by somebody else"
    await browser.post("/sign-in", form)
    first = browser.cookies["convive_session"]
    assert first != "chosen by somebody else"
    await browser.post("/sign-in", form)
    assert browser.cookies["convive_session"] != first
    assert (await driver.call("GET", "/v1/me", None, first)).status == 401


async def test_a_wrong_password_says_no_more_than_an_unknown_email(browser: Browser, jeanne: dict[str, Any]) -> None:
    wrong = await browser.post("/sign-in", {"email": jeanne["email"], "password": "wrong"})
    unknown = await browser.post("/sign-in", {"email": "nobody@example.com", "password": "wrong"})
    assert wrong.status == unknown.status == 401
    assert wrong.text.replace(jeanne["email"], "…") == unknown.text.replace("nobody@example.com", "…")
    assert "convive_session" not in browser.cookies


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1.evil.example"},
    ],
)
async def test_a_form_of_another_site_is_refused(
    browser: Browser, jeanne: dict[str, Any], headers: dict[str, str]
) -> None:
    page = await browser.post("/sign-in", {"email": jeanne["email"], "password": PASSWORD}, **headers)
    assert page.status == 403
    assert not page.cookies
    assert (await browser.post("/sign-out", None, **headers)).status == 403


async def test_a_browser_that_hides_the_origin_still_tells_the_site(browser: Browser) -> None:
    page = await browser.go("POST", "/sign-in", {"email": "a@example.com"}, Sec_Fetch_Site="cross-site")
    assert page.status == 403
    assert (await browser.go("POST", "/sign-in", {"email": "a@example.com", "password": "x"})).status == 401


async def test_too_many_attempts_get_a_page_that_says_so(browser: Browser) -> None:
    for _ in range(10):
        await browser.post("/sign-in", {"email": "a@example.com", "password": "x"})
    page = await browser.post("/sign-in", {"email": "a@example.com", "password": "x"})
    assert page.status == 429
    assert int(page.headers["Retry-After"]) > 0
    assert "too many attempts" in page.text


async def test_pages_speak_french_and_english_and_remember_the_choice(browser: Browser) -> None:
    assert "Se connecter" in (await browser.get("/sign-in", Accept_Language="fr-FR")).text
    assert "Se connecter" in (await browser.get("/sign-in", Accept_Language="de")).text
    assert 'lang="en"' in (await browser.get("/sign-in", Accept_Language="en")).text
    await browser.get("/sign-in?lang=fr", Accept_Language="en")
    page = await browser.get("/sign-in", Accept_Language="en")
    assert page.headers["Content-Language"] == "fr"


async def test_names_are_never_markup(driver: Driver, firm: Firm, browser: Browser) -> None:
    nasty = "<script>alert(1)</script>"
    (member,) = (await firm.dossier(person(first_name=nasty), name=nasty))["members"]
    browser.cookies["convive_session"] = await driver.enter(member)
    text = (await browser.get("/")).text
    assert nasty not in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize("path", ["/sign-in", "/", "/nowhere", "/static/directory.css"])
async def test_every_page_carries_strict_headers_and_nothing_foreign(
    browser: Browser, jeanne: dict[str, Any], path: str
) -> None:
    if path == "/":
        await browser.post("/sign-in", {"email": jeanne["email"], "password": PASSWORD})
    page = await browser.get(path)
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "http://" not in page.text.replace("http://www.w3.org", "")
    assert "https://" not in page.text
    assert "<script" not in page.text
    if path == "/nowhere":
        assert page.status == 404
        assert "There is no such page" in page.text


async def test_programs_get_problem_documents_also_when_they_take_html(driver: Driver) -> None:
    answer = await driver.call("GET", "/v1/nowhere", Accept="text/html")
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_session_that_somebody_planted_is_not_the_one_that_is_signed_in(
    driver: Driver, browser: Browser, firm: Firm, jeanne: dict[str, Any]
) -> None:
    planted = "planted-by-somebody-who-waits"
    browser.cookies["convive_session"] = planted
    await browser.post("/sign-in", {"email": jeanne["email"], "password": PASSWORD})
    assert browser.cookies["convive_session"] != planted
    assert (await driver.call("GET", "/v1/me", token=planted)).status == 401

    # Nor is a real one of another account carried over: its owner does not become Jeanne.
    (other,) = (await firm.dossier(person(role="standard_user")))["members"]
    theirs = await driver.enter(other)
    browser.cookies["convive_session"] = theirs
    await browser.post("/sign-out")
    await browser.post("/sign-in", {"email": jeanne["email"], "password": PASSWORD})
    assert browser.cookies["convive_session"] != theirs
    assert (await driver.call("GET", "/v1/me", token=theirs)).status == 401
