"""What each role may do, from the side of whoever is signed in."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

from aiohttp import ClientSession, DummyCookieJar

from convive_contracts import UserCreated
from convive_kit.mongo import close_client, open_client
from convive_kit.process import Process
from directory.app import start
from directory.model.roles import CAPABILITIES, ROLES
from directory.settings import DirectorySettings
from tests.service.directory.driving import SERVICE, Driver, Firm, environment, person

CHECK = "/v1/capability-checks"


async def asked(driver: Driver, token: str, dossier_id: str, capability: str, **who: str) -> Any:
    body = {**who, "dossier_id": dossier_id, "capability": capability}
    return (await driver.call("POST", CHECK, body, token)).ok()


async def test_each_role_may_do_each_thing_that_the_table_says_and_nothing_else(driver: Driver, firm: Firm) -> None:
    people = [person(role=role, own_expense_reports=own) for role in ROLES for own in (False, True)]
    dossier = await firm.dossier(*people)
    sessions = await asyncio.gather(*(driver.enter(member) for member in dossier["members"]))
    told = {event.subject: event.data for event in await driver.hears("user.created", count=len(people))}
    for member, session in zip(dossier["members"], sessions, strict=True):
        own = {"file_own_expense_reports"} if member["own_expense_reports"] else set[str]()
        expected = {name: name in ROLES[member["role"]] | own for name in CAPABILITIES}

        path = f"/v1/dossiers/{dossier['id']}/members/{member['id']}/permissions"
        assert (await driver.call("GET", path, token=session)).ok()["capabilities"] == expected
        verdicts = await asyncio.gather(
            *(asked(driver, SERVICE, dossier["id"], name, session=session) for name in CAPABILITIES)
        )
        assert dict(zip(CAPABILITIES, verdicts, strict=True)) == {
            name: {"allowed": expected[name], "role": member["role"]} for name in CAPABILITIES
        }
        data = told[member["id"]]
        assert isinstance(data, UserCreated)
        assert set(data.member.capabilities or ()) == {name for name in CAPABILITIES if expected[name]}


async def test_a_check_names_the_person_in_whatever_way_and_by_a_key_asks_of_own_dossiers(
    driver: Driver, firm: Firm
) -> None:
    dossier = await firm.dossier(person())
    (member,) = dossier["members"]
    session = await driver.enter(member)
    account_id = (await driver.call("GET", "/v1/me", token=session)).ok()["account_id"]
    yes = {"allowed": True, "role": "standard_user"}
    ways: list[dict[str, str]] = [{"session": session}, {"account_id": account_id}, {"email": member["email"].upper()}]
    for who in ways:
        for token in (SERVICE, firm.key):
            assert await asked(driver, token, dossier["id"], "see_own_documents", **who) == yes
    other = await driver.firm("Another cabinet")
    body = {"session": session, "dossier_id": dossier["id"], "capability": "see_own_documents"}
    assert (await driver.call("POST", CHECK, body, other.key)).status == 404
    assert (await driver.call("POST", CHECK, {**body, "email": member["email"]}, firm.key)).status == 422
    assert (await driver.call("POST", CHECK, {**body, "capability": "fly"}, firm.key)).status == 422


async def test_whoever_has_not_accepted_was_removed_or_signed_out_may_do_nothing(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier(person(), person(), person())
    removed, waiting, staying = dossier["members"]
    no = {"allowed": False, "role": None}
    session = await driver.enter(removed)
    assert await asked(driver, SERVICE, dossier["id"], "see_own_documents", email=waiting["email"]) == no
    (await firm.call("DELETE", f"/v1/dossiers/{dossier['id']}/members/{removed['id']}")).ok(204)
    assert await asked(driver, SERVICE, dossier["id"], "see_own_documents", session=session) == no

    session = await driver.enter(staying)
    (await driver.call("DELETE", "/v1/sessions/current", token=session)).ok(204)
    assert await asked(driver, SERVICE, dossier["id"], "see_own_documents", session=session) == no
    assert (await asked(driver, SERVICE, dossier["id"], "see_own_documents", email=staying["email"]))["allowed"]
    (await firm.call("DELETE", f"/v1/dossiers/{dossier['id']}")).ok(204)
    assert await asked(driver, SERVICE, dossier["id"], "see_own_documents", email=staying["email"]) == no


async def test_a_grant_of_another_publisher_counts_in_its_own_dossiers_alone(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    cabinet = {"id": firm.id, "name": "Cabinet Léger"}
    theirs = {"id": str(uuid4()), "email": f"{uuid4().hex}@example.com", "role": "administrator"}
    place = {"id": str(uuid4()), "name": "Elsewhere"}
    session = await driver.enter(theirs, source="/payroll", dossier=place, cabinet=cabinet)
    yes = {"allowed": True, "role": "administrator"}
    for token in (SERVICE, firm.key):
        assert await asked(driver, token, place["id"], "manage_users", session=session) == yes
    other = await driver.firm("Another cabinet")
    body = {"session": session, "dossier_id": place["id"], "capability": "manage_users"}
    assert (await driver.call("POST", CHECK, body, other.key)).status == 404

    # A publisher that names a dossier of the directory's gives nobody a place in it.
    intruder = {"id": str(uuid4()), "email": theirs["email"], "role": "administrator"}
    await driver.redeem(intruder, source="/payroll", dossier={"id": dossier["id"], "name": "Ours"}, cabinet=cabinet)
    verdict = await asked(driver, SERVICE, dossier["id"], "manage_users", session=session)
    assert verdict == {"allowed": False, "role": None}


async def test_a_retired_role_is_kept_by_those_who_have_it_and_given_to_nobody_new(
    driver: Driver, firm: Firm, amqp_url: str, mongo_url: str, database: str
) -> None:
    dossier = await firm.dossier(person(role="expense_approver"), person())
    approver, user = dossier["members"]
    session = await driver.enter(approver)
    settings = DirectorySettings(**environment(amqp_url, mongo_url, database), retired_roles=("expense_approver",))
    process = Process()
    port = await start(process, settings, ("web",))
    client = open_client(mongo_url)
    async with ClientSession(cookie_jar=DummyCookieJar()) as http:
        after = Driver(f"http://127.0.0.1:{port}", http, client[database], amqp_url)
        members = f"/v1/dossiers/{dossier['id']}/members"
        new = person(role="expense_approver")
        refusals = [
            (await after.call("POST", members, new, firm.key), "role"),
            (await after.call("PATCH", f"{members}/{user['id']}", {"role": "expense_approver"}, firm.key), "role"),
            (await after.call("POST", "/v1/dossiers", {"name": "New", "members": [new]}, firm.key), "members.0.role"),
        ]
        for refused, field in refusals:
            assert refused.status == 422
            assert [error["field"] for error in refused.json["errors"]] == [field]
            assert "choose another" in refused.text

        change = {"role": "expense_approver", "last_name": "Durand"}
        assert (await after.call("PATCH", f"{members}/{approver['id']}", change, firm.key)).ok()[
            "last_name"
        ] == "Durand"
        verdict = await asked(after, SERVICE, dossier["id"], "approve_expense_reports", session=session)
        assert verdict == {"allowed": True, "role": "expense_approver"}
        roles = {role["name"]: role for role in (await after.call("GET", "/v1/roles")).ok()["items"]}
        assert {name for name, role in roles.items() if role["retired"]} == {"expense_approver"}
        assert roles["expense_approver"]["labels"] == {"fr": "Valideur", "en": "Expense approver"}
    process.stopping.set()
    await process.stop()
    await close_client(client)
