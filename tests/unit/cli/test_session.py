"""Where the addresses and the tokens come from."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from invitation.cli.doctor import address_check, verdict
from invitation.cli.failures import ExitCode, Failed
from invitation.cli.output import Output
from invitation.cli.session import Given, Session


def session(**given: object) -> Session:
    return Session(Given(**given), Output(), asyncio.Runner())  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INVITATION_URL", "DIRECTORY_URL", "OPS_TOKEN", "ADMIN_TOKEN"):
        monkeypatch.setenv(f"CONVIVE_{name}", f"http://of-the-environment/{name.lower()}/")


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    file = tmp_path / "stack.json"
    file.write_text(json.dumps({"invitation_url": "http://of-the-stack", "ops_token": "of the stack"}))
    return file


def test_the_environment_is_read_where_nothing_else_is_said() -> None:
    assert session().ops.url == "http://of-the-environment/invitation_url"
    assert session().token("directory") == "http://of-the-environment/admin_token/"


def test_the_file_of_a_stack_takes_the_place_of_the_whole_environment(stack_file: Path) -> None:
    here = session(stack=stack_file)
    assert (here.ops.url, here.token("invitation")) == ("http://of-the-stack", "of the stack")
    # Not the directory of one place with the invitation service of another.
    with pytest.raises(Failed, match="CONVIVE_DIRECTORY_URL"):
        _ = here.admin


def test_a_token_file_and_an_address_win(stack_file: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("of-a-file\n")
    here = session(stack=stack_file, token_file=str(tmp_path / "token"), invitation_url="https://elsewhere/")
    assert (here.ops.url, here.token("invitation")) == ("https://elsewhere", "of-a-file")


@pytest.mark.parametrize("text", ["", "\n", "two words", "un jeton très long"])
def test_a_file_without_a_token_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(Failed, match="holds no token") as refused:
        session(token_file=str(tmp_path / "token")).token("invitation")
    assert refused.value.code == ExitCode.USAGE


@pytest.mark.parametrize("text", ["no json", "[1]"])
def test_what_is_no_stack_is_refused(text: str, stack_file: Path) -> None:
    stack_file.write_text(text)
    with pytest.raises(Failed, match="is no stack"):
        _ = session(stack=stack_file).ops


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://ops.convive.invalid", "ok"),
        ("http://127.0.0.1:8082", "ok"),
        ("http://localhost:8082", "ok"),
        ("http://ops.convive.invalid", "advice"),
    ],
)
def test_a_token_that_travels_unprotected_is_remarked(url: str, found: str) -> None:
    api = session(invitation_url=url).ops
    assert verdict(address_check("invitation", "CONVIVE_INVITATION_URL", api)) == found
