"""Three nodes of an engine, and the one that leads is killed under load: nothing is lost, nothing is sent that nobody
asked for. How long it takes is measured by `python -m tests.cluster`, and no matter here."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Generator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.cluster.failover import Figures, Plan, of_the_broker, of_the_database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.broker,
    pytest.mark.database,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(300),
]

LEASE = "PT15S"


@pytest.fixture
def folder(run_folder: Path, caplog: pytest.LogCaptureFixture) -> Generator[Path]:
    # Lost connections are what this is about: the clients need not log each.
    for noisy in ("aiormq", "aio_pika", "asyncio", "pymongo"):
        caplog.set_level(logging.CRITICAL, logger=noisy)
    folder = Path(mkdtemp(prefix="cluster-", dir=run_folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_primary_that_is_killed_under_load_loses_nothing_and_comes_back(folder: Path) -> None:
    _nothing_lost(await of_the_database(folder, Plan(rate=50, seconds=16, before=3, lease=LEASE)))


async def test_a_broker_that_leads_and_is_killed_under_load_loses_nothing_and_comes_back(folder: Path) -> None:
    _nothing_lost(await of_the_broker(folder, Plan(rate=50, seconds=10, before=3, lease=LEASE)))


def _nothing_lost(figures: Figures) -> None:
    print(json.dumps(figures.as_json()))
    assert not figures.faults, "\n".join(figures.faults[:20])
    assert figures.mails == figures.events + figures.doubled
    assert figures.doubled <= figures.bound
