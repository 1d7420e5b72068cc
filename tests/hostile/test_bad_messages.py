"""Whatever is on the bus, it is handled or parked: no crash, nothing lost, no memory lost, and the healthy ones get
through. 100,000 of them; `CONVIVE_HOSTILE_MESSAGES=1000000` takes more, `CONVIVE_HOSTILE_SEED=…` others.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections import Counter
from typing import Any

import pytest

from convive_contracts import topology
from deploy.local.processes import plain_environment
from deploy.local.programs import REPOSITORY
from tests.hostile.generating import Hostility
from tests.running import Stack
from tests.speaking import Api, until
from tests.stacks import OwnStack

COUNT = int(os.environ.get("CONVIVE_HOSTILE_MESSAGES", "100000"))
SEED = int(os.environ.get("CONVIVE_HOSTILE_SEED", "1"))
ON_THE_BUS = min(COUNT // 40, 5000)
_MOST_GROWTH = 20.0

pytestmark = [pytest.mark.database, pytest.mark.slow, pytest.mark.timeout(900)]


async def test_hostile_messages_are_all_handled_or_parked_and_cost_no_memory(mongo_url: str, database: str) -> None:
    path = os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "shared", REPOSITORY / "services")))
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.hostile", mongo_url, database, str(COUNT), str(SEED)),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
        env=plain_environment(PYTHONPATH=path),
    )
    try:
        told, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()

    assert child.returncode == 0
    found: dict[str, Any] = json.loads(told)
    print(found)
    assert found["handled"] + found["parked"] == COUNT
    assert found["kept"] == found["parked"]
    assert found["invitations"] == found["healthy"] == COUNT // 100
    # Nothing surprised a handler: each is refused for a reason with a name.
    assert "handler_failed" not in found["slugs"]
    assert "unexpected" not in found["slugs"]
    assert found["at_the_end"] - found["warm"] < _MOST_GROWTH


def routed(key: str) -> list[str]:
    """The queues that read what is published with this key, without the log."""
    found = [
        binding.queue
        for binding in topology.BINDINGS
        if binding.exchange == topology.EXCHANGE and _matches(binding.key, key)
    ]
    return [queue for queue in found if queue != topology.LOG] or ([] if found else [topology.INVITATION_PARKED])


def _matches(pattern: str, key: str) -> bool:
    words = {"*": r"[^.]*", "#": r".*"}
    regex = r"\.".join(words.get(word, re.escape(word)) for word in pattern.split("."))
    return re.fullmatch(regex.replace(r"\..*", r"(\..*)?"), key) is not None


async def counted(api: Api) -> Counter[str]:
    """Messages taken from each queue, by what a service's metrics say."""
    text = (await api.call("GET", "/metrics", accept="text/plain")).text
    found: Counter[str] = Counter()
    for queue, number in re.findall(r'^convive_events_total{.*queue="([^"]+)".*} (\S+)$', text, re.MULTILINE):
        found[queue] += int(float(number))
    return found


@pytest.mark.broker
async def test_hostile_messages_on_the_real_bus_leave_the_services_as_they_were(own_stack: OwnStack) -> None:
    stack: Stack = await own_stack()
    published: Counter[str] = Counter()
    healthy: list[str] = []
    async with stack.wire() as wire:
        for message in Hostility(SEED + 1).messages(ON_THE_BUS):
            headers = {
                name: bytearray(value) if isinstance(value, bytes) else value for name, value in message.headers.items()
            }
            await wire.send(message.body, message.key, content_type=message.content_type, headers=headers)
            published.update(routed(message.key))
            if message.healthy is not None:
                healthy.append(message.healthy)

        async def all_taken() -> bool:
            taken = await counted(stack.invitation)
            taken += await counted(stack.directory)
            # The directory hears our own announcements too.
            return all(taken[queue] >= number for queue, number in published.items())

        try:
            await until(all_taken, within=60, what="all are taken")
        except pytest.fail.Exception:
            taken = await counted(stack.invitation)
            taken += await counted(stack.directory)
            pytest.fail(f"not all were taken: {published} were published, {taken} came")

    for invitation in healthy:
        await stack.until_state(invitation, "sent")
    for service in (stack.invitation_service, stack.directory_service):
        assert service.process.alive
        assert (await Api(service.url).call("GET", "/readyz")).status == 200
    async with stack.documents() as database:
        slugs = {document["slug"] async for document in database["parked"].find({}, {"slug": 1})}
    async with stack.documents("directory") as database:
        slugs |= {document["slug"] async for document in database["parked"].find({}, {"slug": 1})}
    assert not slugs & {"handler_failed", "unexpected"}
