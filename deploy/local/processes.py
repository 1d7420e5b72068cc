"""A child process that never outlives its parent, however the parent ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from deploy.local.trouble import CannotStart


class Child(Protocol):
    """A child as `subprocess.Popen` is one."""

    pid: int

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int) -> None: ...


class Process:
    """One program with its log file.

    It leads a process group of its own, so a Ctrl-C in the terminal reaches only the parent, which then stops its
    children in order. When the parent is killed outright, the kernel kills the child. It can be started again after
    it has ended. The methods do not depend on an event loop that lives on: each may run in another `asyncio.run`.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._env = dict(env)
        self._cwd = cwd
        self._child: Child | None = None

    @property
    def pid(self) -> int:
        """Of the running child, or of the one that ran last."""
        if self._child is None:
            raise CannotStart(f"{self.name} was not started.")
        return self._child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll() if self._child else None

    def start(self) -> None:
        """Start it. Only in the main thread: the kernel ties the child to the life of the thread that made it."""
        if threading.current_thread() is not threading.main_thread():
            raise CannotStart(f"{self.name} must be started from the main thread.")
        if self.alive:
            return
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._child = self._begin()

    def _begin(self) -> Child:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self._command],
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def stop(self, grace: float = 10) -> None:
        """Ask it to end, and end it when it has not after `grace` seconds."""
        self.resume()
        self._signal(signal.SIGTERM)
        await self._gone(grace)
        self.kill()

    def kill(self) -> None:
        """End it and everything in its group, now."""
        self._signal(signal.SIGKILL)
        if self._child is not None:
            self._child.wait(timeout=10)

    def pause(self) -> None:
        """Freeze it: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def last_lines(self, count: int = 15) -> str:
        """The end of its log, to be shown with a failure."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])
        except FileNotFoundError:
            return ""

    async def until(self, ready: Callable[[], Awaitable[bool]], *, within: float) -> None:
        """Wait until `ready()`; raises CannotStart with the end of the log when it dies first or takes too long."""
        deadline = time.monotonic() + within
        while True:
            if not self.alive:
                raise CannotStart(f"{self.name} ended with code {self.exit_code}. Its last words:\n{self.last_lines()}")
            if await ready():
                return
            if time.monotonic() > deadline:
                raise CannotStart(
                    f"{self.name} was not ready within {within:.0f} seconds. Its last words:\n{self.last_lines()}"
                )
            await asyncio.sleep(0.05)

    async def _gone(self, within: float) -> None:
        deadline = time.monotonic() + within
        while self.alive and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    def _signal(self, number: signal.Signals) -> None:
        # The child is ours until it has been waited for, so its number cannot belong to anyone else meanwhile.
        if self._child is not None and self._child.poll() is None:
            try:
                os.killpg(self._child.pid, number)
            except ProcessLookupError:
                # Between fork and setsid there is no group yet.
                self._child.send_signal(number)


def plain_environment(**extra: str) -> dict[str, str]:
    """What a child gets of our environment: enough to run, nothing that would set it up by surprise."""
    kept = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SSL_CERT_FILE")
    return {name: os.environ[name] for name in kept if name in os.environ} | extra
