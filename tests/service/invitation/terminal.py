"""The real program `convive`: through pipes, as another program calls it, or in a terminal, as a person does."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.local.processes import plain_environment
from deploy.local.programs import REPOSITORY
from tests.running import Stack
from tests.speaking import until

PROGRAM = (sys.executable, "-m", "invitation.cli")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a call ended, and what it wrote."""

    code: int
    out: str
    err: str

    def ok(self) -> str:
        assert self.code == 0, f"{self.code}: {self.err}"
        return self.out

    def json(self) -> Any:
        """The one document it printed."""
        return json.loads(self.ok())

    def lines(self) -> list[Any]:
        """The JSON lines it printed."""
        return [json.loads(line) for line in self.ok().splitlines()]


class Operator:
    """Somebody who operates a stack with a token, the admin's of the settings if not given."""

    def __init__(self, stack: Stack, token: str | None = None, **environment: str) -> None:
        self.environment = plain_environment(
            CONVIVE_INVITATION_URL=stack.invitation.url,
            CONVIVE_DIRECTORY_URL=stack.directory.url,
            CONVIVE_OPS_TOKEN=token or stack.ops_token,
            CONVIVE_ADMIN_TOKEN=stack.admin_token,
            TERM="xterm-256color",
            PYTHONUTF8="1",
            **environment,
        )

    async def run(self, *arguments: str, stdin: str = "") -> Ran:
        """Call it without a terminal."""
        child = await asyncio.create_subprocess_exec(
            *PROGRAM, *arguments, env=self.environment, cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(_PATIENCE):
                out, err = await child.communicate(stdin.encode())
        finally:
            with suppress(ProcessLookupError):
                child.kill()
        assert "Traceback" not in err.decode(), err.decode()
        return Ran(child.returncode or 0, out.decode(), err.decode())

    @asynccontextmanager
    async def terminal(self, *arguments: str) -> AsyncGenerator[Terminal]:
        """Call it in a terminal of its own."""
        ours, theirs = pty.openpty()
        child = await asyncio.create_subprocess_exec(
            *PROGRAM, *arguments, env=self.environment, cwd=REPOSITORY, stdin=theirs, stdout=theirs, stderr=theirs,
            # So that the keys that interrupt reach it.
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(theirs)
        terminal = Terminal(ours, child)
        try:
            yield terminal
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()
            terminal.close()


def _take_terminal() -> None:
    import fcntl
    import signal
    import termios

    # Whoever runs the tests in the background ignores the key, and so would it.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """What a person sees, and types."""

    def __init__(self, master: int, child: asyncio.subprocess.Process) -> None:
        self._master = master
        self._child = child
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._over = False
        self.raw = ""
        self._loop.add_reader(master, self._read)

    @property
    def screen(self) -> str:
        """All that was shown, without colours and movements."""
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    async def shows(self, text: str) -> str:
        """Wait until it has shown this; returns the screen."""
        try:
            async with asyncio.timeout(_PATIENCE):
                while text not in self.screen:
                    self._changed.clear()
                    if self._over:
                        break
                    await self._changed.wait()
        except TimeoutError:
            pass
        if text not in self.screen:
            pytest.fail(f"the terminal never showed {text!r}:\n{self.screen}")
        return self.screen

    async def asks(self, text: str) -> None:
        """Wait until it has shown this and reads the answer: a key that interrupts just before is noticed by Python
        only with the next key (a handler runs between two instructions, and the next is the one that waits)."""
        await self.shows(text)
        await until(self._sleeps)

    async def _sleeps(self) -> bool:
        return Path(f"/proc/{self._child.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"

    def types(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def clear(self) -> None:
        """Forget what was shown."""
        self.raw = ""

    async def ends(self) -> int:
        """Wait for its end; the exit code."""
        async with asyncio.timeout(_PATIENCE):
            code = await self._child.wait()
            while not self._over:
                self._changed.clear()
                await self._changed.wait()
        assert "Traceback" not in self.screen, self.screen
        return code

    def close(self) -> None:
        if not self._over:
            self._loop.remove_reader(self._master)
        os.close(self._master)

    def _read(self) -> None:
        try:
            read = os.read(self._master, 65536)
        except OSError:  # the other end is closed: it is over
            read = b""
        if not read:
            self._over = True
            self._loop.remove_reader(self._master)
        self.raw += read.decode(errors="replace")
        self._changed.set()
