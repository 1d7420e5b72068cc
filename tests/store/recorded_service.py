"""A service with a listener on its database commands, started as it always is otherwise: `python -m
tests.store.recorded_service directory|invitation`. Each command goes, as BSON, to the end of a file."""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module
from pathlib import Path

import bson
from pymongo import monitoring

FILE_VARIABLE = "RECORDED_COMMANDS"
_OF_THE_CONNECTION = frozenset(("lsid", "txnNumber", "$clusterTime", "$readPreference"))


class Recorder(monitoring.CommandListener):
    """Writes down every command that is sent; heartbeats of the driver are none."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab", buffering=0)
        self._one_at_a_time = threading.Lock()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        command = {name: value for name, value in event.command.items() if name not in _OF_THE_CONNECTION}
        with self._one_at_a_time:
            self._file.write(bson.encode(command))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Written down when it started."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Written down when it started."""


if __name__ == "__main__":
    # Before the product is imported: clients take the listeners that are there when they are made.
    monitoring.register(Recorder(Path(os.environ[FILE_VARIABLE])))
    import_module(f"{sys.argv.pop(1)}.__main__").main()
