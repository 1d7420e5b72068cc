"""What it prints: data for programs, tables for people, nothing that a terminal would obey; and docs/cli.md is true."""

from __future__ import annotations

import csv
import os
import re
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest

from convive_contracts.events import invitation_id
from deploy.docs import FOLDER
from deploy.local.programs import REPOSITORY
from tests.running import Stack
from tests.service.invitation.terminal import Operator
from tests.service.invitation.test_bulk import some_members
from tests.speaking import cloud_event, until, user_data
from tests.stacks import OwnStack

pytestmark = [pytest.mark.broker, pytest.mark.database]

ESCAPE = "\x1b["


async def test_lists_go_on_over_pages_and_are_lines_of_json(stack: Stack) -> None:
    cabinet, _, members = await some_members(stack, 3)
    operator = Operator(stack)
    of_cabinet = ("invitation", "list", "--cabinet-id", cabinet.id)
    everybody = (await operator.run(*of_cabinet, "--all", "--json")).lines()
    assert [item["id"] for item in everybody] == [member.invitation_id for member in reversed(members)]
    assert (await operator.run(*of_cabinet, "--limit", "2", "--json")).lines() == everybody[:2]
    assert (await operator.run(*of_cabinet, "--sort", "created_at", "--json")).lines() == everybody[::-1]
    detail = (await operator.run("invitation", "show", everybody[0]["id"], "--json")).json()
    assert {**everybody[0], "history": detail["history"]} == detail
    assert (await operator.run(*of_cabinet, "--state", "active", "--state", "failed", "--json")).lines() == []
    tokens = (await operator.run("ops", "token", "list", "--all", "--json")).lines()
    assert len({token["id"] for token in tokens}) == len(tokens)


async def test_a_table_is_plain_in_a_pipe_and_coloured_in_a_terminal_that_may(stack: Stack) -> None:
    cabinet, _, (member, *_) = await some_members(stack, 2)
    (await stack.operate(member, "revoke")).ok(202)
    of_cabinet = ("invitation", "list", "--cabinet-id", cabinet.id)
    plain = await Operator(stack).run(*of_cabinet)
    assert (len(plain.out.splitlines()), plain.err) == (3, "")
    assert plain.out.startswith("id ")
    assert ESCAPE not in plain.out
    async with Operator(stack).terminal("doctor") as terminal:
        assert await terminal.ends() == 0
        assert f"{ESCAPE}32mok" in terminal.raw
    async with Operator(stack, NO_COLOR="1").terminal(*of_cabinet) as terminal:
        assert await terminal.ends() == 0
        assert re.search(r"\x1b\[[0-9;]*3[0-9]m", terminal.raw) is None
        assert member.invitation_id in terminal.screen


async def test_a_message_of_anybodys_moves_no_cursor(own_stack: OwnStack) -> None:
    stack = await own_stack()
    async with stack.wire() as wire:
        await wire.send(b"\x1b]0;mine\x07\x1b[2J[red]not json", "user.created", headers={"x\x1b[2J": "y\x1b[2J"})
    (parked,) = await until(stack.parked)
    operator = Operator(stack)
    for shown in (
        (await operator.run("parked", "show", parked["id"])).ok(),
        (await operator.run("parked", "list")).ok(),
    ):
        assert "\x1b" not in shown
    assert "\\x1b[2J[red]not json" in (await operator.run("parked", "show", parked["id"])).ok()
    assert "\x1b]0;mine" in (await operator.run("parked", "show", parked["id"], "--json")).json()["body"]


async def test_an_export_is_a_file_that_is_whole_or_not_there(stack: Stack, tmp_path: Path) -> None:
    cabinet, _, members = await some_members(stack, 3)
    operator = Operator(stack)
    of_cabinet = ("export", "--cabinet-id", cabinet.id)
    table = (await operator.run(*of_cabinet)).ok()
    ids = [row["id"] for row in csv.DictReader(StringIO(table))]
    assert set(ids) == {member.invitation_id for member in members}
    assert [row["id"] for row in (await operator.run(*of_cabinet, "--json")).lines()] == ids
    file = tmp_path / "them.csv"
    written = await operator.run(*of_cabinet, "--output", str(file))
    assert (written.ok(), file.read_bytes().decode()) == ("", table)
    refused = await operator.run("export", "--state", "lost", "--output", str(tmp_path / "none.csv"))
    assert (refused.code, list(tmp_path.iterdir())) == (1, [file])
    nowhere = await operator.run(*of_cabinet, "--output", str(tmp_path / "no" / "such" / "folder.csv"))
    assert (nowhere.code, "cannot be written" in nowhere.err) == (2, True)


async def test_it_completes_and_says_its_version(stack: Stack) -> None:
    operator = Operator(stack)
    assert re.fullmatch(r"convive [0-9.]+\n", (await operator.run("--version")).ok())
    for shell in ("bash", "zsh", "fish"):
        assert "_CONVIVE_COMPLETE" in (await operator.run("completion", shell)).ok()
    operator.environment |= {
        "_CONVIVE_COMPLETE": "complete_bash", "COMP_WORDS": "convive invitation re", "COMP_CWORD": "2",
    }  # fmt: skip
    assert (await operator.run()).out.split() == ["resend", "revoke"]


# --- docs/cli.md --------------------------------------------------------------------------------------------------

SESSION = FOLDER / "cli-session.txt"
RECORD = "CONVIVE_RECORD_CLI_SESSION"
"""Set it to write the session anew, then run `make docs`."""
_VARIES = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z")


async def test_the_session_in_the_documentation_is_what_a_terminal_shows(own_stack: OwnStack) -> None:
    """Ids and times apart. An operator looks, corrects, watches, replays."""
    stack = await own_stack()
    cabinet = await stack.new_cabinet("Cabinet Léger")
    dossier = await stack.new_dossier(cabinet, "Boulangerie Martin")
    await stack.misbehave("refuse_permanently", match="exmaple")
    names = {"first_name": "Jeanne", "last_name": "Martin"}
    member = await stack.add_member(cabinet, dossier, "jeanne@exmaple.com", **names)
    await stack.until_state(member, "failed")
    stray = str(uuid4())
    oliver = user_data(stray, "oliver@example.com", first_name="Oliver", last_name="Bennett")
    async with stack.wire() as wire:
        await wire.send(cloud_event("user.created", stray, oliver, source="/payroll"), "usr.created")
    (group,) = await until(stack.parked)
    operator = Operator(stack)
    lines: list[str] = []

    async def types(line: str, *arguments: str) -> None:
        ran = await operator.run(*arguments)
        assert ran.code == 0, ran
        shown = [f"$ convive {line}", *ran.out.splitlines(), *ran.err.splitlines()]
        lines.extend(one.rstrip() for one in (*shown, ""))

    await types("invitation list --state failed", "invitation", "list", "--state", "failed")
    id, email = member.invitation_id, "jeanne@example.com"
    correct = ("invitation", "correct", id, "--email", email, "--reason", "typed wrong")
    await types(f'invitation correct {id} --email {email} --reason "typed wrong"', *correct)
    await types(f"invitation watch {id} --until sent", "invitation", "watch", id, "--until", "sent")
    await types("parked list --group-by fingerprint", "parked", "list", "--group-by", "fingerprint")
    which = ("--from", "parked", "--fingerprint", group["fingerprint"])
    replay = ("replay", "start", *which, "--reason", "mistyped key", "--yes")
    await types(f'replay start {" ".join(which)} --reason "mistyped key" --yes', *replay)
    await stack.until_state(invitation_id("/payroll", stray), "sent")
    await types("stats", "stats")
    session = "\n".join(lines).strip() + "\n"
    if os.environ.get(RECORD):
        SESSION.write_text(session)
    assert _VARIES.sub("…", session) == _VARIES.sub("…", SESSION.read_text()), f"set {RECORD}=1, then run `make docs`"
    assert SESSION.read_text().strip() in (REPOSITORY / "docs" / "cli.md").read_text()
