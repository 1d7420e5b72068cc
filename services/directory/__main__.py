"""`python -m directory [--role web|worker|both]`."""

from __future__ import annotations

import argparse

from convive_kit import lean as lean  # before anything else
from convive_kit import process, settings, tracing
from convive_kit.logs import configure
from directory.app import ROLES, start
from directory.settings import DirectorySettings


def main() -> None:
    parser = argparse.ArgumentParser(prog="directory", description="Convive's directory service.")
    parser.add_argument("--role", choices=tuple(ROLES), default="both", help="what this process does (default: both)")
    role: str = parser.parse_args().role
    chosen = settings.load(DirectorySettings)
    tracing.configure(chosen.otlp_endpoint, service="directory", ratio=chosen.trace_ratio)
    configure(chosen.log_level, service="directory")

    async def begin(started: process.Process) -> None:
        started.on_stop("traces", tracing.flush)
        await start(started, chosen, ROLES[role])

    process.run(begin, grace=chosen.shutdown_grace)


if __name__ == "__main__":
    main()
