"""Fixtures: the product running, and its logs watched.

`stack` is shared by all tests of a run: it is left as it was found, and each test works with a cabinet, a dossier and
addresses of its own. `own_stack` makes one for a test that stops, kills, freezes or restarts something, or that needs
other settings.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pytest

from deploy.local.broker import Broker
from deploy.local.database import Database
from tests.real_parts import finished
from tests.running import Stack


class OwnStack(Protocol):
    """Starts a stack of the test's own; killed after the test."""

    async def __call__(
        self,
        *,
        broker: Broker | None = None,
        database: Database | None = None,
        settings: Mapping[str, str] | None = None,
        invitation_settings: Mapping[str, str] | None = None,
        directory_settings: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> Stack: ...


@pytest.fixture(scope="session")
def stack(run_folder: Path, broker: Broker, mongo_url: str) -> Generator[Stack]:
    """The product, running for all tests of this run: leave it running, and stay among your own data."""
    vhost = f"stack-{uuid4().hex[:8]}"
    stack = Stack(run_folder / "stack", amqp_url=finished(broker.create_vhost(vhost)), mongo_url=mongo_url)
    try:
        yield finished(stack.start())
    finally:
        finished(stack.stop())
        finished(broker.delete_vhost(vhost))
        stack.drop_databases()


@pytest.fixture
async def own_stack(
    request: pytest.FixtureRequest, run_folder: Path, broker: Broker, mongo_url: str
) -> AsyncGenerator[OwnStack]:
    """Makes stacks for this test alone (some 2 s each), by default on the run's broker and database. For tests that
    disturb those too, pass the fixtures `own_broker` and `own_database`."""
    stacks: list[Stack] = []
    shared = broker
    vhosts: list[str] = []

    async def make(
        *,
        broker: Broker | None = None,
        database: Database | None = None,
        settings: Mapping[str, str] | None = None,
        invitation_settings: Mapping[str, str] | None = None,
        directory_settings: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> Stack:
        vhost = f"stack-{uuid4().hex[:8]}"
        if broker is None:
            vhosts.append(vhost)
        stack = Stack(
            run_folder / vhost,
            amqp_url=broker.url if broker else await shared.create_vhost(vhost),
            mongo_url=database.url if database else mongo_url,
            settings=settings,
            invitation_settings=invitation_settings,
            directory_settings=directory_settings,
        )
        stacks.append(stack)
        request.node.stash.setdefault(_STACKS, []).append(stack)
        return await stack.start() if start else stack

    try:
        yield make
        leaks = [leak for stack in stacks for leak in stack.leaks()]
        assert not leaks, "\n".join(leaks)
    finally:
        for stack in stacks:
            stack.kill()
            if stack.mongo_url == mongo_url:
                stack.drop_databases()
        for vhost in vhosts:
            await shared.delete_vhost(vhost)


_STACKS = pytest.StashKey[list[Stack]]()
_SHOWN_OF_A_LOG = 60


@pytest.fixture(autouse=True)
def watched_logs(request: pytest.FixtureRequest) -> Generator[None]:
    """With the shared stack, every test also checks that nothing private was logged while it ran."""
    if "stack" not in request.fixturenames:
        yield
        return
    stack: Stack = request.getfixturevalue("stack")
    stack.mark_logs()
    request.node.stash[_STACKS] = [stack]
    yield
    leaks = stack.leaks()
    assert not leaks, "\n".join(leaks)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the services said with a test that failed."""
    report = yield
    if report.failed:
        for stack in item.stash.get(_STACKS, []):
            for log in stack.logs:
                # Without our own looking and waiting, which would be most of it.
                told = [line for line in stack.new_log_text(log).splitlines() if '"method":"GET"' not in line]
                lines = told[-_SHOWN_OF_A_LOG:]
                report.sections.append((f"log of {log.stem}", "\n".join(line[:1500] for line in lines)))
    return report
