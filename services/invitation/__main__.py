"""`python -m invitation [--role web|worker|both]`."""

from __future__ import annotations

import argparse

from convive_kit import lean as lean  # before anything else
from convive_kit import process, settings, tracing
from convive_kit.logs import configure
from invitation.app import ROLES, start
from invitation.settings import InvitationSettings


def main() -> None:
    """Read the settings, run until told to stop."""
    parser = argparse.ArgumentParser(prog="invitation", description="Convive's invitation service.")
    parser.add_argument("--role", choices=tuple(ROLES), default="both", help="what this process does (default: both)")
    lean.give_back_early()
    role: str = parser.parse_args().role
    chosen = settings.load(InvitationSettings)
    tracing.configure(chosen.otlp_endpoint, service="invitation", ratio=chosen.trace_ratio)
    configure(chosen.log_level, service="invitation")

    async def begin(started: process.Process) -> None:
        started.on_stop("traces", tracing.flush)
        await start(started, chosen, ROLES[role])

    process.run(begin, grace=chosen.shutdown_grace)


if __name__ == "__main__":
    main()
