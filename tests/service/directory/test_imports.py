"""Tables of people, over HTTP: preview, start, result, and the same again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from typing import Any
from uuid import uuid4

import aio_pika

from convive_contracts import DIRECTORY_SOURCE, INVITATION_SOURCE, invitation_id, new_event
from convive_contracts.events import UserCreated
from convive_contracts.topology import INVITATION_BULK
from convive_kit.runs import LEASE
from tests.service.directory.driving import Answer, Driver, Firm, eventually, person

HEADINGS = "Prénom;Nom;Courriel;Téléphone;Rôle;Invitation"


def table(*rows: str, headings: str = HEADINGS) -> bytes:
    return "\r\n".join([headings, *rows]).encode("cp1252")


def people(count: int) -> list[str]:
    return [f"Zoé;Numéro {number};zoe{number}@example.com;;;" for number in range(count)]


async def upload(firm: Firm, content: bytes, token: str | None = None, **query: str) -> Answer:
    driver = firm.driver
    async with driver.http.post(
        f"{driver.url}/v1/imports",
        params=query,
        data=content,
        headers={"Authorization": f"Bearer {token or firm.key}", "Content-Type": "text/csv"},
    ) as response:
        return Answer(response.status, await response.json(), await response.text(), response.headers)


async def carried_out(firm: Firm, id: str, state: str = "done") -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        told = (await firm.call("GET", f"/v1/imports/{id}")).ok()
        return told if told["state"] == state else None

    return await eventually(look, within=30)


async def imported(firm: Firm, content: bytes, **query: str) -> dict[str, Any]:
    made = (await upload(firm, content, **query)).ok(201)
    (await firm.call("POST", f"/v1/imports/{made['id']}/start", {})).ok(202)
    return await carried_out(firm, made["id"])


async def members(firm: Firm, dossier_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        more = f"&cursor={cursor}" if cursor else ""
        page = (await firm.call("GET", f"/v1/dossiers/{dossier_id}/members?limit=200{more}")).ok()
        found += page["items"]
        cursor = page["next_cursor"]
    return found


def announced(firm: Firm, dossier_id: str) -> list[Any]:
    return [
        event.data
        for event in firm.driver.heard
        if event.short_type == "user.created"
        and isinstance(event.data, UserCreated)
        and event.data.dossier.id == dossier_id
    ]


async def rows(firm: Firm, id: str, query: str = "") -> list[dict[str, Any]]:
    return (await firm.call("GET", f"/v1/imports/{id}/rows?limit=200{query}")).ok()["items"]


async def test_a_preview_adds_nobody_and_tells_what_would_come_of_each_row(firm: Firm) -> None:
    dossier = await firm.dossier(person(email="there@example.com"))
    made = (
        await upload(
            firm,
            table(
                "Zoé;Bézier;zoe@example.com;06 12 34 56 78;Admin;SMS",
                "Anaïs;Noël;anais@gmial.com;;;",
                "Zoé;Bézier;ZOE@example.com;;;",
                "Other;Name;there@example.com;;;",
                ";Nobody;nobody;;chief;",
            ),
            dossier_id=dossier["id"],
            file="salariés.csv",
        )
    ).ok(201)

    assert made["state"] == "preview"
    assert (made["encoding"], made["separator"], made["file"]) == ("cp1252", ";", "salariés.csv")
    assert made["verdicts"] == {"add": 1, "check": 1, "repeated": 1, "differs": 1, "invalid": 1}
    assert (made["rows"], made["to_add"], made["unsaid"], made["phoneless"]) == (5, 2, 1, 1)
    told = await rows(firm, made["id"])
    assert [row["number"] for row in told] == [2, 3, 4, 5, 6]
    assert told[0]["fields"]["role"] == "administrator"
    assert [note["message"] for note in told[1]["hints"]] == ["gmial.com: do you mean gmail.com?"]
    assert [note["column"] for note in told[4]["faults"]] == ["role", "first_name", "email"]
    only = await rows(firm, made["id"], "&verdict=check&verdict=repeated")
    assert [row["number"] for row in only] == [3, 4]
    assert len(await members(firm, dossier["id"])) == 1


async def test_people_are_added_in_the_order_of_the_table_and_announced_on_their_own_lane(
    driver: Driver, firm: Firm
) -> None:
    dossier = await firm.dossier()
    async with await aio_pika.connect(driver.amqp_url) as connection:
        queue = await (await connection.channel()).get_queue(INVITATION_BULK)
        before = queue.declaration_result.message_count or 0
        told = await imported(firm, table(*people(450)), dossier_id=dossier["id"])
        after = await (await connection.channel()).declare_queue(INVITATION_BULK, passive=True)

    assert (told["added"], told["refused"], told["already_there"]) == (450, 0, 0)
    assert [member["last_name"] for member in await members(firm, dossier["id"])] == [
        f"Numéro {number}" for number in range(450)
    ]
    assert (after.declaration_result.message_count or 0) - before == 450
    assert {event.invite_by for event in announced(firm, dossier["id"])} == {"email"}


async def test_the_same_table_again_adds_and_invites_nobody_twice(firm: Firm) -> None:
    dossier = await firm.dossier()
    content = table(*people(20))
    first, second = [(await upload(firm, content, dossier_id=dossier["id"])).ok(201) for _ in range(2)]
    assert first["digest"] == second["digest"]
    for made in (first, second, first):
        (await firm.call("POST", f"/v1/imports/{made['id']}/start", {})).ok(202)

    told = [await carried_out(firm, made["id"]) for made in (first, second)]

    assert sum(one["added"] for one in told) == 20
    assert sum(one["already_there"] for one in told) == 20
    assert len(await members(firm, dossier["id"])) == 20

    async def heard() -> bool:
        return len(announced(firm, dossier["id"])) >= 20

    await eventually(heard)
    third = (await upload(firm, content, dossier_id=dossier["id"])).ok(201)
    assert third["verdicts"] == {"already_there": 20}
    assert len(announced(firm, dossier["id"])) == 20


async def test_who_was_removed_is_added_anew_by_a_new_upload(firm: Firm) -> None:
    dossier = await firm.dossier()
    content = table(*people(1))
    await imported(firm, content, dossier_id=dossier["id"])
    (before,) = await members(firm, dossier["id"])
    (await firm.call("DELETE", f"/v1/dossiers/{dossier['id']}/members/{before['id']}")).ok(204)

    assert (await imported(firm, content, dossier_id=dossier["id"]))["added"] == 1

    (after,) = await members(firm, dossier["id"])
    assert after["id"] != before["id"]


async def test_a_table_for_the_whole_firm_finds_its_client_files_and_opens_those_that_are_missing(firm: Firm) -> None:
    known = await firm.dossier(name="Garage Petit")
    headings = "Prénom;Nom;Courriel;Client"
    content = table(
        "Zoé;A;a@example.com;garage petit", "Zoé;B;b@example.com;Léger", "Zoé;C;c@example.com;LEGER", headings=headings
    )
    preview = (await upload(firm, content)).ok(201)
    assert preview["opens"] == 1
    assert (await firm.call("GET", "/v1/dossiers?q=leger")).ok()["items"] == []

    both = [await imported(firm, content) for _ in range(2)]

    assert [told["added"] for told in both] == [3, 0]
    (opened,) = (await firm.call("GET", "/v1/dossiers?q=leger")).ok()["items"]
    assert [m["last_name"] for m in await members(firm, opened["id"])] == ["B", "C"]
    assert [m["last_name"] for m in await members(firm, known["id"])] == ["A"]


async def test_the_result_file_tells_of_every_row_and_can_be_uploaded_again(firm: Firm) -> None:
    dossier = await firm.dossier()
    content = table("Zoé;=HYPERLINK(1);zoe@example.com;+33612345678;;", "Zoé;B;nonsense;;;")
    told = await imported(firm, content, dossier_id=dossier["id"])

    answer = await firm.call("GET", f"/v1/imports/{told['id']}/result.csv")

    assert answer.status == 200
    assert answer.headers["Content-Disposition"].startswith("attachment")
    lines = list(csv.reader(StringIO(answer.text.removeprefix("\ufeff")), delimiter=";"))
    assert lines[0] == [*HEADINGS.split(";"), "Result", "Why"]
    assert lines[1] == ["Zoé", "'=HYPERLINK(1)", "zoe@example.com", "'+33612345678", "", "", "Added", ""]
    assert lines[2][-2:] == [
        "Not added: please correct",
        "Give an e-mail address such as jeanne@example.com.",
    ]
    again = (await upload(firm, answer.text.encode(), dossier_id=dossier["id"])).ok(201)
    assert again["verdicts"] == {"already_there": 1, "invalid": 1}


async def test_rows_that_do_not_say_are_invited_as_whoever_starts_says(firm: Firm) -> None:
    dossier = await firm.dossier()
    content = table("Zoé;A;a@example.com;0612345678;;", "Zoé;B;b@example.com;;;", "Zoé;C;c@example.com;;;later")
    made = (await upload(firm, content, dossier_id=dossier["id"])).ok(201)
    (await firm.call("POST", f"/v1/imports/{made['id']}/start", {"invite_by": "sms"})).ok(202)

    told = await carried_out(firm, made["id"])

    assert (told["added"], told["refused"]) == (2, 1)
    assert {m["last_name"]: m["invite_by"] for m in await members(firm, dossier["id"])} == {"A": "sms", "C": "none"}
    (refused,) = [row for row in await rows(firm, made["id"]) if row["result"] == "refused"]
    assert [note["slug"] for note in refused["faults"]] == ["phone_needed"]


async def test_an_import_that_is_aborted_adds_nobody_more_and_cannot_be_started(firm: Firm) -> None:
    dossier = await firm.dossier()
    made = (await upload(firm, table(*people(3)), dossier_id=dossier["id"])).ok(201)

    assert (await firm.call("POST", f"/v1/imports/{made['id']}/abort")).ok(202)["state"] == "aborted"

    answer = await firm.call("POST", f"/v1/imports/{made['id']}/start", {})
    assert (answer.status, answer.json["slug"]) == (409, "import_aborted")
    assert await members(firm, dossier["id"]) == []


async def test_an_import_stops_where_it_is_when_it_is_aborted(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    made = (await upload(firm, table(*people(2000)), dossier_id=dossier["id"])).ok(201)
    (await firm.call("POST", f"/v1/imports/{made['id']}/start", {})).ok(202)

    async def begun() -> bool:
        return (await firm.call("GET", f"/v1/imports/{made['id']}")).ok()["added"] > 0

    await eventually(begun)
    (await firm.call("POST", f"/v1/imports/{made['id']}/abort")).ok(202)

    async def let_go_of() -> bool:
        kept = await driver.database["imports"].find_one({"_id": made["id"]})
        return bool(kept and "lease_until" not in kept)

    await eventually(let_go_of, within=LEASE.total_seconds())
    told = await carried_out(firm, made["id"], "aborted")
    there = await members(firm, dossier["id"])
    assert 0 < len(there) == told["added"] < 2000
    assert [row["result"] for row in await rows(firm, made["id"])] == ["added"] * 200
    assert "Not carried out" in (await firm.call("GET", f"/v1/imports/{made['id']}/result.csv")).text


async def test_what_cannot_be_read_is_refused_in_words(firm: Firm) -> None:
    dossier = await firm.dossier()

    answer = await upload(firm, b"PK\x03\x04", dossier_id=dossier["id"])
    assert (answer.status, answer.json["slug"], answer.json["reason"]) == (422, "unreadable_table", "other_file")
    assert "save the table as CSV" in answer.json["detail"]
    missing = await upload(firm, b"Name,E-mail\na,b\n", dossier_id=dossier["id"])
    assert "“prénom”" in missing.json["detail"]
    assert "Name, E-mail" in missing.json["detail"]


async def test_a_file_may_be_larger_than_other_bodies_and_not_without_end(firm: Firm) -> None:
    dossier = await firm.dossier()
    padding = "x" * 900
    large = table(*(f"{row}{padding}" for row in people(2000)), headings=f"{HEADINGS};Remark")

    assert len(large) > 1024 * 1024
    assert (await upload(firm, large, dossier_id=dossier["id"])).status == 201
    assert (await upload(firm, b"x" * (16 * 1024 * 1024 + 1), dossier_id=dossier["id"])).status == 413


def _ids(answers: Sequence[Answer]) -> list[tuple[int, Any]]:
    return [(answer.status, answer.json) for answer in answers]


async def test_imports_of_other_firms_answer_like_those_of_nobody(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    made = (await upload(firm, table(*people(1)), dossier_id=dossier["id"])).ok(201)
    other = await driver.firm("Another cabinet")

    async def asked(id: str) -> list[tuple[int, Any]]:
        path = f"/v1/imports/{id}"
        calls = (("GET", ""), ("GET", "/rows"), ("GET", "/result.csv"), ("POST", "/start"), ("POST", "/abort"))
        return _ids([await other.call(m, path + rest, {} if rest == "/start" else None) for m, rest in calls])

    assert await asked(made["id"]) == await asked(str(uuid4()))
    assert (await upload(other, table(*people(1)), dossier_id=dossier["id"])).status == 404
    assert (await other.call("GET", "/v1/imports")).ok()["items"] == []


async def test_a_dossier_administrator_imports_into_their_own_dossier_alone(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier(
        person(role="administrator", first_name="Ada", last_name="Martin"), person(role="expense_approver")
    )
    other = await firm.dossier(name="Another")
    administrator, approver = [await driver.enter(member) for member in dossier["members"]]
    content = table(*people(2))

    made = (await upload(firm, content, administrator, dossier_id=dossier["id"])).ok(201)
    assert (await upload(firm, content, administrator, dossier_id=other["id"])).status == 404
    assert (await upload(firm, content, administrator)).status == 422
    assert (await upload(firm, content, approver, dossier_id=dossier["id"])).status == 403
    assert (await driver.call("GET", f"/v1/imports/{made['id']}", token=approver)).status == 403
    whole = (await upload(firm, table("A;B;c@example.com;X", headings="Prénom;Nom;Courriel;Client"))).ok(201)
    assert (await driver.call("GET", f"/v1/imports/{whole['id']}", token=administrator)).status == 404

    (await driver.call("POST", f"/v1/imports/{made['id']}/start", {}, administrator)).ok(202)
    assert (await carried_out(firm, made["id"]))["added"] == 2

    async def heard() -> list[Any]:
        return [event for event in announced(firm, dossier["id"]) if event.invited_by]

    assert {event.invited_by for event in await eventually(heard)} == {"Ada Martin"}


async def test_erasing_a_person_blanks_their_rows(driver: Driver, firm: Firm) -> None:
    dossier = await firm.dossier()
    told = await imported(firm, table(*people(2)), dossier_id=dossier["id"])
    first, _ = await members(firm, dossier["id"])
    kept = driver.database["import_rows"]
    assert await kept.count_documents({"rows.email_key": first["email"]}) == 1

    id = invitation_id(DIRECTORY_SOURCE, first["id"])
    said = {"invitation_id": id, "member_id": first["id"], "dossier_id": dossier["id"], "cabinet_id": firm.id}
    said |= {"state": "revoked", "version": 2, "channel": "email", "link_sequence": 1, "send_sequence": 1}
    event = new_event("invitation.erased", source=INVITATION_SOURCE, subject=first["id"], data=said)
    await driver.publish("invitation.erased", event.to_structured())

    async def blanked() -> bool:
        return not await kept.count_documents({"rows.email_key": first["email"]})

    await eventually(blanked)
    one, other = await rows(firm, told["id"])
    assert one["fields"] == {}
    assert other["fields"]["email"] == "zoe1@example.com"
