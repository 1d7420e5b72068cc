"""Fixtures for every test: a real broker and a real database of the run's own."""

from __future__ import annotations

import os
import signal
import types

import hypothesis
import pytest

from deploy.local import addresses
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
from tests.stacks import own_stack, pytest_runtest_makereport, stack, watched_logs

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


_LONGEST = ("tests/crash/", "tests/hostile/", "tests/chaos/", "tests/cluster/", "tests/model/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that no worker is left alone with them at the end."""

    def place(item: pytest.Item) -> int:
        return next((at for at, folder in enumerate(_LONGEST) if item.nodeid.startswith(folder)), len(_LONGEST))

    items.sort(key=place)


def pytest_configure() -> None:
    """A run that is asked to end (a time limit of the build, say) ends as on Ctrl-C: fixtures clean up."""
    signal.signal(signal.SIGTERM, _interrupt)
    # A busy machine is no bug: speed lives in the benchmarks.
    hypothesis.settings.register_profile("convive", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("convive")
    # Each worker of a run picks from ports of its own: no other takes one between the choice and its use.
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    addresses.PORTS = addresses.PORTS[int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) :: workers]


def _interrupt(number: int, frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt
