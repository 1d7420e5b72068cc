from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from argon2 import PasswordHasher

from tests.service.directory.driving import PASSWORD, Driver, Firm, person


@pytest.fixture
async def jeanne(driver: Driver, firm: Firm) -> dict[str, Any]:
    """A member with an account."""
    (member,) = (await firm.dossier(person()))["members"]
    await driver.enter(member)
    return member


async def test_signing_in_and_out(driver: Driver, jeanne: dict[str, Any]) -> None:
    session = (await driver.sign_in(jeanne["email"].upper().replace("EXAMPLE.COM", "Example.com"))).ok(201)
    assert session.keys() == {"token", "expires_at"}
    expiry = datetime.fromisoformat(session["expires_at"])
    assert timedelta(days=13) < expiry - datetime.now(UTC) < timedelta(days=15)
    assert (await driver.call("GET", "/v1/me", None, session["token"])).status == 200
    assert (await driver.call("DELETE", "/v1/sessions/current", None, session["token"])).status == 204
    assert (await driver.call("GET", "/v1/me", None, session["token"])).status == 401


async def test_unknown_and_wrong_are_alike_in_text_and_time(driver: Driver, jeanne: dict[str, Any]) -> None:
    async def took(email: str, number: int) -> tuple[float, str]:
        started = time.perf_counter()
        answer = await driver.sign_in(email, "not the password")
        assert answer.status == 401
        assert answer.json["slug"] == "wrong_credentials"
        return time.perf_counter() - started, answer.text

    # In turn, and the quickest of each: what else the machine does only ever adds time.
    known: list[tuple[float, str]] = []
    unknown: list[tuple[float, str]] = []
    for number in range(9):
        known.append(await took(jeanne["email"], number))
        unknown.append(await took(f"nobody{number}@example.com", number))
    nonsense = await took("no address at all", 0)
    assert {text for _, text in [*known, *unknown, nonsense]} == {known[0][1]}
    assert 0.5 < min(t for t, _ in known) / min(t for t, _ in unknown) < 2


async def test_too_many_wrong_passwords_wait_and_others_do_not(
    driver: Driver, firm: Firm, jeanne: dict[str, Any]
) -> None:
    answers = await asyncio.gather(*(driver.sign_in(jeanne["email"], f"guess {number}") for number in range(15)))
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 5
    assert all(0 < int(answer.headers["Retry-After"]) <= 900 for answer in refused)
    assert (await driver.sign_in(jeanne["email"])).status == 429, "the right password from there waits too"
    unknown = await asyncio.gather(*(driver.sign_in("nobody@example.com", f"guess {n}") for n in range(15)))
    assert sorted({answer.status for answer in unknown}) == [401, 429], "an unknown e-mail is counted alike"
    (other,) = (await firm.dossier(person()))["members"]
    await driver.enter(other)
    assert (await driver.sign_in(other["email"])).status == 201


async def test_other_requests_are_answered_while_passwords_are_hashed(driver: Driver, firm: Firm) -> None:
    # That hashing leaves the loop alone is tested in tests/unit/directory/test_passwords.py.
    work = [asyncio.create_task(driver.sign_in(f"n{number}@example.com", "guess")) for number in range(20)]
    while not all(task.done() for task in work):
        assert (await firm.call("GET", "/v1/dossiers")).status == 200
    assert {(await task).status for task in work} == {401}


async def test_a_hash_of_older_parameters_is_renewed_at_the_next_sign_in(
    driver: Driver, jeanne: dict[str, Any]
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    accounts = driver.database["accounts"]
    await accounts.update_one({"_id": jeanne["email"]}, {"$set": {"password_hash": weak}})
    assert (await driver.sign_in(jeanne["email"])).status == 201
    account = await accounts.find_one({"_id": jeanne["email"]})
    assert account
    assert account["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await driver.sign_in(jeanne["email"])).status == 201


async def test_many_sign_ins_of_one_person_at_once_all_succeed(driver: Driver, jeanne: dict[str, Any]) -> None:
    answers = await asyncio.gather(*(driver.sign_in(jeanne["email"]) for _ in range(8)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.json["token"] for answer in answers}) == 8


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"email": "a@example.com"},
        {"email": "a@example.com", "password": "x", "code": "y"},
        {"code": 1},
        {"email": "a@example.com", "password": "x" * 5000},
    ],
)
async def test_half_a_sign_in_is_422(driver: Driver, body: dict[str, Any]) -> None:
    assert (await driver.call("POST", "/v1/sessions", body)).status == 422


async def test_a_session_of_an_older_credential_has_ended(driver: Driver, jeanne: dict[str, Any]) -> None:
    token = (await driver.sign_in(jeanne["email"])).ok(201)["token"]
    await driver.database["accounts"].update_one({"_id": jeanne["email"]}, {"$inc": {"credential_version": 1}})
    assert (await driver.call("GET", "/v1/me", None, token)).status == 401


async def test_a_person_sees_where_they_are_signed_in_and_ends_one(driver: Driver, jeanne: dict[str, Any]) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    body = {"email": jeanne["email"], "password": PASSWORD}
    other = (await driver.call("POST", "/v1/sessions", body, User_Agent=firefox)).ok(201)["token"]
    mine = (await driver.sign_in(jeanne["email"])).ok(201)["token"]
    listed = (await driver.call("GET", "/v1/sessions", None, mine)).ok()["items"]
    assert [(one["browser"], one["current"]) for one in listed[:2]] == [("", True), ("Firefox, Linux", False)]
    kept = str(await driver.database["sessions"].find({}).to_list())
    assert "Mozilla" not in kept
    path = f"/v1/sessions/{listed[1]['id']}"
    stranger = driver.http  # nobody's
    async with stranger.delete(driver.url + path) as refused:
        assert refused.status == 401
    assert (await driver.call("DELETE", path, None, mine)).status == 204
    assert (await driver.call("DELETE", path, None, mine)).status == 404
    assert (await driver.call("GET", "/v1/me", None, other)).status == 401
    assert (await driver.call("GET", "/v1/me", None, mine)).status == 200


async def test_nobody_ends_another_persons_session(driver: Driver, firm: Firm, jeanne: dict[str, Any]) -> None:
    mine = (await driver.sign_in(jeanne["email"])).ok(201)["token"]
    (id, *_) = [one["id"] for one in (await driver.call("GET", "/v1/sessions", None, mine)).ok()["items"]]
    (other,) = (await firm.dossier(person()))["members"]
    theirs = await driver.enter(other)
    assert (await driver.call("DELETE", f"/v1/sessions/{id}", None, theirs)).status == 404
    assert (await driver.call("GET", "/v1/me", None, mine)).status == 200


async def test_signing_out_everywhere_ends_sessions_and_codes(
    driver: Driver, firm: Firm, jeanne: dict[str, Any]
) -> None:
    tokens = [(await driver.sign_in(jeanne["email"])).ok(201)["token"] for _ in range(2)]
    (second,) = (await firm.dossier({**person(), "email": jeanne["email"]}))["members"]
    code = (await driver.redeem(second)).ok()["handoff_code"]
    assert (await driver.call("DELETE", "/v1/sessions", None, tokens[0])).status == 204
    for token in tokens:
        assert (await driver.call("GET", "/v1/me", None, token)).status == 401
    assert (await driver.call("POST", "/v1/sessions", {"code": code})).status == 401
    assert (await driver.sign_in(jeanne["email"])).status == 201


async def test_when_a_session_was_last_seen_is_noted_once_an_hour(driver: Driver, jeanne: dict[str, Any]) -> None:
    token = (await driver.sign_in(jeanne["email"])).ok(201)["token"]
    sessions, which = driver.database["sessions"], {"account": jeanne["email"]}
    long_ago = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    await sessions.update_many(which, {"$set": {"seen_at": long_ago}})
    await driver.call("GET", "/v1/me", None, token)
    seen = (await driver.call("GET", "/v1/sessions", None, token)).ok()["items"][0]["last_seen_at"]
    assert datetime.fromisoformat(seen) > long_ago + timedelta(hours=1)
    await driver.call("GET", "/v1/me", None, token)
    assert (await driver.call("GET", "/v1/sessions", None, token)).ok()["items"][0]["last_seen_at"] == seen


async def test_only_json_signs_in_over_the_api(driver: Driver, jeanne: dict[str, Any]) -> None:
    """A form of another site can post to any address, but not as JSON."""
    form = {"email": jeanne["email"], "password": PASSWORD}
    async with driver.http.post(f"{driver.url}/v1/sessions", data=form) as answer:
        assert answer.status == 415
