"""What the kernel knows of a process."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)


def cpu_seconds(pid: int) -> float:
    """User and system time so far of all threads of a process and of all processes it has started, and so on; those
    that have ended included."""
    # proc(5), fields 14 and 15; 16 and 17 are those of children that have ended.
    return sum(sum(int(ticks) for ticks in _fields(one)[11:15]) for one in tree(pid)) / _TICKS


def memory(pid: int) -> tuple[float, float]:
    """Resident memory now and at its highest, in MB."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return _megabytes(lines["VmRSS"]), _megabytes(lines["VmHWM"])


def memory_of_all(pid: int) -> float:
    """Of one process its highest; where it has started others, what all have now, in MB, with what they share counted
    once (the kernel keeps no highest of that)."""
    everyone = tree(pid)
    return memory(pid)[1] if len(everyone) == 1 else sum(_proportional(one) for one in everyone)


def tree(pid: int) -> list[int]:
    """A process, those it has started that run, those that they have started, and so on."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(*_GONE):
            children[int(_fields(int(folder.name))[1])].append(int(folder.name))
    found = [pid]
    for one in found:
        found += children[one]
    return found


def _fields(pid: int) -> list[str]:
    """From the third of proc(5) on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _proportional(pid: int) -> float:
    with suppress(*_GONE):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return _megabytes(line.partition(":")[2])
    return 0.0


def _megabytes(text: str) -> float:
    return int(text.split()[0]) * 1024 / 1e6
