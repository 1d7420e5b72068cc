"""What a case of the benchmarks is: a module with these four names, registered in `CASES` of `__main__`."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

from tests.bench.stage import Stage


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of all cases."""

    events: int
    repeat: int
    waiting: int
    stored: Sequence[int]
    grown: Sequence[int]
    rows: int
    handled: int
    due: int


class Case(Protocol):
    """`METHOD` is a template. It may name `{events:,}`,
    `{waiting:,}`, `{handled:,}`, `{due:,}`, `{rows:,}`, `{repeat}`, `{sink}`."""

    @property
    def TITLE(self) -> str: ...

    @property
    def METHOD(self) -> str: ...

    def run(self, stage: Stage, options: Options) -> Awaitable[Sequence[Any]]:
        """Measure; the results are dataclasses, kept in docs/benchmarks.json."""
        ...

    def chapter(self, results: Any) -> list[str]:
        """The results as lines of Markdown, ratios and bars first."""
        ...


def verdict(reached: bool) -> str:
    """The last column of a row that has a bar."""
    return "met" if reached else "**missed**"


def told_faults(faults: Iterable[str]) -> list[str]:
    """What was not as it must be, below the table; no line when all was."""
    found = list(faults)
    return ["", "**Not as it must be:**", "", *(f"- {fault}" for fault in found)] if found else []


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest, highest."""
    return median(values), min(values), max(values)
