"""The people who work for a firm, over HTTP."""

from __future__ import annotations

import re

from tests.running import Stack
from tests.service.directory.driving import ADMIN, Driver, Firm, names, new_email, person
from tests.speaking import PASSWORD, new_address

DOSSIERS = "/v1/dossiers"


def staff_of(firm: Firm) -> str:
    return f"/v1/cabinets/{firm.id}/staff"


async def test_a_colleague_acts_for_the_firm_until_removed_and_not_a_call_longer(driver: Driver, firm: Firm) -> None:
    email = new_email("anne")
    token = await driver.staff(firm, email)
    me = (await driver.call("GET", "/v1/me", None, token)).ok()
    assert me["cabinets"] == [{"id": firm.id, "name": "Cabinet Léger", "first_name": "Anne", "last_name": "Léger"}]
    dossier = (await driver.call("POST", DOSSIERS, {"name": "Garage Petit", "members": [person()]}, token)).ok(201)
    (created,) = await driver.hears("user.created", dossier["members"][0]["id"])
    assert created.data.model_dump()["invited_by"] == "Anne Léger"
    members = f"{DOSSIERS}/{dossier['id']}/members"
    invited = f"{members}/{dossier['members'][0]['id']}/invitation"
    (await driver.call("POST", invited, {"invite_by": "email"}, token)).ok(202)
    (request,) = await driver.hears("invitation.resend_requested")
    assert request.data.model_dump()["requested_by"] == f"staff:{me['account_id']}"

    (listed,) = (await firm.call("GET", staff_of(firm))).ok()["items"]
    assert (listed["email"], listed["active"]) == (email, True)
    assert (await firm.call("DELETE", f"{staff_of(firm)}/{listed['account_id']}")).status == 204
    assert (await driver.call("GET", members, None, token)).status == 401, "the account was for this alone"
    assert (await driver.sign_in(email)).status == 401
    assert (await firm.call("DELETE", f"{staff_of(firm)}/{listed['account_id']}")).status == 404


async def test_a_place_waits_until_the_address_is_shown_to_be_its_owners(driver: Driver, firm: Firm) -> None:
    """Account pre-hijacking: who made the account first, with an address that is not theirs, gets into no firm."""
    other = await driver.firm("Another cabinet")
    (member,) = (await other.dossier(person()))["members"]
    attacker = await driver.enter(member, "the attacker's own password", channel="sms")
    (await firm.call("POST", staff_of(firm), names(member["email"]))).ok(201)
    assert (await driver.call("GET", DOSSIERS, None, attacker)).status == 403
    assert (await driver.call("GET", "/v1/me", None, attacker)).ok()["cabinets"] == []
    refused = await driver.call("POST", staff_of(firm), {**names(member["email"]), "password": PASSWORD}, ADMIN)
    assert (refused.status, refused.json["slug"]) == (409, "account_exists")

    # The owner uses a link that came to the address itself.
    (again,) = (await firm.dossier(person(member["email"])))["members"]
    owner = await driver.enter(again, PASSWORD)
    assert (await driver.call("GET", DOSSIERS, None, owner)).status == 200
    assert (await driver.call("GET", DOSSIERS, None, attacker)).status == 401


async def test_who_works_for_two_firms_says_for_which_and_a_dossier_says_it_itself(driver: Driver, firm: Firm) -> None:
    other = await driver.firm("Another cabinet")
    email = new_email("anne")
    await driver.staff(firm, email)
    # The account has a password: the place alone is added.
    token = await driver.staff(other, email)
    ours, theirs = await firm.dossier(), await other.dossier(name="Garage Petit")
    undecided = await driver.call("GET", DOSSIERS, None, token)
    assert (undecided.status, undecided.json["errors"][0]["field"]) == (422, "X-Convive-Cabinet")
    for chosen, dossier in ((firm, ours), (other, theirs)):
        listed = await driver.call("GET", DOSSIERS, None, token, X_Convive_Cabinet=chosen.id)
        assert [one["id"] for one in listed.ok()["items"]] == [dossier["id"]]
        assert (await driver.call("GET", f"{DOSSIERS}/{dossier['id']}", None, token)).status == 200
    third = await driver.firm("A third cabinet")
    assert (await driver.call("GET", DOSSIERS, None, token, X_Convive_Cabinet=third.id)).status == 404


async def test_a_colleague_invited_without_a_password_chooses_one_by_a_link_in_a_mail(
    stack: Stack,
) -> None:
    cabinet = await stack.new_cabinet()
    email = new_address("anne")
    stack.private.add(email)
    path = f"/v1/cabinets/{cabinet.id}/staff"
    body = {**names(email), "locale": "en"}
    for key in ("one", "one"):
        made = await stack.directory.call("POST", path, json=body, token=cabinet.key, headers={"Idempotency-Key": key})
        assert made.ok(201)["active"] is False
    mail = await stack.mail(email)
    assert mail.subject.endswith("invites you to its space on Convive")
    (link,) = re.findall(r"http\S+/new-password/\S+", mail.text)
    stack.private.add(link)
    chosen = await stack.directory.post_form(link, {"password": PASSWORD})
    assert chosen.headers["Location"] == "/sign-in?reason=password-changed"
    session = await stack.session(email=email)
    assert [firm["id"] for firm in (await stack.me(session))["cabinets"]] == [cabinet.id]
    # Another firm takes her on: she is told, and keeps her password.
    other = await stack.new_cabinet()
    again = await stack.directory.call("POST", f"/v1/cabinets/{other.id}/staff", json=body, token=other.key)
    assert again.ok(201)["active"] is True
    # Two, not three: the same call again wrote no second letter.
    assert "/sign-in" in (await stack.mail(email, count=2)).text


async def test_the_same_colleague_again_is_one_place_with_the_newer_name(driver: Driver, firm: Firm) -> None:
    email = new_email("anne")
    first = (await firm.call("POST", staff_of(firm), names(email))).ok(201)
    again = (await firm.call("POST", staff_of(firm), {**names(email), "last_name": "Petit"})).ok(201)
    assert again == {**first, "last_name": "Petit"}
    refused = await firm.call("POST", staff_of(firm), {**names(new_email()), "password": PASSWORD})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "password")
    weak = await driver.call("POST", staff_of(firm), {**names(new_email()), "password": "short"}, ADMIN)
    assert (weak.status, weak.json["errors"][0]["field"]) == (422, "password")


async def test_a_link_asked_for_twice_with_one_key_is_sent_once(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    path = f"{DOSSIERS}/{member['dossier_id']}/members/{member['id']}/invitation"
    for key in ("one", "one", "two"):
        (await firm.call("POST", path, {"invite_by": "email"}, Idempotency_Key=key)).ok(202)
    await driver.hears("invitation.resend_requested", count=2)
    (await firm.call("DELETE", path.removesuffix("/invitation"))).ok(204)
    await driver.hears("user.removed", member["id"])
    assert len(await driver.hears("invitation.resend_requested")) == 2
