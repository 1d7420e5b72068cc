"""Services that are forked from a process which has imported them already: a start costs a tenth, and hundreds fit
into a run. `make up`, the chaos runs and the benchmarks start the programs themselves.
"""

from __future__ import annotations

import ctypes
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.local.processes import Child, Process
from deploy.local.services import Service

_PROGRAMS = ("directory", "invitation", "deploy.local.inbox")
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([f"{program}.__main__" for program in _PROGRAMS])


def _live(arguments: Sequence[str], env: Mapping[str, str], log: Path) -> None:
    """The child: from here on it is the program that was asked for."""
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    os.setsid()
    told = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(told, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = [*arguments]
    importlib.import_module(f"{arguments[0]}.__main__").main()


class _Forked:
    """What `Child` promises, of a child of the fork server."""

    def __init__(self, arguments: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        # A daemon, or a run that is cut off would wait at its end for what it left running.
        self._process = _FORKS.Process(target=_live, args=(arguments, env, log), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError
        return code

    def send_signal(self, sig: int) -> None:
        os.kill(self.pid, sig)


class ForkedProcess(Process):
    """A `Process` whose command is a program of ours and its arguments."""

    def _begin(self) -> Child:
        return _Forked(self._command, self._env, self.log)


class ForkedService(Service):
    def _new(self, name: str, arguments: list[str], env: dict[str, str], log: Path) -> Process:
        return ForkedProcess(name, arguments, log=log, env=env)
