"""Who may do what: every call of the API, by everybody."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.service.directory.driving import ADMIN, SERVICE, Driver, Firm, names, new_email, person
from tests.service.directory.test_imports import people as rows_of
from tests.service.directory.test_imports import table, upload

DOSSIERS, MEMBERS = "/v1/dossiers", "/v1/dossiers/{id}/members"
MEMBER = f"{MEMBERS}/{{member_id}}"
IMPORTS = "/v1/imports"

STAFF = "/v1/cabinets/{id}/staff"
FIRM, OTHER_FIRM = {"cabinet", "staff"}, {"other cabinet", "other staff"}
PEOPLE = {
    "administrator", "the member", "approver", "other administrator", "staff", "other staff", "unverified staff",
    "removed staff",
}  # fmt: skip

# Who gets past the guards and finds something. Everybody else gets 401, 403 or 404.
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("POST", "/v1/cabinets"): {"admin"},
    ("POST", "/v1/cabinets/{id}/keys"): {"admin"},
    ("DELETE", "/v1/cabinets/{id}/keys"): {"admin"},
    ("DELETE", "/v1/cabinets/{id}/keys/{key}"): {"admin"},
    ("POST", "/v1/announcements"): {"admin"},
    ("POST", STAFF): FIRM | {"admin"},
    ("GET", STAFF): FIRM | {"admin"},
    ("DELETE", f"{STAFF}/{{account_id}}"): FIRM | {"admin"},
    ("GET", "/v1/cabinets/{id}"): FIRM | {"admin"},
    ("PATCH", "/v1/cabinets/{id}"): FIRM | {"admin"},
    ("POST", "/v1/capability-checks"): {"service", "cabinet", "other cabinet"},
    ("POST", DOSSIERS): FIRM | OTHER_FIRM,
    ("GET", DOSSIERS): FIRM | OTHER_FIRM,
    ("GET", f"{DOSSIERS}/{{id}}"): FIRM,
    ("PATCH", f"{DOSSIERS}/{{id}}"): FIRM,
    ("DELETE", f"{DOSSIERS}/{{id}}"): FIRM,
    ("POST", MEMBERS): FIRM | {"administrator"},
    ("GET", MEMBERS): FIRM | {"administrator"},
    ("GET", MEMBER): FIRM | {"administrator"},
    ("PATCH", MEMBER): FIRM | {"administrator"},
    ("DELETE", MEMBER): FIRM | {"administrator"},
    ("POST", f"{MEMBER}/invitation"): FIRM | {"administrator"},
    ("GET", f"{MEMBER}/permissions"): FIRM | {"administrator", "the member"},
    ("GET", "/v1/sessions"): PEOPLE,
    ("DELETE", "/v1/sessions/{id}"): set(),  # it takes the id of one's own
    ("DELETE", "/v1/sessions"): PEOPLE,
    # Asked about an import into that dossier.
    ("POST", IMPORTS): FIRM | {"administrator"},
    ("GET", IMPORTS): FIRM | {"administrator"},
    ("GET", f"{IMPORTS}/{{id}}"): FIRM | {"administrator"},
    ("GET", f"{IMPORTS}/{{id}}/rows"): FIRM | {"administrator"},
    ("GET", f"{IMPORTS}/{{id}}/result.csv"): FIRM | {"administrator"},
    ("POST", f"{IMPORTS}/{{id}}/start"): FIRM | {"administrator"},
    ("POST", f"{IMPORTS}/{{id}}/abort"): FIRM | {"administrator"},
    ("DELETE", "/v1/sessions/current"): PEOPLE,
    ("GET", "/v1/me"): PEOPLE,
    ("POST", "/internal/v1/redemptions"): {"service"},
    ("POST", "/internal/v1/keys/introspect"): {"service"},
    ("GET", "/internal/v1/accounts"): {"service"},
    ("POST", "/internal/v1/accounts"): {"service"},
    ("PATCH", "/internal/v1/members/{member_id}/address"): {"service"},
    ("POST", "/internal/v1/personal-data"): {"service"},
    ("GET", "/internal/v1/parked"): {"service"},
    ("GET", "/internal/v1/parked/{id}"): {"service"},
    ("POST", "/internal/v1/parked/{id}/replay"): {"service"},
    ("PUT", "/internal/v1/parked/{id}"): {"service"},
    ("DELETE", "/internal/v1/parked/{id}"): {"service"},
}
OPEN = {
    ("POST", "/v1/sessions"),
    ("POST", "/v1/password-resets"),
    ("POST", "/v1/password-resets/{token}"),
    ("GET", "/v1/roles"),
    ("GET", "/livez"),
    ("GET", "/readyz"),
}
# Done last, so that whoever comes after is still signed in.
LAST = {("DELETE", "/v1/sessions/current"), ("DELETE", "/v1/sessions")}


async def test_nobody_can_do_more_than_their_role_on_any_route(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier(
        person(), person(role="administrator"), person(role="expense_approver"), person(invite_by="none")
    )
    member, administrator, approver, target = dossier["members"]
    imported = (await upload(firm, table(*rows_of(1)), dossier_id=dossier["id"])).ok(201)
    other = await driver.firm("Another cabinet")
    (stranger,) = (await other.dossier(person(role="administrator")))["members"]
    callers = {
        "nobody": None,
        "nonsense": "nonsense",
        "half a key": firm.key[:-1],
        "admin": ADMIN,
        "service": SERVICE,
        "cabinet": firm.key,
        "other cabinet": other.key,
        "the member": await driver.enter(member),
        "administrator": await driver.enter(administrator),
        "approver": await driver.enter(approver),
        "other administrator": await driver.enter(stranger),
        "staff": await driver.staff(firm),
        "other staff": await driver.staff(other),
        "unverified staff": await unverified_staff(firm),
        "removed staff": await removed_staff(firm),
    }
    colleague = (await firm.call("POST", STAFF.format(id=firm.id), names(new_email()))).ok(201)
    people = {name: (await driver.call("GET", "/v1/me", None, callers[name])).ok()["email"] for name in PEOPLE}
    routes = (await driver.call("GET", "/openapi.json")).ok()["paths"]
    listed = {(method.upper(), path) for path, operations in routes.items() for method in operations}
    assert listed == set(ALLOWED) | OPEN, "a route nobody has thought about"

    # Reading first, deleting last, and the member before the dossier.
    order = sorted(ALLOWED, key=lambda route: (route in LAST, route[0] == "DELETE", route[0] != "GET", -len(route[1])))
    for method, template in order:
        asked = member if template.endswith("/permissions") else target
        # Those who may come last: then everybody else was refused while there still was something.
        gone = False
        if (method, template) in LAST:
            callers |= {name: (await driver.sign_in(email)).ok(201)["token"] for name, email in people.items()}
        for name in sorted(callers, key=lambda caller: caller in ALLOWED[method, template]):
            of_firm = template.startswith("/v1/cabinets/{id}") and "keys" not in template
            id = firm.id if of_firm else str(uuid4()) if "cabinets" in template else dossier["id"]
            id = imported["id"] if IMPORTS in template else id
            path = template.format(id=id, member_id=asked["id"], account_id=colleague["account_id"], key="0")
            if template == IMPORTS:
                path = f"{path}?dossier_id={dossier['id']}"
            answer = await driver.call(method, path, {} if method in ("POST", "PATCH") else None, callers[name])
            about = f"{name}: {method} {path} answered {answer.status}"
            if name not in ALLOWED[method, template]:
                assert answer.status in (401, 403, 404), about
                assert answer.status != 403 or name not in ("nobody", "nonsense", "half a key"), about
            elif ("cabinets/" in template and not of_firm) or "parked/" in template:
                missing = 422 if method == "PUT" else 404
                assert answer.status == missing, f"{about}: allowed, and there is no such thing"
            elif not gone:
                assert answer.status in (200, 201, 202, 204, 422), about
                gone = method == "DELETE" and "{id}" in template


async def unverified_staff(firm: Firm) -> str:
    """Somebody who got in by SMS with an address that may not be theirs, and whose owner a firm then takes on."""
    (member,) = (await firm.dossier(person()))["members"]
    token = await firm.driver.enter(member, channel="sms")
    (await firm.call("POST", STAFF.format(id=firm.id), names(member["email"]))).ok(201)
    return token


async def removed_staff(firm: Firm) -> str:
    """Somebody who was a colleague, and still is in a file of another firm's."""
    (member,) = (await (await firm.driver.firm("A third cabinet")).dossier(person()))["members"]
    token = await firm.driver.enter(member)
    place = (await firm.call("POST", STAFF.format(id=firm.id), names(member["email"]))).ok(201)
    assert (await firm.driver.call("GET", DOSSIERS, None, token)).status == 200
    await firm.call("DELETE", f"{STAFF.format(id=firm.id)}/{place['account_id']}")
    return token


async def test_ids_of_other_tenants_answer_like_ids_of_nobody(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier(person())
    (member,) = dossier["members"]
    other = await driver.firm("Another cabinet")
    own = await other.dossier(person())

    async def asked(dossier_id: str, member_id: str) -> list[Any]:
        answers: list[Any] = []
        for method, path in (
            ("GET", f"{DOSSIERS}/{dossier_id}"),
            ("PATCH", f"{DOSSIERS}/{dossier_id}"),
            ("DELETE", f"{DOSSIERS}/{dossier_id}"),
            ("GET", f"{DOSSIERS}/{dossier_id}/members"),
            ("GET", f"{DOSSIERS}/{dossier_id}/members/{member_id}"),
            ("DELETE", f"{DOSSIERS}/{dossier_id}/members/{member_id}"),
            ("GET", f"{DOSSIERS}/{dossier_id}/members/{member_id}/permissions"),
        ):
            answer = await other.call(method, path, {} if method == "PATCH" else None)
            answers.append((answer.status, answer.json))
        return answers

    assert await asked(dossier["id"], member["id"]) == await asked(str(uuid4()), str(uuid4()))
    assert {status for status, _ in await asked("nonsense", "nonsense")} == {404}
    # A member of theirs in a dossier of ours.
    answer = await other.call("GET", f"{DOSSIERS}/{own['id']}/members/{member['id']}")
    assert answer.status == 404


async def test_an_administrator_acts_in_their_own_dossier_until_they_are_none(driver: Driver, firm: Firm) -> None:
    (administrator,) = (await firm.dossier(person(role="administrator")))["members"]
    members = f"{DOSSIERS}/{administrator['dossier_id']}/members"
    not_yet = await driver.sign_in(administrator["email"])
    assert not_yet.status == 401
    token = await driver.enter(administrator)
    added = (await driver.call("POST", members, person(), token)).ok(201)
    (event,) = await driver.hears("user.created", added["id"])
    assert event.data.model_dump()["invited_by"] == "Jeanne Martin"
    await driver.call("POST", f"{members}/{added['id']}/invitation", {"invite_by": "email"}, token)
    (request,) = await driver.hears("invitation.resend_requested")
    assert request.data.model_dump()["requested_by"] == f"member:{administrator['id']}"
    await firm.call("PATCH", f"{members}/{administrator['id']}", {"role": "standard_user"})
    assert (await driver.call("GET", members, None, token)).status == 403
    await firm.call("DELETE", f"{members}/{administrator['id']}")
    assert (await driver.call("GET", members, None, token)).status == 404
