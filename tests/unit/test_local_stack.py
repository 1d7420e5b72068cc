"""What the supervising classes promise: own ports, nothing left behind, the same data after a restart."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aio_pika
import pytest
from pymongo import AsyncMongoClient, MongoClient

from deploy.local.addresses import free_port, is_free, kept_ports
from deploy.local.broker import Broker
from deploy.local.database import Database
from deploy.local.processes import Process, plain_environment
from deploy.local.programs import REPOSITORY
from deploy.local.trouble import CannotStart


def test_ports_are_kept_between_starts_and_changed_only_when_taken(tmp_path: Path) -> None:
    first = kept_ports(tmp_path / "ports.json", ["amqp", "web"])
    assert kept_ports(tmp_path / "ports.json", ["amqp", "web"]) == first
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", first["web"]))
        squatter.listen()
        again = kept_ports(tmp_path / "ports.json", ["amqp", "web"])
    assert again["amqp"] == first["amqp"]
    assert again["web"] != first["web"]


def test_a_free_port_is_free() -> None:
    assert is_free(free_port())


async def test_a_program_that_dies_at_its_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    program = Process(
        "The greeter", ["sh", "-c", "echo no database; exit 3"], log=tmp_path / "log", env=plain_environment()
    )
    program.start()

    async def never() -> bool:
        return False

    with pytest.raises(CannotStart, match=r"(?s)The greeter ended with code 3.*no database"):
        await program.until(never, within=10)


async def test_a_program_that_ignores_a_polite_end_is_ended(tmp_path: Path) -> None:
    script = "trap '' TERM; echo up; while :; do sleep 0.05; done"
    program = Process("The stubborn", ["sh", "-c", script], log=tmp_path / "log", env=plain_environment())
    program.start()

    async def up() -> bool:
        return "up" in program.last_lines()

    await program.until(up, within=10)
    await program.stop(grace=0.2)
    assert not program.alive


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _PARENT.format(log=tmp_path / "log")], cwd=REPOSITORY)
    said = _eventually(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text().strip())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert _eventually(lambda: not Path(f"/proc/{said}").exists())


_PARENT = """
import time
from pathlib import Path
from deploy.local.processes import Process, plain_environment
Process("child", ["sh", "-c", "echo $$; exec sleep 60"], log=Path("{log}"), env=plain_environment()).start()
time.sleep(60)
"""


def _eventually(what: Any, within: float = 10) -> Any:
    deadline = time.monotonic() + within
    while not (value := what()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return value


@pytest.mark.broker
async def test_each_test_has_a_virtual_host_of_its_own_with_quorum_queues_and_streams(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("work", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.declare_queue("log", durable=True, arguments={"x-queue-type": "stream"})


@pytest.mark.broker
async def test_the_broker_listens_on_the_loopback_interface_alone(broker: Broker) -> None:
    assert _listening_elsewhere(broker.server.pid) == []


@pytest.mark.database
async def test_the_database_takes_majority_writes_and_listens_on_the_loopback_interface_alone(
    database_server: Database, database: str
) -> None:
    async with AsyncMongoClient[dict[str, Any]](database_server.url, w="majority") as client:
        await client[database]["things"].insert_one({"_id": 1})
    assert _listening_elsewhere(database_server.server.pid) == []


def _listening_elsewhere(pid: int) -> list[str]:
    """Addresses other than 127.0.0.1 that the process listens on, as the kernel writes them."""
    own: set[str] = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        try:
            own.add(str(handle.readlink()))
        except FileNotFoundError:
            continue
    found: list[str] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            listening = state == "0A" and f"socket:[{rest[5]}]" in own
            if listening and not local.startswith("0100007F:"):
                found.append(local)
    return found


@pytest.mark.broker
@pytest.mark.slow
async def test_a_killed_broker_comes_back_on_its_port_with_its_durable_messages(own_broker: Broker) -> None:
    async with await aio_pika.connect(own_broker.url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("work", durable=True, arguments={"x-queue-type": "quorum"})
        message = aio_pika.Message(b"kept", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key="work")
        url = own_broker.url
        await own_broker.until_on_disk("work")
        own_broker.kill()
    assert not own_broker.server.alive
    await own_broker.start()
    assert own_broker.url == url
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue("work")
        async with asyncio.timeout(10):
            message = None
            while message is None:
                message = await queue.get(fail=False, no_ack=True)
        assert message.body == b"kept"


@pytest.mark.database
async def test_a_database_whose_port_was_taken_moves_with_its_data(tmp_path: Path) -> None:
    async with Database(tmp_path / "database") as database:
        with MongoClient[dict[str, Any]](database.url) as client:
            client["kept"]["things"].insert_one({"_id": 1})
        first = database.url
    ports = tmp_path / "database" / "ports.json"
    ports.write_text(f'{{"mongo": {free_port()}}}')
    async with Database(tmp_path / "database") as database:
        assert database.url != first
        with MongoClient[dict[str, Any]](database.url) as client:
            assert client["kept"]["things"].find_one() == {"_id": 1}
