from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from convive_contracts import AccountRedeemed, AccountSignedIn, invitation_id
from convive_kit.errors import Retry
from directory.membership import Membership
from tests.service.directory.driving import PASSWORD, SERVICE, Driver, Firm, person, redemption

FOREIGN = "/another/service"


def path(member: dict[str, Any]) -> str:
    return f"/v1/dossiers/{member['dossier_id']}/members/{member['id']}"


async def seen(firm: Firm, member: dict[str, Any]) -> dict[str, Any]:
    return (await firm.call("GET", path(member))).ok()


async def test_the_first_link_makes_an_account_and_signs_in(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    redeemed = (await driver.redeem(member)).ok()
    assert redeemed.keys() == {"credential", "handoff_code"}
    assert redeemed["credential"] == "new"
    assert not (await seen(firm, member))["has_signed_in"]
    (event,) = await driver.hears("account.redeemed")
    assert isinstance(event.data, AccountRedeemed)
    assert (event.data.credential, event.data.invitation_id) == ("new", member["invitation"]["id"])
    session = (await driver.call("POST", "/v1/sessions", {"code": redeemed["handoff_code"]})).ok(201)
    (signed_in,) = await driver.hears("account.signed_in")
    assert isinstance(signed_in.data, AccountSignedIn)
    assert signed_in.data.invitation_ids == [member["invitation"]["id"]]
    assert (signed_in.subject, signed_in.sequence) == (event.subject, 2)
    assert (await seen(firm, member))["has_signed_in"]
    me = (await driver.call("GET", "/v1/me", None, session["token"])).ok()
    assert (me["email"], me["verified"], me["grants"]) == (member["email"], True, [])
    assert [(d["id"], d["role"], d["cabinet"]["name"]) for d in me["dossiers"]] == [
        (member["dossier_id"], "standard_user", "Cabinet Léger")
    ]


async def test_the_same_password_again_gives_the_same_answer(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    first, second = (await driver.redeem(member)).ok(), (await driver.redeem(member)).ok()
    assert first["credential"] == second["credential"] == "new"
    for redeemed in (first, second):
        assert (await driver.call("POST", "/v1/sessions", {"code": redeemed["handoff_code"]})).status == 201
        assert (await driver.call("POST", "/v1/sessions", {"code": redeemed["handoff_code"]})).status == 401
    assert len(await driver.hears("account.redeemed")) == 1
    other = await driver.redeem(member, "another good password")
    assert (other.status, other.json["slug"]) == (409, "other_password")
    assert (await driver.sign_in(member["email"])).status == 201


async def test_of_people_racing_with_one_link_exactly_one_sets_the_password(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    passwords = [f"the password of number {number}" for number in range(6)]
    answers = await asyncio.gather(*(driver.redeem(member, password) for password in passwords))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 5
    for password, answer in zip(passwords, answers, strict=True):
        assert (await driver.sign_in(member["email"], password)).status == (201 if answer.status == 200 else 401)
    assert len(await driver.hears("account.redeemed")) == 1


async def test_a_crash_after_the_accounts_write_is_healed_by_a_retry(
    driver: Driver, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member,) = (await firm.dossier(person()))["members"]

    async def crash(*_: Any, **__: Any) -> None:
        raise Retry

    with monkeypatch.context() as patched:
        patched.setattr(Membership, "attach", crash)
        assert (await driver.redeem(member)).status == 503
    assert (await driver.redeem(member, "another good password")).status == 409, "it is decided already"
    token = await driver.enter(member)
    assert len((await driver.call("GET", "/v1/me", None, token)).ok()["dossiers"]) == 1
    assert (await seen(firm, member))["has_signed_in"]


async def test_after_such_a_crash_a_sign_in_with_the_password_heals_too(
    driver: Driver, firm: Firm, monkeypatch: pytest.MonkeyPatch
) -> None:
    (member,) = (await firm.dossier(person()))["members"]

    async def crash(*_: Any, **__: Any) -> None:
        raise Retry

    with monkeypatch.context() as patched:
        patched.setattr(Membership, "attach", crash)
        await driver.redeem(member)
    await driver.hears("account.redeemed")
    token = (await driver.sign_in(member["email"])).ok(201)["token"]
    assert len((await driver.call("GET", "/v1/me", None, token)).ok()["dossiers"]) == 1
    assert (await seen(firm, member))["has_signed_in"]
    assert (await firm.call("PATCH", path(member), {"email": "new@example.com"})).status == 409


async def test_somebody_with_an_account_keeps_the_password_for_a_second_dossier(driver: Driver, firm: Firm) -> None:
    jeanne = person()
    (first,) = (await firm.dossier(jeanne))["members"]
    token = await driver.enter(first)
    other = await driver.firm("Another cabinet")
    (second,) = (await other.dossier(jeanne))["members"]
    assert not second["has_signed_in"], "never tells that the person is another firm's client"
    wrong = await driver.redeem(second, "not the password")
    assert (wrong.status, wrong.json["slug"]) == (409, "other_password")
    by_password = (await driver.redeem(second)).ok()
    vouched = (await driver.redeem(second, None)).ok()
    assert by_password["credential"] == vouched["credential"] == "existing"
    assert (await seen(other, second))["has_signed_in"]
    assert len((await driver.call("GET", "/v1/me", None, token)).ok()["dossiers"]) == 2
    assert (await driver.sign_in(jeanne["email"])).status == 201


async def test_a_first_link_needs_a_password_of_12_to_128_characters(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    for password in (None, "elevenchars", "x" * 129):
        answer = await driver.redeem(member, password)
        assert answer.status == 422
        assert [error["field"] for error in answer.json["errors"]] == ["password"]
    account = await driver.call("GET", f"/internal/v1/accounts?email={member['email']}", None, SERVICE)
    assert account.ok() == {"exists": False, "verified": False}


async def test_an_old_link_of_a_corrected_address_lets_nobody_in(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    await firm.call("PATCH", path(member), {"email": "corrected@example.com"})
    assert (await driver.redeem(member)).status == 410
    old = await driver.call("GET", f"/internal/v1/accounts?email={member['email']}", None, SERVICE)
    assert old.ok()["exists"] is False, "nor does it leave an account behind"
    corrected = await seen(firm, member)
    assert (await driver.redeem(corrected)).status == 200


async def test_an_unknown_member_of_our_own_is_gone(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    assert (await driver.redeem(member | {"id": str(uuid4())})).status == 410
    borrowed = redemption(member) | {"invitation_id": str(uuid4()), "password": PASSWORD}
    assert (await driver.call("POST", "/internal/v1/redemptions", borrowed, SERVICE)).status == 410


async def test_the_role_is_the_directorys_own_not_what_the_link_remembers(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    token = await driver.enter(member | {"role": "administrator"})
    (dossier,) = (await driver.call("GET", "/v1/me", None, token)).ok()["dossiers"]
    assert dossier["role"] == "standard_user"
    await firm.call("PATCH", path(member), {"role": "expense_approver", "own_expense_reports": True})
    (dossier,) = (await driver.call("GET", "/v1/me", None, token)).ok()["dossiers"]
    assert (dossier["role"], dossier["own_expense_reports"]) == ("expense_approver", True)


async def test_a_member_of_another_publisher_becomes_a_grant(driver: Driver) -> None:
    member = person(role="expense_approver") | {"id": str(uuid4())}
    token = await driver.enter(member, source=FOREIGN)
    me = (await driver.call("GET", "/v1/me", None, token)).ok()
    assert me["dossiers"] == []
    (grant,) = me["grants"]
    assert (grant["source"], grant["member_id"], grant["role"]) == (FOREIGN, member["id"], "expense_approver")
    assert (grant["dossier"]["name"], grant["cabinet"]["name"]) == ("Boulangerie Martin", "Cabinet Léger")
    (event,) = await driver.hears("account.redeemed")
    assert isinstance(event.data, AccountRedeemed)
    assert event.data.invitation_id == invitation_id(FOREIGN, member["id"])


async def test_a_stranger_with_a_phone_cannot_prepare_an_account_for_somebody(driver: Driver, firm: Firm) -> None:
    """Account pre-hijacking from another cabinet, both halves."""
    email = "victim@example.com"
    attackers = await driver.firm("Attackers")
    (theirs,) = (await attackers.dossier(person(email)))["members"]
    stranger = await driver.enter(theirs, "the stranger's password", channel="sms")
    state = await driver.call("GET", f"/internal/v1/accounts?email={email}", None, SERVICE)
    assert state.ok() == {"exists": True, "verified": False}
    (member,) = (await firm.dossier(person(email)))["members"]
    by_sms = await driver.redeem(member, "the stranger's password", channel="sms")
    assert (by_sms.status, by_sms.json["slug"]) == (409, "email_unverified")
    vouched = await driver.redeem(member, None)
    assert vouched.status == 422, "a signed-in stranger does not replace a password of the owner's"
    owner = await driver.enter(member, "the owner's password")
    assert (await driver.call("GET", "/v1/me", None, stranger)).status == 401, "the stranger's session has ended"
    assert (await driver.sign_in(email, "the stranger's password")).status == 401
    assert len((await driver.call("GET", "/v1/me", None, owner)).ok()["dossiers"]) == 2
    (again,) = (await attackers.dossier(person(email)))["members"]
    assert (await driver.redeem(again, "a password by sms", channel="sms")).status == 409
    assert (await driver.sign_in(email, "the owner's password")).status == 201


async def test_codes_and_tokens_are_kept_as_hashes(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    code = (await driver.redeem(member)).ok()["handoff_code"]
    account = str(await driver.database["accounts"].find_one({"_id": member["email"]}))
    assert code not in account
    assert PASSWORD not in account
    token = (await driver.call("POST", "/v1/sessions", {"code": code})).ok(201)["token"]
    sessions = [session async for session in driver.database["sessions"].find({})]
    assert len(sessions) == 1
    assert token not in str(sessions)


async def test_introspection_tells_whose_key_it_is(driver: Driver, firm: Firm) -> None:
    async def ask(key: str) -> Any:
        return (await driver.call("POST", "/internal/v1/keys/introspect", {"key": key}, SERVICE)).ok()

    assert await ask(firm.key) == {"active": True, "cabinet_id": firm.id}
    for key in (firm.key[:-1] + ("A" if firm.key[-1] != "A" else "B"), "cvk_x", "", "cvk_" + "0" * 32):
        assert (await ask(key))["active"] is False


async def test_guessing_a_password_over_a_link_is_limited_and_keeps_nobody_from_signing_in(
    driver: Driver, firm: Firm
) -> None:
    jeanne = person()
    (first,) = (await firm.dossier(jeanne))["members"]
    await driver.enter(first)
    (second,) = (await firm.dossier(jeanne))["members"]
    answers = await asyncio.gather(*(driver.redeem(second, f"guess number {n}") for n in range(25)))
    assert sorted({answer.status for answer in answers}) == [409, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["Retry-After"]) > 0
    assert [answer.status for answer in answers].count(409) == 10
    assert (await driver.sign_in(jeanne["email"])).status == 201
