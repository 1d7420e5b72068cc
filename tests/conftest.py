"""Fixtures for every test: a real broker and a real database of the run's own."""

from __future__ import annotations

import signal
import types

import hypothesis

from tests.real_parts import (
    amqp_url,
    broker,
    database,
    database_server,
    mongo_url,
    new_database,
    own_broker,
    own_database,
    run_folder,
)
from tests.running import own_stack, pytest_runtest_makereport, stack, watched_logs

__all__ = [
    "amqp_url",
    "broker",
    "database",
    "database_server",
    "mongo_url",
    "new_database",
    "own_broker",
    "own_database",
    "own_stack",
    "pytest_runtest_makereport",
    "run_folder",
    "stack",
    "watched_logs",
]


def pytest_configure() -> None:
    """A run that is asked to end (a time limit of the build, say) ends as on Ctrl-C: fixtures clean up."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A busy machine is no bug: speed lives in the benchmarks.
    hypothesis.settings.register_profile("convive", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("convive")


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt
