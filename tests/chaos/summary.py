"""The figures of several runs as one table: `make chaos ARGS=--summary` reads what the runs left in .local/chaos/."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Result = dict[str, Any]

_COUNTS = ("lost", "stuck", "unexpected", "duplicated", "illegal_transitions")


def summary(folder: Path) -> Iterator[str]:
    """Markdown: a row per seed, then the recovery times of all of them."""
    results: list[Result] = [json.loads(path.read_text()) for path in folder.glob("seed-*.json")]
    results.sort(key=lambda result: result["seed"])
    yield from _verdicts(results)
    yield ""
    yield from _recoveries(results)


def _verdicts(results: Sequence[Result]) -> Iterator[str]:
    yield "| seed | faults | invitations | mails | events | lost | stuck | unexpected | duplicated (bound) | illegal |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for result in results:
        counts = [str(result[name]) for name in _COUNTS]
        counts[3] += f" ({result['duplicated_bound']})"
        if result["duplicated_beyond"]:
            counts[3] += f", **{result['duplicated_beyond']} beyond**"
        what = (result["seed"], len(result["faults"]), sum(result["states"].values()), result["mails"])
        figures = [f"{number:,}" for number in (*what, result["events"])]
        yield f"| {' | '.join([*figures, *counts])} |"


def _recoveries(results: Sequence[Result]) -> Iterator[str]:
    by_sort: dict[str, list[float | None]] = defaultdict(list)
    alone: list[float] = []
    for result in results:
        for sort, seconds in result["recovery_seconds"].items():
            by_sort[sort] += seconds
        alone += [fault["recovery"] for fault in result["faults"] if fault["alone"] and fault["recovery"] is not None]
    yield "| recovery after | faults | median | longest |"
    yield "| --- | --- | --- | --- |"
    everything = [seconds for those in by_sort.values() for seconds in those]
    for sort, those in [*sorted(by_sort.items()), ("any of them", everything), ("any that came alone", [*alone])]:
        known = [seconds for seconds in those if seconds is not None]
        never = len(those) - len(known)
        times = f"{median(known):.1f} s | {max(known):.1f} s" if known else "- | -"
        yield f"| {sort} | {len(those)} | {times}{f', {never} never' if never else ''} |"
