"""Starts the real services as children that are watched: imports everything once, then forks for each start.

A line of JSON on stdin names the service, its environment, its log and the socket to take orders from; the answer on
stdout is the child's process id. So a start takes a tenth of a second and hundreds of crashes fit into a test run.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
from datetime import timedelta
from typing import Any

import uvloop

import directory.__main__ as directory_main
import invitation.__main__ as invitation_main
from convive_kit import runs
from convive_kit.outbox import Relay
from directory.membership import Membership
from invitation.due import DueLoop
from invitation.intake.waiting import WaitingRoom
from invitation.pages.render import PageRenderer
from invitation.store import mongo
from tests.crash import watching
from tests.crash.sources import source

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def _hasten() -> None:
    """What is left behind by a crash is taken up after a while; here a while is short."""
    for function, times in (
        (Relay.__init__, {"older_than": 1.0, "every": 0.3}),
        (DueLoop.__init__, {"every": 0.2}),
        (Membership.__init__, {"patience": timedelta(seconds=1)}),
        (Membership.run, {"every": 0.3}),
        (WaitingRoom.run, {"every": 0.3}),
    ):
        defaults: dict[str, Any] = function.__kwdefaults__ or {}
        assert defaults.keys() >= times.keys(), f"{function.__qualname__} has no {sorted(times)} any more"
        function.__kwdefaults__ = defaults | times
    runs.LEASE = timedelta(seconds=1.5)
    mongo.NAMES_LAST = 0.0  # or it would be a matter of luck whether a page waits for them


def _read_sources() -> None:
    """Read here, once, what every child needs: to name the places where it waits, and its pages."""
    for name, module in tuple(sys.modules.items()):
        if name.partition(".")[0] in watching.OURS and module.__file__ is not None:
            source(module.__file__)
    for environment in PageRenderer().environments.values():
        for name in environment.list_templates():
            environment.get_template(name)


def _live(order: dict[str, Any]) -> None:
    """The child: from here on it is the service that was asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    os.environ.clear()
    os.environ.update(order["env"])
    control = socket.socket(socket.AF_UNIX)
    control.connect(order["control"])
    watch = watching.begin(control)
    new_event_loop = uvloop.new_event_loop

    def watched_loop() -> uvloop.Loop:
        loop = new_event_loop()
        loop.set_task_factory(watch.factory)
        return loop

    uvloop.new_event_loop = watched_loop
    sys.argv = [order["service"]]
    {"directory": directory_main, "invitation": invitation_main}[order["service"]].main()


def main() -> None:
    """Fork for every line until stdin ends."""
    _hasten()
    _read_sources()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)
            try:
                _live(order)
            finally:
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
