"""How the program ends says what happened, and its line says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.local.addresses import free_port
from tests.running import Stack
from tests.service.invitation.terminal import Operator
from tests.speaking import Cabinet
from tests.stacks import OwnStack

pytestmark = [pytest.mark.broker, pytest.mark.database]

NOBODY = str(uuid4())
DEEDS: tuple[tuple[str, ...], ...] = (
    ("invitation", "resend", NOBODY),
    ("invitation", "revoke", NOBODY, "--yes"),
    ("invitation", "extend", NOBODY, "--until", "2030-01-31T00:00:00Z"),
    ("invitation", "correct", NOBODY, "--email", "a@example.com"),
    ("parked", "replay", NOBODY),
    ("parked", "discard", NOBODY, "--yes"),
    ("parked", "edit", NOBODY, "--file", "-"),
    ("replay", "start", "--from", "parked", "--id", NOBODY, "--reason", "x", "--dry-run"),
    ("replay", "abort", NOBODY),
    ("bulk", "resend", "--member-id", NOBODY, "--reason", "x", "--dry-run"),
    ("bulk", "pause", NOBODY),
    ("bulk", "abort", NOBODY),
    ("ops", "token", "create", "somebody", "--role", "admin"),
    ("ops", "token", "list"),
    ("ops", "token", "revoke", NOBODY, "--yes"),
    ("event", "publish", "-"),
)


async def test_a_weaker_token_can_look_and_do_nothing(stack: Stack) -> None:
    token = await stack.new_ops_token("reader")
    reader = Operator(stack, token["token"])
    for deed in DEEDS:
        ran = await reader.run(*deed, stdin="{}")
        assert (ran.code, ran.out) == (4, ""), f"{deed}: {ran}"
        assert ran.err.startswith("Not allowed: "), ran.err
    assert (await reader.run("stats")).code == 0


async def test_a_wrong_token_or_a_firms_key_is_told_so(stack: Stack, tmp_path: Path) -> None:
    wrong = await Operator(stack, "wrong-token").run("invitation", "list")
    assert (wrong.code, wrong.out) == (4, "")
    assert wrong.err == "The invitation service does not know this token: check CONVIVE_OPS_TOKEN.\n"
    file = tmp_path / "token"
    file.write_text(f"{stack.ops_token}\n")
    operator = Operator(stack, "wrong-token")
    assert (await operator.run("--token-file", str(file), "stats", "--json")).code == 0
    assert (await operator.run("--token-file", "-", "stats", "--json", stdin=f"{stack.ops_token}\n")).code == 0
    cabinet: Cabinet = await stack.new_cabinet()
    firm = await Operator(stack, cabinet.key).run("stats")
    assert (firm.code, "role reader" in firm.err) == (4, True)


async def test_what_is_not_there_is_3_and_what_is_refused_is_1(stack: Stack) -> None:
    operator = Operator(stack)
    for what in (("invitation", "show"), ("parked", "show"), ("bulk", "show"), ("replay", "show"), ("replay", "abort")):
        gone = await operator.run(*what, NOBODY)
        assert (gone.code, gone.out) == (3, ""), what
        assert gone.err.startswith("Not found: There is no such ")
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")
    (await stack.operate(member, "revoke")).ok(202)
    again = await operator.run("invitation", "resend", member.invitation_id)
    assert again.code == 1
    assert again.err.startswith("Refused (409): This cannot be done to an invitation that is revoked.")
    field = await operator.run("invitation", "list", "--state", "lost")
    assert (field.code, field.err.startswith("Refused: state.0: ")) == (1, True)
    email = await operator.run("invitation", "correct", member.invitation_id, "--email", "no address")
    assert (email.code, email.err.startswith("Refused: email: ")) == (1, True)
    source = json.dumps({"specversion": "1.0", "id": "1", "source": "/convive/directory", "data": {}, "subject": "x"})
    event = await operator.run("event", "publish", "-", stdin=source)
    assert (event.code, event.err.startswith("Refused: type: ")) == (1, True)
    ended = await operator.run("invitation", "watch", member.invitation_id, "--until", "active")
    assert (ended.code, "It has ended as revoked" in ended.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("invitation", "list", "--sate", "sent"), "No such option"),
        (("invitation", "show"), "Missing argument"),
        (("invitation", "correct", NOBODY), "Give --email, --phone, or both"),
        (("invitation", "extend", NOBODY, "--until", "tomorrow"), "RFC 3339"),
        (("invitation", "revoke", NOBODY), "--yes"),
        (("parked", "discard", NOBODY), "--yes"),
        (("ops", "token", "revoke", NOBODY), "--yes"),
        (("bulk", "revoke", "--state", "sent", "--reason", "x"), "--yes"),
        (("bulk", "revoke", "--state", "sent"), "reason"),
        (("bulk", "revoke", "--reason", "x", "--yes"), "at least one filter"),
        (("replay", "start", "--from", "log", "--reason", "x"), "at least one filter"),
        (("replay", "start", "--from", "log", "--type", "user.created", "--reason", "x"), "--yes"),
        (("event", "publish", "/nowhere/at/all.json"), "cannot be read"),
        (("--stack", "/nowhere/stack.json", "stats"), "Does it run?"),
        (("--token-file", "/dev/null", "stats"), "holds no token"),
        (("--invitation-url", "ftp://x", "stats"), "is no address"),
    ],
)
async def test_wrong_usage_is_2_and_asks_nothing_of_any_service(arguments: tuple[str, ...], said: str) -> None:
    operator = Operator.__new__(Operator)
    operator.environment = {
        "PATH": "/usr/bin:/bin",
        # Nothing listens there: whatever is asked of a service ends with 5.
        "CONVIVE_INVITATION_URL": f"http://127.0.0.1:{free_port()}",
        "CONVIVE_OPS_TOKEN": "a-token-of-some-kind",
    }
    ran = await operator.run(*arguments)
    assert (ran.code, ran.out, said in " ".join(ran.err.split())) == (2, "", True), ran


async def test_a_service_that_is_away_is_5_and_a_deed_says_what_cannot_be_known(own_stack: OwnStack) -> None:
    stack = await own_stack()
    cabinet = await stack.new_cabinet()
    member = await stack.add_member(cabinet, await stack.new_dossier(cabinet))
    await stack.until_state(member, "sent")
    operator = Operator(stack)
    waiting = await operator.run("invitation", "watch", member.invitation_id, "--timeout", "0.5", "--interval", "0.1")
    assert (waiting.code, "It is still sent after 0.5 s." in waiting.err) == (5, True)

    await stack.directory_service.stop()
    fix = await operator.run("invitation", "correct", member.invitation_id, "--email", "b@example.com")
    assert (fix.code, "It may have been done all the same" in fix.err) == (5, True)
    sick = await operator.run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(sick.out)["checks"]}
    assert (sick.code, checks["directory service"]["ok"], checks["directory"]["ok"]) == (1, False, False)

    await stack.invitation_service.stop()
    away = await operator.run("invitation", "list")
    assert (away.code, away.err.endswith("Connection refused.\n")) == (5, True)
    sick = await operator.run("doctor")
    assert (sick.code, "Start it, or correct the address." in sick.out) == (1, True)


async def test_the_doctor_is_content_with_a_healthy_stack(stack: Stack) -> None:
    found = (await Operator(stack).run("doctor", "--json")).json()
    names = [check["name"] for check in found["checks"]]
    assert found["ok"] is True
    assert {"directory service", "invitation service", "invitation token", "broker", "indexes", "mail server"} <= set(
        names
    )
    bare = Operator(stack)
    del bare.environment["CONVIVE_OPS_TOKEN"], bare.environment["CONVIVE_DIRECTORY_URL"]
    lost = await bare.run("doctor")
    assert lost.code == 1
    assert "Set CONVIVE_OPS_TOKEN." in lost.out
    assert "Set CONVIVE_DIRECTORY_URL." in lost.out
