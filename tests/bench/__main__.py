"""`python -m tests.bench [case …]`, or `make bench CASE=sent`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from deploy.local.programs import REPOSITORY
from deploy.local.trouble import CannotStart
from tests.bench import fairness, memory, operations, report, round_trips, sent, sink, startup
from tests.bench.stage import Stage


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench", description="Measures Convive and what it is compared with.")
    named = os.environ.get("CASE", "").replace(",", " ").split()
    parser.add_argument("case", nargs="*", help=f"which to run: {', '.join(report.TITLES)} (default: all)")
    parser.add_argument("--events", type=int, default=4000, help="events per run of `sent` and `round_trips`")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of `sent` and `operations` (starts: at least 5)")
    parser.add_argument("--waiting", type=int, default=100_000, help="events that wait in `memory`")
    parser.add_argument(
        "--stored", type=int, nargs="+", default=[10_000, 1_000_000], help="how many `operations` stores"
    )
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the import of `fairness`")
    parser.add_argument("--within", type=float, default=90, help="seconds after which `memory` stops looking")
    parser.add_argument("--on-disk", action="store_true", help="keep broker and database files on disk, not in memory")
    parser.add_argument("--no-docs", action="store_true", help="print only; leave docs/benchmarks.* alone")
    options = parser.parse_args()
    options.case = options.case or named or list(report.TITLES)
    if unknown := set(options.case) - set(report.TITLES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    return options


async def _run(options: argparse.Namespace) -> None:
    chapters: dict[str, Any] = {}
    command = " ".join(["python -m tests.bench", *sys.argv[1:]])
    settings = {"events": options.events, "waiting": options.waiting, "rows": options.rows, "sink": sink.name()}
    async with Stage(on_disk=options.on_disk) as stage:
        machine = report.machine(await stage.versions(), in_memory=stage.in_memory)

        async def case(name: str, measured: Awaitable[Sequence[Any]], told: Callable[[Any], list[str]]) -> None:
            print(f"\n{report.TITLES[name]}", flush=True)
            began = time.monotonic()
            results = await measured
            text = told(results)
            print("\n".join(f"  {line}" for line in text), f"\n  ({time.monotonic() - began:.0f} s)", flush=True)
            chapters[name] = {
                "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
                "command": command,
                "machine": machine,
                "settings": settings,
                "results": [asdict(result) for result in results],
                "text": text,
            }

        if "sent" in options.case:
            await case("sent", sent.run(stage, options.events, options.repeat), report.sent_chapter)
        if "round_trips" in options.case:
            await case("round_trips", round_trips.run(stage, options.events, 50), report.round_trips_chapter)
        if "memory" in options.case:
            await case("memory", memory.run(stage, options.waiting, options.within), report.memory_chapter)
        if "start" in options.case:
            await case("start", startup.run(stage, max(5, options.repeat)), report.start_chapter)
        if "fairness" in options.case:
            await case("fairness", fairness.run(stage, options.rows), report.fairness_chapter)
        if "operations" in options.case:
            await case("operations", operations.run(stage, options.stored, options.repeat), report.operations_chapter)
    if not options.no_docs:
        report.keep(REPOSITORY / "docs", chapters)
        print("\nWritten to docs/benchmarks.md and docs/benchmarks.json.")


def main() -> int:
    options = _options()
    try:
        asyncio.run(_run(options))
    except CannotStart as trouble:
        print(trouble)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
