"""`make up` as a whole: everything comes up, says so in one file, and ends together."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.local.processes import plain_environment
from deploy.local.programs import REPOSITORY

_UP = "import asyncio, pathlib, sys; from deploy.local.stack import run; sys.exit(asyncio.run(run(pathlib.Path({!r}))))"

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.slow]


@pytest.fixture
def up(tmp_path: Path) -> Generator[subprocess.Popen[bytes]]:
    """The whole stack in a process of its own, under `tmp_path`."""
    command = [sys.executable, "-c", _UP.format(str(tmp_path))]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, env=plain_environment(), stdout=said, stderr=said)
    yield process
    process.kill()
    process.wait()


def eventually(what: Callable[[], Any], within: float = 60) -> Any:
    deadline = time.monotonic() + within
    while not (value := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return value


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


async def test_everything_comes_up_and_ends_on_ctrl_c(up: subprocess.Popen[bytes], tmp_path: Path) -> None:
    description = tmp_path / "stack.json"
    assert eventually(lambda: description.exists() or up.poll() is not None)
    assert up.poll() is None, (tmp_path / "said").read_text()
    stack = json.loads(description.read_text())
    assert set(stack) == {
        *("amqp_url", "mongo_url", "directory_url", "invitation_url", "inbox_url", "smtp_port"),
        *("admin_token", "ops_token", "cabinet", "staff"),
    }
    assert set(stack["cabinet"]) == {"id", "api_key"}
    assert set(stack["staff"]) == {"email", "password"}
    assert description.stat().st_mode & 0o077 == 0
    # The third is invited by text message, which may come first, or not until the morning.
    by_mail, by_text = {"jeanne.martin@example.com", "oliver.bennett@example.com"}, "+33612345678"
    async with aiohttp.ClientSession() as http, asyncio.timeout(20):
        invited: set[str] = set()
        while not by_mail <= invited:
            async with http.get(f"{stack['inbox_url']}/api/messages") as response:
                invited = {message["to"] for message in await response.json()}
    assert invited <= {*by_mail, by_text}

    children = children_of(up.pid)
    up.send_signal(signal.SIGINT)
    assert up.wait(timeout=30) == 0
    assert gone(children)
    assert not description.exists()


def test_a_part_that_ends_takes_the_rest_with_it(up: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert eventually((tmp_path / "stack.json").exists)
    children = children_of(up.pid)
    [inbox] = [pid for pid in children if b"deploy.local.inbox" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    subprocess.run(["kill", "-KILL", str(inbox)], check=True)
    assert up.wait(timeout=30) == 1
    assert gone(children)
    assert "The inbox ended with code -9" in (tmp_path / "said").read_text()


def test_nothing_outlives_a_stack_that_is_killed(up: subprocess.Popen[bytes], tmp_path: Path) -> None:
    assert eventually((tmp_path / "stack.json").exists)
    children = children_of(up.pid)
    assert len(children) == 6
    up.kill()
    assert eventually(lambda: gone(children), within=10)
