"""What was measured, as text: printed, and kept in docs/benchmarks.json and docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.case import Case

_PACKAGES = ("aio-pika", "aiosmtplib", "celery", "faststream", "motor", "pydantic", "pymongo", "uvloop")
_FOUND = Path(__file__).with_name("found.md")
"""What profiling has found; the last chapters of the page."""


def page(kept: dict[str, Any], cases: Mapping[str, Case]) -> str:
    """docs/benchmarks.md."""
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench` (`make bench CASE=sent` runs one case). Ratios count, and they come from one run in",
        "which the contenders take turns; the absolute figures are those of one small machine that broker, database,",
        "mail sink and service share.",
    ]
    for name, case in cases.items():
        if name not in kept:
            continue
        chapter = kept[name]
        lines += ["", f"## {case.TITLE}", "", *chapter["text"], "", case.METHOD.format(**chapter["settings"])]
        lines += ["", f"`{chapter['command']}`, {chapter['date']}, on {chapter['machine']}."]
    return "\n".join([*lines, "", _FOUND.read_text().rstrip("\n")]) + "\n"


def keep(folder: Path, chapters: dict[str, Any], cases: Mapping[str, Case]) -> None:
    """Put the chapters into both files; those of cases that were not run stay as they were."""
    data = folder / "benchmarks.json"
    kept: dict[str, Any] = json.loads(data.read_text()) if data.exists() else {}
    kept |= chapters
    data.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    (folder / "benchmarks.md").write_text(page(kept, cases))


def machine(engines: dict[str, str], *, in_memory: bool) -> str:
    """What it ran on, in one sentence."""
    model = next(
        (line.partition(": ")[2] for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    memory_gb = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")) / 1e6
    kinds = {"Python": platform.python_version(), **engines, **{name: version(name) for name in _PACKAGES}}
    versions = ", ".join(f"{name} {number}" for name, number in kinds.items())
    kernel = platform.release().partition("-")[0]
    return (
        f"{os.cpu_count()} cores ({model}), {memory_gb:.0f} GB, Linux {kernel}; files of broker and"
        f" database {'in memory' if in_memory else 'on disk'}; load average of the 5 minutes before"
        f" {os.getloadavg()[1]:.1f}; {versions}"
    )


def _lines(file: str) -> list[str]:
    return Path(file).read_text().splitlines()
