"""Counts the commands that a process sends to its database, where another process can read them at any time."""

from __future__ import annotations

import mmap
import struct
import threading
from pathlib import Path

from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

COMMANDS = ("insert", "update", "find", "getMore", "delete", "findAndModify", "hello", "createIndexes", "other")
FILE_VARIABLE = "BENCH_COUNTS"
_SIZE = 8 * len(COMMANDS)


class CommandCounts(CommandListener):
    """A listener whose counts live in a file in memory; heartbeats of the driver are no commands and not counted."""

    def __init__(self, file: Path) -> None:
        """Continue the counts of `file`; begin with zeros when there is none."""
        if not file.exists():
            file.write_bytes(bytes(_SIZE))
        with file.open("r+b") as handle:
            self._counts = mmap.mmap(handle.fileno(), _SIZE)
        self._one_at_a_time = threading.Lock()

    def read(self) -> dict[str, int]:
        """The counts so far, by command."""
        return dict(zip(COMMANDS, struct.unpack(f"{len(COMMANDS)}Q", self._counts[:]), strict=True))

    def started(self, event: CommandStartedEvent) -> None:
        place = COMMANDS.index(event.command_name if event.command_name in COMMANDS else "other") * 8
        with self._one_at_a_time:
            (count,) = struct.unpack_from("Q", self._counts, place)
            struct.pack_into("Q", self._counts, place, count + 1)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Counted when it started."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Counted when it started."""
