"""A short fault run as part of the suite. `make chaos` is the long one."""

from __future__ import annotations

import logging
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.chaos.plan import make_plan
from tests.chaos.report import table
from tests.chaos.run import run

SEED, MINUTES, INVITATIONS = 45, 1.0, 250


@pytest.mark.slow
@pytest.mark.broker
@pytest.mark.database
@pytest.mark.timeout(900)
async def test_nothing_is_lost_stuck_unexpected_or_repeated_beyond_the_promise(
    run_folder: Path, caplog: pytest.LogCaptureFixture
):
    # Lost connections are what this is about: the clients need not log each.
    for noisy in ("aiormq", "aio_pika", "asyncio"):
        caplog.set_level(logging.CRITICAL, logger=noisy)
    outcome = await run(Path(mkdtemp(prefix="chaos-", dir=run_folder)), SEED, MINUTES, INVITATIONS)
    print(*table(outcome), sep="\n")
    assert outcome.verdict.passed
    assert len(outcome.incidents) == len(outcome.plan)


def test_a_seed_gives_the_same_plan_again():
    assert make_plan(7, 600) == make_plan(7, 600)
    assert make_plan(7, 600) != make_plan(8, 600)


def test_ten_minutes_see_every_sort_of_fault():
    kinds = {fault.kind for fault in make_plan(1, 600)}
    assert len(kinds) == 11
