from __future__ import annotations

import asyncio
from typing import Any

import pytest

from convive_contracts import DIRECTORY_SOURCE, UserCreated, invitation_id
from tests.service.directory.driving import ADMIN, Driver, Firm, person

ONE = "/v1/dossiers/{}/members/{}"


def path(member: dict[str, Any], *more: str) -> str:
    return "/".join([ONE.format(member["dossier_id"], member["id"]), *more])


async def test_members_named_with_a_new_dossier_are_invited_at_once(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier(person(), person(phone="06 12 34 56 78", invite_by="sms"), person(invite_by="none"))
    first, second, third = dossier["members"]
    assert second["phone"] == "+33612345678"
    assert first["invitation"]["id"] == invitation_id(DIRECTORY_SOURCE, first["id"])
    assert [m["invitation"] and m["invitation"]["state"] for m in dossier["members"]] == ["pending", "pending", None]
    events = await driver.hears("user.created", count=3)
    assert {event.subject for event in events} == {first["id"], second["id"], third["id"]}
    data = next(event.data for event in events if event.subject == second["id"])
    assert isinstance(data, UserCreated)
    assert (data.invite_by, data.member.phone, data.cabinet.name) == ("sms", "+33612345678", "Cabinet Léger")
    assert all(event.sequence == 1 and event.id == f"{event.subject}.1" for event in events)
    await driver.hears("dossier.updated", dossier["id"])
    await driver.hears("cabinet.updated", firm.id)
    listed = (await firm.call("GET", f"/v1/dossiers/{dossier['id']}/members")).ok()
    assert listed == {"items": dossier["members"], "next_cursor": None}


async def test_a_request_id_travels_into_the_event(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    await firm.call("POST", f"/v1/dossiers/{dossier['id']}/members", person(), X_Request_ID="asked-here")
    (event,) = await driver.hears("user.created")
    assert event.correlation_id == "asked-here"


async def test_one_of_many_racing_for_an_email_wins(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    body = person("jeanne@example.com")
    answers = await asyncio.gather(
        *(firm.call("POST", f"/v1/dossiers/{dossier['id']}/members", body) for _ in range(12))
    )
    assert sorted(answer.status for answer in answers) == [201] + [409] * 11
    assert {answer.json["slug"] for answer in answers if answer.status == 409} == {"email_taken"}
    assert len(await driver.hears("user.created")) == 1
    other = await firm.call("POST", f"/v1/dossiers/{dossier['id']}/members", person("JEANNE@Example.COM"))
    assert other.status == 409


async def test_an_idempotency_key_makes_a_repeat_harmless(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    members = f"/v1/dossiers/{dossier['id']}/members"
    body = person()
    answers = await asyncio.gather(*(firm.call("POST", members, body, Idempotency_Key="k1") for _ in range(5)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    other = await firm.call("POST", members, person(), Idempotency_Key="k1")
    assert (other.status, other.json["slug"]) == (422, "idempotency_key_reused")
    same_person = await firm.call("POST", members, body, Idempotency_Key="k2")
    assert same_person.status == 409
    assert len(await driver.hears("user.created")) == 1


async def test_a_dossier_with_members_is_created_once_per_idempotency_key(driver: Driver, firm: Firm) -> None:
    body = {"name": "Martin", "members": [person(), person()]}
    answers = await asyncio.gather(*(firm.call("POST", "/v1/dossiers", body, Idempotency_Key="k") for _ in range(4)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    again = await firm.call("POST", "/v1/dossiers", body, Idempotency_Key="k")
    assert [m["id"] for m in again.ok(201)["members"]] == [m["id"] for m in answers[0].json["members"]]
    assert len((await firm.call("GET", "/v1/dossiers")).ok()["items"]) == 1
    other = await driver.firm("Another")
    assert (await other.call("POST", "/v1/dossiers", body, Idempotency_Key="k")).ok(201)["id"] != again.json["id"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "jeanne"}, "email"),
        ({"email": "jeanne@example.com\nBcc: all@example.com"}, "email"),
        ({"email": None}, "email"),
        ({"first_name": ""}, "first_name"),
        ({"first_name": "  "}, "first_name"),
        ({"first_name": "x" * 101}, "first_name"),
        ({"last_name": "Martin\u0000"}, "last_name"),
        ({"last_name": "Mar\ntin"}, "last_name"),
        ({"invite_by": "sms"}, "phone"),
        ({"phone": "12"}, "phone"),
        ({"phone": "01 42 68 53 00", "invite_by": "sms"}, "phone"),
        ({"invite_by": "pigeon"}, "invite_by"),
        ({"role": "emperor"}, "role"),
        ({"own_expense_reports": "yes"}, "own_expense_reports"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "../../etc/passwd"}, "time_zone"),
        ({"locale": "français"}, "locale"),
        ({"employee_code": ""}, "employee_code"),
        ({"emial": "x"}, "emial"),
    ],
)
async def test_a_field_that_does_not_fit_is_named(firm: Firm, change: dict[str, Any], field: str) -> None:
    dossier = await firm.dossier()
    answer = await firm.call("POST", f"/v1/dossiers/{dossier['id']}/members", person() | change)
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert answer.json["errors"][0]["message"]
    nested = await firm.call("POST", "/v1/dossiers", {"name": "M", "members": [person(), person() | change]})
    assert [error["field"] for error in nested.json["errors"]] == [f"members.1.{field}"]


async def test_two_members_of_one_request_cannot_share_an_email(firm: Firm) -> None:
    body = {"name": "M", "members": [person("a@example.com"), person("A@example.com")]}
    answer = await firm.call("POST", "/v1/dossiers", body)
    assert [error["field"] for error in answer.json["errors"]] == ["members.1.email"]
    assert (await firm.call("GET", "/v1/dossiers")).ok()["items"] == []


@pytest.mark.parametrize("name", ["Jean 🎉", "محمد", "<b>Jean</b>", "Łukasz-Ñ", "x" * 100])
async def test_names_of_any_script_are_kept_as_they_are(firm: Firm, name: str) -> None:
    dossier = await firm.dossier(person(first_name=name))
    assert dossier["members"][0]["first_name"] == name


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"not json", 400), (b'{"a": "\\ud800"}', 400), (b"\xff\xfe", 400), (b"[]", 422), (b"x" * 1_100_000, 413)],
)
async def test_bodies_that_are_no_json_get_a_clear_answer(driver: Driver, firm: Firm, body: bytes, status: int) -> None:
    headers = {"Authorization": f"Bearer {firm.key}", "Content-Type": "application/json"}
    async with driver.http.post(f"{driver.url}/v1/dossiers", data=body, headers=headers) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"


async def test_a_new_address_before_redemption_is_announced(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    changed = (await firm.call("PATCH", path(member), {"email": "new@example.com"})).ok()
    assert (changed["email"], changed["invitation"]["state"]) == ("new@example.com", "pending")
    (event,) = await driver.hears("user.updated", member["id"])
    assert isinstance(event.data, UserCreated)
    assert event.data.member.email == "new@example.com"
    assert event.sequence == 2
    assert (await firm.call("PATCH", path(member), {"email": "new@example.com"})).ok() == changed
    assert len(await driver.hears("user.updated", member["id"])) == 1, "nothing changed, nothing is told"


async def test_an_address_can_be_corrected_to_none_that_is_taken(firm: Firm) -> None:
    first, second = (await firm.dossier(person(), person()))["members"]
    answer = await firm.call("PATCH", path(second), {"email": first["email"]})
    assert (answer.status, answer.json["slug"]) == (409, "email_taken")


async def test_null_clears_what_may_be_empty_and_nothing_else(firm: Firm) -> None:
    (member,) = (await firm.dossier(person(phone="0612345678", employee_code="E7")))["members"]
    changed = (await firm.call("PATCH", path(member), {"phone": None, "employee_code": None})).ok()
    assert (changed["phone"], changed["employee_code"]) == (None, None)
    assert (await firm.call("PATCH", path(member), {"first_name": None})).status == 422
    assert (await firm.call("PATCH", path(member), {})).ok() == changed


async def test_after_redemption_the_email_stays_and_the_phone_may_change(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    await driver.redeem(member)
    answer = await firm.call("PATCH", path(member), {"email": "new@example.com"})
    assert (answer.status, answer.json["slug"]) == (409, "email_is_login")
    assert (await firm.call("PATCH", path(member), {"phone": "0612345678"})).ok()["phone"] == "+33612345678"


async def test_inviting_later_and_again(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person(invite_by="none")))["members"]
    by_sms = await firm.call("POST", path(member, "invitation"), {"invite_by": "sms"})
    assert [error["field"] for error in by_sms.json["errors"]] == ["invite_by"]
    invited = (await firm.call("POST", path(member, "invitation"), {"invite_by": "email"})).ok(202)
    assert invited["invitation"]["state"] == "pending"
    (event,) = await driver.hears("invitation.resend_requested", member["id"])
    assert event.data.model_dump() == {
        "invitation_id": invitation_id(DIRECTORY_SOURCE, member["id"]),
        "channel": "email",
        "reason": None,
        "requested_by": f"cabinet:{firm.id}",
    }
    assert (await firm.call("POST", path(member, "invitation"), {"invite_by": "none"})).status == 422
    await driver.enter(member)
    refused = await firm.call("POST", path(member, "invitation"), {"invite_by": "email"})
    assert (refused.status, refused.json["state"]) == (409, "active")


async def test_nobody_is_invited_by_sms_at_a_landline(firm: Firm) -> None:
    what_to_do = "This number cannot receive SMS: give a mobile number, such as 06 12 34 56 78, or invite by e-mail."
    by_mail, by_sms = (
        await firm.dossier(person(phone="01 42 68 53 00"), person(phone="06 12 34 56 78", invite_by="sms"))
    )["members"]
    refused = await firm.call("POST", path(by_mail, "invitation"), {"invite_by": "sms"})
    assert refused.json["errors"] == [{"field": "invite_by", "message": what_to_do}]
    refused = await firm.call("PATCH", path(by_sms), {"phone": "01 42 68 53 00"})
    assert refused.json["errors"] == [{"field": "phone", "message": what_to_do}]
    assert (await firm.call("PATCH", path(by_mail), {"phone": "08 00 12 34 56"})).status == 200


async def test_removal_ends_access_and_frees_the_email(driver: Driver, firm: Firm) -> None:
    (member,) = (await firm.dossier(person()))["members"]
    token = await driver.enter(member)
    assert (await firm.call("DELETE", path(member))).status == 204
    assert (await firm.call("DELETE", path(member))).status == 404
    assert (await firm.call("GET", path(member))).status == 404
    await driver.hears("user.removed", member["id"])
    assert (await driver.call("GET", "/v1/me", None, token)).ok()["dossiers"] == []
    assert (await driver.redeem(member)).status == 410
    again = (await firm.call("POST", f"/v1/dossiers/{member['dossier_id']}/members", person(member["email"]))).ok(201)
    assert again["id"] != member["id"]
    assert not again["has_signed_in"], "not since accepting this membership"


async def test_archiving_removes_members_and_closes_the_dossier(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier(person(), person())
    one = f"/v1/dossiers/{dossier['id']}"
    token = await driver.enter(dossier["members"][0])
    assert (await firm.call("DELETE", one)).status == 204
    assert (await firm.call("DELETE", one)).status == 204
    assert len(await driver.hears("user.removed", count=2)) == 2
    assert (await firm.call("GET", one)).ok()["archived_at"]
    assert (await firm.call("GET", "/v1/dossiers")).ok()["items"] == []
    assert (await firm.call("GET", f"{one}/members")).ok()["items"] == []
    assert (await firm.call("PATCH", one, {"name": "Other"})).status == 409
    assert (await firm.call("POST", f"{one}/members", person())).status == 409
    assert (await driver.redeem(dossier["members"][1])).status == 410
    assert (await driver.call("GET", "/v1/me", None, token)).ok()["dossiers"] == []


async def test_dossiers_are_searched_without_accents_and_listed_page_by_page(firm: Firm) -> None:
    for name in ("Élan", "elan vital", "Boucherie", "ÉLAN"):
        await firm.dossier(name=name)
    found: list[str] = []
    cursor = ""
    while True:
        page = (await firm.call("GET", f"/v1/dossiers?q=%C3%89lAn&limit=1{cursor}")).ok()
        found += [item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(found) == ["elan vital", "Élan", "ÉLAN"] or sorted(found) == sorted(["Élan", "ÉLAN", "elan vital"])
    assert len((await firm.call("GET", "/v1/dossiers")).ok()["items"]) == 4
    for nonsense in ("limit=0", "limit=201", "limit=x", "cursor=nonsense", "unknown=1"):
        assert (await firm.call("GET", f"/v1/dossiers?{nonsense}")).status == 422


async def test_renaming_a_dossier_is_announced(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    renamed = (await firm.call("PATCH", f"/v1/dossiers/{dossier['id']}", {"name": "Pâtisserie"})).ok()
    assert renamed["name"] == "Pâtisserie"
    events = await driver.hears("dossier.updated", dossier["id"], count=2)
    assert [event.sequence for event in events] == [1, 2]
    assert (await firm.call("PATCH", f"/v1/dossiers/{dossier['id']}", {"external_ref": "42"})).ok()[
        "name"
    ] == "Pâtisserie"


async def test_keys_are_shown_once_and_end_when_revoked(driver: Driver, firm: Firm) -> None:
    keys = f"/v1/cabinets/{firm.id}/keys"
    second = (await driver.call("POST", keys, None, ADMIN)).ok(201)
    stored = str(await driver.database["cabinets"].find_one({"_id": firm.id}))
    assert firm.key.split("_", 3)[3] not in stored
    assert second["api_key"].rsplit("_", 1)[1] not in stored
    assert (await driver.call("DELETE", f"{keys}/{second['id']}", None, ADMIN)).status == 204
    assert (await driver.call("GET", "/v1/dossiers", None, second["api_key"])).status == 401
    assert (await firm.call("GET", "/v1/dossiers")).status == 200
    assert (await driver.call("DELETE", keys, None, ADMIN)).status == 204
    assert (await firm.call("GET", "/v1/dossiers")).status == 401
    assert (await driver.call("DELETE", f"{keys}/nonsense", None, ADMIN)).status == 404
