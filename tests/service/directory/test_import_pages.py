"""Many people from a table, in a browser's forms: who may, what is refused with advice, and what is done once."""

from __future__ import annotations

import re

import aiohttp
import pytest

from tests.service.directory.driving import Driver, eventually, new_email
from tests.service.directory.test_firm_pages import Office, office
from tests.service.directory.test_pages import HTML, Browser, Page

__all__ = ["office"]  # the fixture

TABLE = (
    "Prénom;Nom;E-mail;Rôle\r\nJeanne;Martin;{};approbateur\r\nSam;Diallo;sam@gmial.com;utilisateur\r\nEve;;x;chef\r\n"
)


async def send(browser: Browser, path: str, content: bytes, name: str = "people.csv", **headers: str) -> Page:
    """Upload a file as a form does."""
    form = aiohttp.FormData()
    form.add_field("file", content, filename=name, content_type="text/csv")
    cookies = "; ".join(f"{key}={value}" for key, value in browser.cookies.items())
    sent = {**HTML, "Origin": browser.driver.url, **({"Cookie": cookies} if cookies else {}), **headers}
    async with browser.driver.http.post(
        browser.driver.url + path, data=form, headers=sent, allow_redirects=False
    ) as response:
        return Page(response, await response.text())


async def previewed(office: Office, who: Browser | None = None) -> tuple[str, str]:
    """An uploaded table: the address of its preview, and that of somebody who can be added."""
    email = new_email()
    path = f"/clients/{office.dossier['id']}/users/import"
    page = await send(who or office.anne, path, TABLE.format(email).encode())
    assert page.status == 303, page.text
    return page.to or "", email


async def done(browser: Browser, path: str) -> Page:
    async def over() -> Page | None:
        page = await browser.get(path)
        return page if page.status == 200 and "data-running" not in page.text else None

    return await eventually(over)


async def test_nothing_happens_before_it_is_started_and_then_each_row_once(driver: Driver, office: Office) -> None:
    path, email = await previewed(office)
    preview = await office.anne.get(path)
    for words in ("3 rows were read. Nothing has happened yet.", "Add 2 people", "do you mean gmail.com?"):
        assert words in preview.text
    assert "Cannot be added (1)" in preview.text
    assert "There is no role “chef”" in (await office.anne.get(f"{path}?verdict=invalid")).text
    assert "There is no role “chef”" not in (await office.anne.get(f"{path}?verdict=add")).text
    assert len(await office.listed()) == 2

    for _ in range(2):
        assert (await office.anne.post(f"{path}/start", {"invite_by": "none"})).to == path
    page = await done(office.anne, path)
    assert "2 people added" in page.text
    assert {email, "sam@gmial.com"} <= {member["email"] for member in await office.listed()}
    result = await office.anne.get(f"{path}/result.csv")
    assert result.text.count("Added") == 2
    assert "Not added: please correct" in result.text

    # The same file once more: everybody is there already.
    again = await send(office.anne, f"/clients/{office.dossier['id']}/users/import", TABLE.format(email).encode())
    assert "There is nobody to add in this file." in (await office.anne.get(again.to or "")).text
    assert len(await office.listed()) == 4


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"", "The file is empty."),
        (b"\x00\x01\x02\x03" * 100, "This is no text that we can read"),
        (b"PK\x03\x04" + b"\x00" * 200, "This is a file of the kind xlsx"),
        (b"a;b;c\r\n1;2;3\r\n", "There is no column"),
        ("Prénom;Nom;E-mail\r\n;;\r\n".encode(), "There is nobody in the file"),
    ],
)
async def test_a_file_that_cannot_be_used_says_what_to_do(office: Office, content: bytes, advice: str) -> None:
    page = await send(office.anne, f"/clients/{office.dossier['id']}/users/import", content)
    assert page.status == 422
    assert advice in page.text
    assert 'aria-invalid="true"' in page.text


async def test_a_form_without_a_file_and_a_file_too_large_are_refused_as_pages(office: Office) -> None:
    path = f"/clients/{office.dossier['id']}/users/import"
    page = await send(office.anne, path, b"", name="")
    assert (page.status, "Choose a file first." in page.text) == (422, True)
    page = await send(office.anne, path, b"x" * (17 * 1024 * 1024))
    assert (page.status, "split it into several" in page.text) == (413, True)


async def test_a_firm_imports_into_the_files_that_the_rows_name(office: Office) -> None:
    email = new_email()
    table = f"First name,Last name,E-mail,Client file\r\nJeanne,Martin,{email},Garage Petit\r\n"
    page = await send(office.anne, f"/firms/{office.firm.id}/clients/import", table.encode())
    preview = await office.anne.get(page.to or "")
    assert "1 client file is opened for it:" in preview.text
    assert "Garage Petit" in preview.text
    await office.anne.post(f"{page.to}/start", {"invite_by": "none"})
    await done(office.anne, page.to or "")
    [dossier] = (await office.firm.call("GET", "/v1/dossiers?q=Garage")).ok()["items"]
    [member] = (await office.firm.call("GET", f"/v1/dossiers/{dossier['id']}/members")).ok()["items"]
    assert member["email"] == email


async def test_only_those_who_may_see_an_import_and_only_this_site_starts_it(driver: Driver, office: Office) -> None:
    of_client, of_firm = f"/clients/{office.dossier['id']}/users/import", f"/firms/{office.firm.id}/clients/import"
    own, _ = await previewed(office, office.administrator)
    for browser, client, firm in (
        (office.anne, 200, 200),
        (office.administrator, 200, 404),
        (office.employee, 403, 404),
        (office.stranger, 404, 404),
    ):
        assert (await browser.get(of_client)).status == client
        assert (await browser.get(of_firm)).status == firm
        for path in (own, f"{own}/result.csv"):
            assert ((await browser.get(path)).status == 200) is (client == 200)
        if client != 200:
            assert (await send(browser, of_client, b"x")).status == client
            for act in ("start", "abort"):
                assert (await browser.post(f"{own}/{act}")).status in (403, 404)
        for path in (f"{own}/start", f"{own}/abort"):
            assert (await browser.post(path, Origin="https://evil.example")).status == 403
        assert (await send(browser, of_client, b"x", Origin="https://evil.example")).status == 403
    nobody = Browser(driver)
    for path in (of_client, of_firm, own, f"{own}/result.csv"):
        assert re.match("/sign-in", (await nobody.get(path)).to or "")
    assert "Nothing has happened yet" in (await office.anne.get(own)).text


@pytest.mark.parametrize(("language", "separator"), [("fr", ";"), ("en", ",")])
async def test_the_table_to_fill_in_can_be_imported_as_it_is(office: Office, language: str, separator: str) -> None:
    for kind, path in (
        ("", f"/clients/{office.dossier['id']}/users/import"),
        ("?firm", f"/firms/{office.firm.id}/clients/import"),
    ):
        sample = await office.anne.get(f"/imports/sample.csv{kind}", **{"Accept-Language": language})
        assert separator in sample.text
        page = await send(office.anne, path, sample.text.encode())
        assert "Add 2 people" in (await office.anne.get(page.to or "")).text


async def test_a_stopped_import_adds_nobody_more(office: Office) -> None:
    path, _ = await previewed(office)
    assert (await office.anne.post(f"{path}/abort")).to == path
    assert "Stopped" in (await office.anne.get(path)).text
    await office.anne.post(f"{path}/start", {"invite_by": "none"})
    assert "Stopped" in (await office.anne.get(path)).text
    assert len(await office.listed()) == 2
