"""Somebody of a firm has a table of people: they look at it, correct it, and add everybody at once."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from playwright.async_api import FilePayload, ViewportSize, expect

from tests.journey.browsing import DESKTOP, ENGLISH, FRENCH, PHONE, Words
from tests.journey.conftest import NewPerson
from tests.journey.test_the_firms_space import EN, FR, Firm, at_the_desk, looks, shows
from tests.running import Stack
from tests.speaking import new_address

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@dataclass(frozen=True, slots=True)
class Importing:
    headings: str
    role: str
    title: str
    check: str
    wrong: str
    typo: str
    problem: str
    add: str
    done: str
    onward: str
    sample: str


INTO_FRENCH = Importing(
    headings="Prénom;Nom;Courriel;Rôle",
    role="utilisateur standard",
    title="Importer un fichier",
    check="Vérifier le fichier",
    wrong="ouvrez-le, enregistrez le tableau",
    typo="vouliez-vous dire gmail.com",
    problem="Impossible à ajouter (1)",
    add="Ajouter 2 personnes",
    done="Terminé",
    onward="Vers les utilisateurs",
    sample="Un tableau à remplir",
)
INTO_ENGLISH = Importing(
    headings="First name,Last name,E-mail,Role",
    role="standard user",
    title="Import a file",
    check="Check the file",
    wrong="save the table as CSV",
    typo="do you mean gmail.com",
    problem="Cannot be added (1)",
    add="Add 2 people",
    done="Done",
    onward="To the users",
    sample="A table to fill in",
)


def file(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "text/csv", "buffer": content}


@pytest.mark.parametrize(
    ("words", "firm", "labels", "screen"),
    [(FRENCH, FR, INTO_FRENCH, DESKTOP), (ENGLISH, EN, INTO_ENGLISH, PHONE)],
    ids=["french", "english"],
)
async def test_a_table_is_checked_and_then_everybody_in_it_is_added(
    stack: Stack, new_person: NewPerson, words: Words, firm: Firm, labels: Importing, screen: ViewportSize
) -> None:
    anne = await new_person(words=words, screen=screen)
    page = anne.page
    cabinet = await at_the_desk(stack, anne, words, firm)
    dossier = await stack.new_dossier(cabinet)
    await page.goto(f"{stack.directory.url}/clients/{dossier.id}/users")
    await page.get_by_role("link", name=labels.title).click()
    await anne.sees(labels.title)
    await expect(page.get_by_role("link", name=labels.sample)).to_be_visible()
    await looks(anne)

    await page.set_input_files("#file", files=[file("people.xlsx", b"PK\x03\x04" + b"\x00" * 100)])
    await anne.press(labels.check)
    await expect(page.get_by_role("alert")).to_contain_text(labels.wrong)
    await looks(anne)

    first, second = new_address("zoe"), new_address("sam").replace("example.com", "gmial.com")
    stack.private |= {first, second}
    separator = ";" if ";" in labels.headings else ","
    rows = [("Zoé", "Petit", first, labels.role), ("Sam", "Diallo", second, labels.role), ("Eve", "", "x", "")]
    table = "\n".join([labels.headings, *(separator.join(row) for row in rows)])
    await page.set_input_files("#file", files=[file("people.csv", table.encode("cp1252"))])
    await anne.press(labels.check)
    await shows(anne, "Sam Diallo", labels.typo)
    await looks(anne)
    await page.get_by_role("link", name=labels.problem).click()
    await expect(page.get_by_role("row")).to_have_count(2)
    await anne.press(labels.add)
    await anne.sees(labels.done)
    await looks(anne)
    await page.get_by_role("link", name=labels.onward).click()
    await shows(anne, "Zoé Petit", firm.sent_by_email)
    assert (await stack.mail(first)).link
