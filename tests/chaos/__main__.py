"""The command behind `make chaos`. Exits with 1 where the bar is missed."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import tempfile
from pathlib import Path

import uvloop

from tests.chaos.plan import make_plan
from tests.chaos.report import command, plan_lines, result, table
from tests.chaos.run import Outcome, run
from tests.chaos.summary import summary
from tests.chaos.trouble import say

_FIGURES = Path(".local/chaos")
_IN_MEMORY = Path("/dev/shm")
_ENOUGH = 3 * 1024**3


def main() -> int:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="decides the faults and the people (1)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the faults go on (10)")
    parser.add_argument("--invitations", type=int, default=10_000, help="how many people are invited meanwhile (10000)")
    parser.add_argument("--plan-only", action="store_true", help="print the plan and end")
    parser.add_argument("--json", type=Path, help="where the figures go (.local/chaos/seed-<seed>.json)")
    parser.add_argument("--folder", type=Path, help="where to work and to leave the services' logs")
    parser.add_argument("--summary", action="store_true", help="print the figures of the runs so far, and end")
    given = parser.parse_args()
    if given.summary:
        print(*summary(_FIGURES), sep="\n")
        return 0
    print(f"again: {command(given.seed, given.minutes, given.invitations)}")
    print("plan:", *plan_lines(make_plan(given.seed, given.minutes * 60)), sep="\n  ", flush=True)
    if given.plan_only:
        return 0
    # Lost connections are what this is about: the clients need not log each.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    logging.getLogger("aio_pika").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    folder = given.folder or _folder(given.seed)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_run(folder, given.seed, given.minutes, given.invitations))
    except asyncio.CancelledError:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
        print("ended before its time: no verdict")
        return 130
    print()
    for line in table(outcome):
        print(line)
    figures = given.json or _FIGURES / f"seed-{given.seed}.json"
    figures.parent.mkdir(parents=True, exist_ok=True)
    figures.write_text(json.dumps(result(outcome), indent=1))
    print(f"figures: {figures}")
    if outcome.verdict.passed and given.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"the services' logs: {folder}")
    return 0 if outcome.verdict.passed else 1


async def _run(folder: Path, seed: int, minutes: float, invitations: int) -> Outcome:
    work = asyncio.create_task(run(folder, seed, minutes, invitations))
    # Asked to end, it ends in order, and nothing is left running; also in the background, where a shell has Ctrl-C
    # ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    return await work


def _folder(seed: int) -> Path:
    roomy = os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH
    return Path(tempfile.mkdtemp(prefix=f"convive-chaos-{seed}-", dir=_IN_MEMORY if roomy else None))


if __name__ == "__main__":
    raise SystemExit(main())
