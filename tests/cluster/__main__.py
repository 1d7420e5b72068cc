"""`python -m tests.cluster`: kills the primary of three MongoDB servers, then the leader of three RabbitMQ nodes, under
a load, and tells as JSON and as a table what it cost."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.failover import Figures, Plan, of_the_broker, of_the_database

_RUNS = {"database": of_the_database, "broker": of_the_broker}
_ROWS = (
    ("longest time without a mail", "pause", "s"),
    ("from the kill to the end of that time", "resumed", "s"),
    ("from the kill to the next mail", "first_after", "s"),
    ("from the kill until nothing waits any more", "caught_up", "s"),
    ("longest wait of an event for its mail", "longest_wait", "s"),
    ("mails per second before", "rate_before", ""),
    ("mails per second while catching up", "rate_catching_up", ""),
    ("mails per second after", "rate_after", ""),
    ("mails sent twice", "doubled", ""),
    ("mails sent twice, at most", "bound", ""),
    ("events that the test published again", "published_again", ""),
    ("events that the services published again", "log_copies", ""),
    ("outcomes noted twice", "saved_again", ""),
    ("until the killed node was back and had everything", "came_back", "s"),
    ("faults", "faults", ""),
)


def _table(figures: Sequence[Figures]) -> str:
    lines = [" | ".join(("", *(f"{each.what}, {each.events} events, {each.rate:g}/s" for each in figures)))]
    lines.append(" | ".join(("---", *("---:" for _ in figures))))
    for title, name, unit in _ROWS:
        lines.append(" | ".join((title, *(_cell(getattr(each, name), unit) for each in figures))))
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: float | Sequence[str], unit: str) -> str:
    if isinstance(value, float):
        return f"{value:.1f} {unit}".strip()
    return str(value if isinstance(value, int) else len(value))


async def _measure(kinds: Sequence[str], plan: Plan, place: Path | None) -> list[Figures]:
    figures: list[Figures] = []
    for kind in kinds:
        folder = Path(tempfile.mkdtemp(prefix="convive-cluster-", dir=place))
        try:
            figures.append(await _RUNS[kind](folder, plan))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("kinds", nargs="*", choices=[*_RUNS, []], help="which nodes are killed (default: both)")
    parser.add_argument("--rate", type=float, default=100, help="events per second")
    parser.add_argument("--seconds", type=float, default=40, help="for how long they come")
    parser.add_argument("--before", type=float, default=10, help="seconds before the kill")
    parser.add_argument("--lease", default=None, help="CONVIVE_DELIVERY_LEASE (default: the services')")
    asked = parser.parse_args()
    # Asked to end, it ends as on Ctrl-C: nothing is left behind.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    for noisy in ("aiormq", "aio_pika", "asyncio", "pymongo"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 3 * 1024**3
    plan = Plan(asked.rate, asked.seconds, asked.before, asked.lease, patience=180)
    figures = asyncio.run(_measure(asked.kinds or list(_RUNS), plan, memory if roomy else None))
    print(json.dumps([each.as_json() for each in figures], indent=2), _table(figures), sep="\n\n")
    return 1 if any(each.faults for each in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
