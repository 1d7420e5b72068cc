"""The commands are what the API offers, each explains itself, and what decides decides rightly."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from typer.core import TyperGroup
from typer.main import get_command

from convive_kit.http import ListQuery
from invitation.cli.failures import ExitCode
from invitation.cli.options import AUDITED, INVITATIONS, RECORDED, Criterion
from invitation.cli.output import printable, value_of
from invitation.cli.program import app
from invitation.cli.reference import page
from invitation.cli.runs import would_be_done
from invitation.cli.watching import Sight, WaitFor
from invitation.lifecycle.states import State
from invitation.ops.auditing import AuditQuery
from invitation.ops.filters import ReplayFilter
from invitation.ops.selection import Criteria


def commands(context: typer.Context) -> Iterator[typer.Context]:
    group = context.command
    if not isinstance(group, TyperGroup):
        yield context
        return
    for name in group.list_commands(context):
        below = group.get_command(context, name)
        assert below is not None
        yield from commands(typer.Context(below, info_name=name, parent=context))


ALL = {one.command_path: one for one in commands(typer.Context(get_command(app), info_name="convive"))}


@pytest.mark.parametrize("path", ALL)
def test_every_command_shows_an_example_that_it_takes(path: str) -> None:
    command = ALL[path].command
    assert command.help is not None
    _, _, example = command.help.partition("Example: ")
    assert example.startswith(f"{path}"), "an example with the command itself"
    words = shlex.split(example.partition(" >")[0])
    # Raises for an option that is not there, a value that does not fit, an argument too many.
    command.make_context(path, words[len(path.split()) :])


@pytest.mark.parametrize("path", ALL)
def test_no_command_takes_a_token_as_a_value(path: str) -> None:
    assert [option for one in ALL[path].command.params for option in one.opts if option in ("--token", "--key")] == []


@pytest.mark.parametrize(
    ("options", "model"), [(INVITATIONS, Criteria), (RECORDED, ReplayFilter), (AUDITED, AuditQuery)]
)
def test_the_filters_are_those_of_the_api(options: dict[str, Criterion], model: type[BaseModel]) -> None:
    fields = {name: field for name, field in model.model_fields.items() if name not in ListQuery.model_fields}
    assert set(options) == set(fields)
    for name, criterion in options.items():
        assert criterion.many == ("list" in str(fields[name].annotation)), name


def test_where_one_may_wait_are_the_states() -> None:
    assert {one.value for one in WaitFor} == {state.value for state in State} - {"pending"}


@pytest.mark.parametrize(
    ("until", "state", "there"),
    [
        (None, "pending", None),
        (None, "opened", None),
        (None, "active", True),
        (None, "failed", True),
        (WaitFor.SENT, "pending", None),
        (WaitFor.SENT, "sent", True),
        (WaitFor.SENT, "password_set", True),
        (WaitFor.SENT, "failed", False),
        (WaitFor.ACTIVE, "sent", None),
        (WaitFor.ACTIVE, "revoked", False),
        (WaitFor.FAILED, "failed", True),
        (WaitFor.FAILED, "active", False),
        (WaitFor.EXPIRED, "opened", None),
    ],
)
def test_a_watch_ends_where_it_should(until: WaitFor | None, state: str, there: bool | None) -> None:
    assert Sight(until).there(state) is there


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Éloïse 陳", "Éloïse 陳"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("two\nlines\r", "two\nlines\\x0d"),
        ("abc\u202edcba", "abc\\x202edcba"),
        (None, ""),
        (3, "3"),
    ],
)
def test_a_terminal_obeys_no_message(text: Any, shown: str) -> None:
    assert printable(text) == shown


def test_a_column_may_lie_deep_or_be_missing() -> None:
    item = {"member": {"email": "a@example.com"}, "skipped": {"revoked": 2, "active": 1}, "cabinet": None}
    assert value_of(item, "member.email") == "a@example.com"
    assert value_of(item, "skipped") == "revoked 2, active 1"
    assert value_of(item, "cabinet.name") is None


def test_a_preview_of_a_replay_counts_what_matched() -> None:
    assert would_be_done({"action": "resend", "matched": 9, "done": 4}) == 4
    assert would_be_done({"mode": "replay", "matched": 9, "done": 0}) == 9


def test_the_page_tells_every_command_and_exit_code() -> None:
    told = page("$ convive stats")
    for path in ALL:
        assert f"### {path}\n" in told
    for code in ExitCode:
        assert f"| {code.value} | {code.meaning} |" in told
