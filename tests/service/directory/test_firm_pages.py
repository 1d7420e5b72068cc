"""The firm's space over HTTP: who may see and do what, forms of other sites, and forms that are sent twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.service.directory.driving import Driver, Firm, eventually, new_email, person
from tests.service.directory.test_pages import Browser

OWN, CLIENT, ANYBODY = "the firm's alone", "of the client file", "of whoever is signed in"
# Each page, whose it is, and whether it is a form as well.
PAGES = {
    "/firms/{firm}/clients": (OWN, False),
    "/firms/{firm}/clients/new": (OWN, True),
    "/firms/{firm}/staff": (OWN, False),
    "/firms/{firm}/staff/new": (OWN, True),
    "/firms/{firm}/staff/{colleague}/remove": (OWN, True),
    "/firms/{firm}/face": (OWN, True),
    "/firms/{firm}/face/preview": (OWN, True),
    "/firms/{firm}/times": (OWN, True),
    "/firms/{firm}/digest": (OWN, True),
    "/clients/{dossier}/settings": (OWN, True),
    "/clients/{dossier}/archive": (OWN, True),
    "/clients/{dossier}": (CLIENT, False),
    "/clients/{dossier}/users": (CLIENT, False),
    "/clients/{dossier}/users/new": (CLIENT, True),
    "/clients/{dossier}/users/{member}": (CLIENT, True),
    "/clients/{dossier}/users/{member}/invitation": (CLIENT, True),
    "/clients/{dossier}/users/{member}/remove": (CLIENT, True),
    "/firms": (ANYBODY, False),
    "/files": (ANYBODY, False),
    "/sessions": (ANYBODY, False),
}
FORMS = [*(path for path, (_, form) in PAGES.items() if form), "/sessions/end-all", "/sessions/{session}/end"]


@dataclass
class Office:
    """A firm, one of its people, a client file with an administrator and an employee, and somebody of another firm."""

    firm: Firm
    dossier: dict[str, Any]
    anne: Browser
    administrator: Browser
    employee: Browser
    stranger: Browser
    colleague: str

    def at(self, path: str) -> str:
        return path.format(
            firm=self.firm.id,
            dossier=self.dossier["id"],
            member=self.dossier["members"][1]["id"],
            colleague=self.colleague,
            session=uuid4(),
        )

    async def listed(self) -> list[dict[str, Any]]:
        return (await self.firm.call("GET", f"/v1/dossiers/{self.dossier['id']}/members")).ok()["items"]


def seated(driver: Driver, session: str) -> Browser:
    browser = Browser(driver)
    browser.cookies["convive_session"] = session
    return browser


@pytest.fixture
async def office(driver: Driver, firm: Firm) -> Office:
    dossier = await firm.dossier(person(role="administrator"), person(role="standard_user"))
    anne = await driver.staff(firm)
    colleague = await driver.staff(firm, new_email("luc"))
    return Office(
        firm=firm,
        dossier=dossier,
        anne=seated(driver, anne),
        administrator=seated(driver, await driver.enter(dossier["members"][0])),
        employee=seated(driver, await driver.enter(dossier["members"][1])),
        stranger=seated(driver, await driver.staff(await driver.firm("Another cabinet"))),
        colleague=(await driver.call("GET", "/v1/me", token=colleague)).ok()["account_id"],
    )


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_is_seen_by_those_whose_it_is_and_by_nobody_else(
    driver: Driver, office: Office, path: str
) -> None:
    whose, _ = PAGES[path]
    may = {
        "anne": True,
        "administrator": whose != OWN,
        "employee": whose == ANYBODY,
        "stranger": whose == ANYBODY,
    }
    for name, allowed in may.items():
        page = await getattr(office, name).get(office.at(path))
        assert page.status in ((200, 303) if allowed else (403, 404)), (name, page.status)
        if not allowed:
            assert "Boulangerie" not in page.text
    nobody = await Browser(driver).get(office.at(path))
    assert nobody.status == 303
    assert (nobody.to or "").startswith("/sign-in")


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_is_taken_from_those_who_may_and_from_this_site_alone(
    driver: Driver, office: Office, path: str
) -> None:
    whose = PAGES[path][0] if path in PAGES else ANYBODY
    before = (await office.listed(), (await office.firm.call("GET", f"/v1/cabinets/{office.firm.id}")).ok())
    for origin in ("https://evil.example", "null", ""):
        for browser in (office.anne, office.administrator):
            assert (await browser.post(office.at(path), {"name": "Mine"}, Origin=origin)).status == 403, origin
    refused = [
        *([office.stranger, office.employee] if whose != ANYBODY else ()),
        *([office.administrator] if whose == OWN else ()),
    ]
    for browser in refused:
        assert (await browser.post(office.at(path), {"name": "Mine"})).status in (403, 404)
    nobody = await Browser(driver).post(office.at(path), {"name": "Mine"})
    assert nobody.status == 303
    assert (nobody.to or "").startswith(("/sign-in", "/sessions"))
    assert before == (await office.listed(), (await office.firm.call("GET", f"/v1/cabinets/{office.firm.id}")).ok())
    for browser in (office.anne, office.administrator):
        assert (await browser.get("/sessions")).status == 200, "nobody was signed out"


async def test_an_administrator_of_a_client_adds_manages_and_removes_in_their_own_file(office: Office) -> None:
    path, email = f"/clients/{office.dossier['id']}/users", new_email("sam")
    added = await office.administrator.post(
        f"{path}/new", {"key": str(uuid4()), **user(email), "role": "standard_user", "invite_by": "none"}
    )
    assert (added.status, added.to) == (303, f"{path}?done=added")
    [sam] = [member for member in await office.listed() if member["email"] == email]
    changed = {**user(email), "role": "expense_approver", "own_expense_reports": "yes"}
    assert (await office.administrator.post(f"{path}/{sam['id']}", changed)).status == 303
    [sam] = [member for member in await office.listed() if member["email"] == email]
    assert (sam["role"], sam["own_expense_reports"]) == ("expense_approver", True)
    assert (await office.administrator.post(f"{path}/{sam['id']}/remove")).status == 303
    assert (await office.administrator.post(f"{path}/{sam['id']}/remove")).status == 303, "a second click"
    assert email not in [member["email"] for member in await office.listed()]


async def test_a_form_that_is_sent_twice_makes_one_client_one_user_and_one_invitation(
    driver: Driver, office: Office
) -> None:
    key, clients = str(uuid4()), f"/firms/{office.firm.id}/clients"
    form = {"key": key, "name": "Garage Petit", "first_name": "Luc", "last_name": "Petit", "email": new_email("luc")}
    form |= {"role": "standard_user", "invite_by": "email", "act": "create"}
    first, second = [await office.anne.post(f"{clients}/new", form) for _ in range(2)]
    assert first.to == second.to
    dossiers = (await office.firm.call("GET", "/v1/dossiers?q=Garage")).ok()["items"]
    assert len(dossiers) == 1

    users, wanted = f"/clients/{dossiers[0]['id']}/users", {"key": str(uuid4()), **user(new_email("sam"))}
    wanted |= {"role": "standard_user", "invite_by": "none"}
    assert [(await office.anne.post(f"{users}/new", wanted)).status for _ in range(2)] == [303, 303]
    members = (await office.firm.call("GET", f"/v1/dossiers/{dossiers[0]['id']}/members")).ok()["items"]
    assert len(members) == 2
    [sam] = [member for member in members if member["first_name"] == "Sam"]
    invite = {"key": str(uuid4()), "invite_by": "email"}
    assert [(await office.anne.post(f"{users}/{sam['id']}/invitation", invite)).status for _ in range(2)] == [303, 303]
    await driver.hears("user.created", sam["id"])
    (await office.firm.call("DELETE", f"/v1/dossiers/{dossiers[0]['id']}/members/{sam['id']}")).ok(204)
    await driver.hears("user.removed", sam["id"])
    told = [event.short_type for event in driver.heard if event.subject == sam["id"]]
    assert told.count("user.created") == 1


async def test_an_archived_client_is_gone_from_the_list_and_its_people_from_the_file(
    driver: Driver, office: Office
) -> None:
    archive = f"/clients/{office.dossier['id']}/archive"
    assert (await office.anne.post(archive)).status == 303
    assert (await office.anne.post(archive)).status == 303, "a second click"
    assert "Boulangerie Martin" not in (await office.anne.get(f"/firms/{office.firm.id}/clients")).text
    assert (await office.anne.get(f"/clients/{office.dossier['id']}/users")).status == 404

    async def out() -> bool:
        return (await office.administrator.get(f"/clients/{office.dossier['id']}/users")).status in (303, 403, 404)

    assert await eventually(out)


async def test_a_colleague_who_is_removed_has_no_access_from_the_next_click(driver: Driver, office: Office) -> None:
    email = new_email("eve")
    eve = seated(driver, await driver.staff(office.firm, email))
    id = (await driver.call("GET", "/v1/me", token=eve.cookies["convive_session"])).ok()["account_id"]
    clients = f"/firms/{office.firm.id}/clients"
    assert (await eve.get(clients)).status == 200
    assert (await office.anne.post(f"/firms/{office.firm.id}/staff/{id}/remove")).status == 303
    assert (await eve.get(clients)).status in (303, 404)
    own = (await driver.call("GET", "/v1/me", token=office.anne.cookies["convive_session"])).ok()["account_id"]
    refused = await office.anne.post(f"/firms/{office.firm.id}/staff/{own}/remove")
    assert refused.status == 200, "nobody removes themselves: the page says so"
    assert (await office.anne.get(clients)).status == 200


async def test_a_name_from_outside_is_shown_as_text_everywhere(driver: Driver, office: Office) -> None:
    evil = "<script>alert(1)</script>"
    dossier = await office.firm.dossier(person(first_name="<b>Jeanne", last_name="O'Neil & Co"), name=evil)
    member = dossier["members"][0]["id"]
    for path in (
        f"/firms/{office.firm.id}/clients",
        f"/clients/{dossier['id']}/users",
        f"/clients/{dossier['id']}/users/{member}",
    ):
        page = await office.anne.get(path)
        assert page.status == 200
        assert evil not in page.text
        assert "<b>Jeanne" not in page.text


def user(email: str) -> dict[str, str]:
    return {"first_name": "Sam", "last_name": "Diallo", "email": email}
