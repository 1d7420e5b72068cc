"""`python -m tests.bench [case …]`, or `make bench CASE=sent`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from deploy.local.programs import REPOSITORY
from deploy.local.trouble import CannotStart
from tests.bench import (
    backlog,
    capacity,
    due,
    fairness,
    growth,
    members,
    memory,
    operations,
    pages,
    password,
    replay,
    report,
    round_trips,
    sent,
    several,
    sink,
    startup,
)
from tests.bench.case import Case, Options
from tests.bench.stage import Stage

CASES: Mapping[str, Case] = {
    "sent": sent,
    "round_trips": round_trips,
    "processes": several,
    "backlog": backlog,
    "replay": replay,
    "due": due,
    "memory": memory,
    "start": startup,
    "fairness": fairness,
    "operations": operations,
    "pages": pages,
    "password": password,
    "members": members,
    "growth": growth,
    "capacity": capacity,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench", description="Measures Convive and what it is compared with.")
    named = os.environ.get("CASE", "").replace(",", " ").split()
    parser.add_argument("case", nargs="*", help=f"which to run: {', '.join(CASES)} (default: all)")
    parser.add_argument("--events", type=int, default=4000, help="events per run of `sent` and `round_trips`")
    parser.add_argument("--repeat", type=int, default=5, help="rounds of each measurement")
    parser.add_argument("--waiting", type=int, default=100_000, help="events that wait in `memory`")
    parser.add_argument(
        "--stored", type=int, nargs="+", default=[10_000, 1_000_000], help="how many `operations` stores"
    )
    parser.add_argument(
        "--grown",
        type=int,
        nargs="+",
        default=[10_000, 100_000, 1_000_000, 3_000_000],
        help="how many `growth` stores, the fewest being what the others are compared with",
    )
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the import of `fairness`")
    parser.add_argument("--due", type=int, default=200_000, help="reminders of `due`")
    parser.add_argument("--handled", type=int, default=1_000_000, help="events that each service handles in `memory`")
    parser.add_argument("--on-disk", action="store_true", help="keep broker and database files on disk, not in memory")
    parser.add_argument("--no-docs", action="store_true", help="print only; leave docs/benchmarks.* alone")
    options = parser.parse_args()
    options.case = options.case or named or list(CASES)
    if unknown := set(options.case) - set(CASES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    return options


async def _run(options: argparse.Namespace) -> None:
    chapters: dict[str, Any] = {}
    command = " ".join(["python -m tests.bench", *sys.argv[1:]])
    asked = Options(
        events=options.events,
        repeat=options.repeat,
        waiting=options.waiting,
        stored=options.stored,
        grown=options.grown,
        rows=options.rows,
        handled=options.handled,
        due=options.due,
    )
    settings = asdict(asked) | {"sink": sink.name()}
    async with Stage(on_disk=options.on_disk) as stage:
        machine = report.machine(await stage.versions(), in_memory=stage.in_memory)
        for name, case in CASES.items():
            if name not in options.case:
                continue
            print(f"\n{case.TITLE}", flush=True)
            began = time.monotonic()
            results = await case.run(stage, asked)
            text = case.chapter(results)
            print("\n".join(f"  {line}" for line in text), f"\n  ({time.monotonic() - began:.0f} s)", flush=True)
            chapters[name] = {
                "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
                "command": command,
                "machine": machine,
                "settings": settings,
                "results": [asdict(result) for result in results],
                "text": text,
            }
    if not options.no_docs:
        report.keep(REPOSITORY / "docs", chapters, CASES)
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
