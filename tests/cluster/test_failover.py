"""Three nodes of an engine, and the one that leads is killed under load: nothing is lost, nothing is sent that nobody
asked for. How long it takes is measured by `python -m tests.cluster`, and no matter here."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest

from tests.chaos.sink import Mail
from tests.cluster.failover import Figures, Plan, figures_of, of_the_broker, of_the_database
from tests.cluster.load import Load
from tests.cluster.site import Found, Site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.broker,
    pytest.mark.database,
    pytest.mark.xdist_group("cluster"),
    pytest.mark.timeout(900),
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


def test_a_pause_is_measured_from_mail_to_mail_and_what_waited_is_counted_until_nothing_waits() -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)
    load, found = Load([], 10, 300), Found()
    for number in range(300):  # ten a second; killed after ten, nothing for eight, then twice as fast
        event = number / 10
        sent = event if event < 10 else max(event, 18 + (event - 10) / 2)
        load.confirmed[str(number)] = began + timedelta(seconds=event)
        found.sent[str(number)] = began + timedelta(seconds=sent)
    figures = figures_of("x", load, found, began + timedelta(seconds=10), 0.0)
    assert figures.pause == pytest.approx(8.1)
    assert figures.resumed == figures.first_after == pytest.approx(8)
    assert figures.longest_wait == pytest.approx(8)
    assert figures.caught_up == pytest.approx(15, abs=0.2)
    assert figures.rate_before == pytest.approx(10, abs=0.2)
    assert figures.rate_catching_up == pytest.approx(20, abs=0.2)
    assert figures.rate_after == pytest.approx(12, abs=0.5)


async def test_mails_that_are_lost_doubled_or_misdirected_are_told(tmp_path: Path) -> None:
    site, load, found = Site(tmp_path, amqp_urls=["amqp://"], mongo_url="mongodb://"), Load([], 1, 3), Found()
    load.wanted = {"one": "one@example.com", "two": "two@example.com", "three": "three@example.com"}
    for id, to in (("one", "one@example.com"), ("one", "one@example.com"), ("two", "x@example.com")):
        site.sink.mails.append(Mail(to, id, 1, 1, "", 0.0))
    site.look_at_mails(load, found)
    assert found.doubled == 1
    assert found.faults == ["no mail of invitation three", "a mail of two to x@example.com"]


def _nothing_lost(figures: Figures) -> None:
    print(json.dumps(figures.as_json()))
    assert not figures.faults, "\n".join(figures.faults[:20])
    assert figures.mails == figures.events + figures.doubled
    assert figures.doubled <= figures.bound
