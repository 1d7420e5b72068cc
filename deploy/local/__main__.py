"""`python -m deploy.local up|down|programs`: what `make up`, `make down` and `make test` call."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from deploy.local import programs
from deploy.local.stack import run
from deploy.local.trouble import CannotStart

FOLDER = programs.REPOSITORY / ".local"
_STACK = FOLDER / "stack.json"
# Held by the running stack for as long as it lives, with its pid inside. A file alone would outlive a crash.
_RUNNING = FOLDER / "running"
_SAID = FOLDER / "up.log"


def up() -> int:
    """Run in the foreground."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with _RUNNING.open("a+") as mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _already_running()
        mark.truncate(0)
        mark.write(str(os.getpid()))
        mark.flush()
        return asyncio.run(run(FOLDER))


def up_detached() -> int:
    """Start in the background; return when everything is ready, or with the reason why not."""
    if _running_pid() is not None:
        return _already_running()
    _SAID.parent.mkdir(parents=True, exist_ok=True)
    _STACK.unlink(missing_ok=True)
    with _SAID.open("w") as said:
        child = subprocess.Popen(
            [sys.executable, "-m", "deploy.local", "up"],
            cwd=programs.REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while child.poll() is None and not _STACK.exists():
            time.sleep(0.05)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        return 130
    if child.poll() is None:
        _until(lambda: "ready" in _SAID.read_text(), within=5)
    print(_SAID.read_text().rstrip())
    if child.poll() is not None:
        return child.returncode or 1
    print("\n  It runs in the background; `make down` stops it.")
    return 0


def down() -> int:
    """Stop what runs, and wait until it is gone."""
    pid = _running_pid()
    if pid is None:
        print("Nothing is running.")
        return 0
    os.kill(pid, signal.SIGTERM)
    if not _until(lambda: _running_pid() is None, within=60):
        print(f"It does not end; its process is {pid}.")
        return 1
    print("Stopped.")
    return 0


def install_programs() -> int:
    """Make sure that the tests have a broker, a database, a browser and promtool, before their time limits run."""
    wanted: list[Callable[[], object]] = [programs.chromium, programs.promtool]
    if not os.environ.get("CONVIVE_AMQP_URL"):
        wanted.append(programs.rabbitmq)
    if not os.environ.get("CONVIVE_MONGO_URL"):
        wanted.append(programs.mongod)
    for find_or_install in wanted:
        try:
            find_or_install()
        except CannotStart as trouble:
            print(f"{trouble} The tests that need it will fail.")
    return 0


def _already_running() -> int:
    print("Convive is running already; its addresses are in .local/stack.json once it is ready. `make down` stops it.")
    return 0


def _running_pid() -> int | None:
    """The process that runs the stack, if one does."""
    try:
        with _RUNNING.open() as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                written = mark.read().strip()
                return int(written) if written else None
            return None
    except FileNotFoundError:
        return None


def _until(condition: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="deploy.local", description="Runs all of Convive on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("--detach", action="store_true")
    commands.add_parser("down")
    commands.add_parser("programs")
    chosen = parser.parse_args()
    os.chdir(programs.REPOSITORY)
    match chosen.command:
        case "up":
            return up_detached() if chosen.detach else up()
        case "down":
            return down()
        case _:
            return install_programs()


if __name__ == "__main__":
    sys.exit(main())
