"""A RabbitMQ node of our own: its own name, ports, files and port mapper, on the loopback interface alone."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aio_pika
import aiohttp

from deploy.local import programs
from deploy.local.addresses import LOOPBACK, kept_ports
from deploy.local.processes import Process, plain_environment

# The name may be the same on every machine: a port mapper of our own keeps it apart from other nodes.
_NODE = "convive@localhost"
_CONFIGURATION = """\
listeners.tcp.1 = {host}:{amqp}
log.file = false
log.console = true
log.console.level = {level}
disk_free_limit.absolute = 50MB
"""
_MANAGEMENT = """\
management.tcp.ip = {host}
management.tcp.port = {management}
"""
_USER = {"Authorization": aiohttp.encode_basic_auth("guest", "guest")}


class Broker:
    """A private broker under `folder` (a new temporary one when None).

        async with Broker() as broker:
            await aio_pika.connect(broker.url)

    With `management`, virtual hosts can be made and dropped in some ten milliseconds and connections can be cut; the
    node then takes half a second longer to start and some to stop. Same ports and data after `restart()`.
    """

    def __init__(self, folder: Path | None = None, *, management: bool = False, log: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="convive-broker-") if folder is None else None
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self._management = management
        self._log = log or self.folder / "broker.log"
        self._ports: dict[str, int] = {}
        self._server: Process | None = None
        self._port_mapper: Process | None = None

    @property
    def url(self) -> str:
        return self.url_of("/")

    def url_of(self, vhost: str) -> str:
        """The AMQP address of one virtual host."""
        return f"amqp://guest:guest@{LOOPBACK}:{self._ports['amqp']}/{quote(vhost, safe='')}"

    @property
    def server(self) -> Process:
        """The node's process, for its pid and for `alive`."""
        assert self._server is not None, "the broker was not started"
        return self._server

    async def start(self) -> Self:
        """Start the node and wait until it takes connections. Raises CannotStart."""
        if self._server is None:
            self._prepare()
        assert self._port_mapper is not None
        self._port_mapper.start()
        self.server.start()
        await self.server.until(self._takes_connections, within=60)
        return self

    async def stop(self, grace: float = 15) -> None:
        """Shut the node down in order; what was durable is there at the next start."""
        if self._server is not None:
            await self._server.stop(grace)
        if self._port_mapper is not None:
            await self._port_mapper.stop(1)

    async def restart(self) -> None:
        """Shut down in order and start again on the same ports with the same data."""
        await self.stop()
        await self.start()

    async def until_on_disk(self, queue: str) -> None:
        """Wait until a newly declared quorum queue would survive `kill()`.

        RabbitMQ 3.10 writes the names of its queues about once a second: one declared just before a power cut answers
        to a declaration afterwards, but to nothing else.
        """
        folder = self.folder / "data" / _NODE / "quorum" / _NODE
        async with asyncio.timeout(30):
            while True:
                names, meta = (folder / "names.dets").read_bytes(), (folder / "meta.dets").read_bytes()
                logs = [entry.name.encode() for entry in folder.iterdir() if entry.is_dir()]
                if queue.encode() in names and all(log in meta for log in logs):
                    return
                await asyncio.sleep(0.05)

    def kill(self) -> None:
        """End the node as a power cut would. `start()` brings it back."""
        if self._server is not None:
            self._server.kill()
        if self._port_mapper is not None:
            self._port_mapper.kill()

    def stop_process(self) -> None:
        """Freeze the node: connections stay open and nothing answers, until `continue_process()`."""
        self.server.pause()

    def continue_process(self) -> None:
        self.server.resume()

    async def create_vhost(self, name: str) -> str:
        """Make a virtual host and return its AMQP address. Needs `management`."""
        path = quote(name, safe="")
        await self._call("PUT", f"vhosts/{path}")
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        await self._call("PUT", f"permissions/{path}/guest", everything)
        return self.url_of(name)

    async def delete_vhost(self, name: str) -> None:
        """Drop a virtual host with its queues and connections. Needs `management`."""
        await self._call("DELETE", f"vhosts/{quote(name, safe='')}")

    async def delete_queue(self, vhost: str, queue: str) -> None:
        """Delete a queue under its consumers. Needs `management`."""
        await self._call("DELETE", f"queues/{quote(vhost, safe='')}/{quote(queue, safe='')}")

    async def close(self) -> None:
        """End it at once and remove its temporary folder. For a broker whose data nobody needs."""
        self.kill()
        if self._temporary is not None:
            self._temporary.cleanup()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._temporary is None:
            await self.stop()
        else:
            await self.close()

    def _prepare(self) -> None:
        found = programs.rabbitmq()
        self.folder.mkdir(parents=True, exist_ok=True)
        names = ["amqp", "distribution", "port_mapper", *(["management"] if self._management else [])]
        self._ports = kept_ports(self.folder / "ports.json", names)
        settings = _CONFIGURATION + (_MANAGEMENT if self._management else "")
        (self.folder / "rabbitmq.conf").write_text(settings.format(host=LOOPBACK, level="warning", **self._ports))
        plugins = "rabbitmq_management" if self._management else ""
        (self.folder / "enabled_plugins").write_text(f"[{plugins}].\n")
        env = plain_environment(**found.env) | self._environment()
        port = str(self._ports["port_mapper"])
        command = [str(found.epmd), "-port", port, "-address", LOOPBACK, "-relaxed_command_check"]
        self._port_mapper = Process("RabbitMQ's port mapper", command, log=self._log, env=env)
        self._server = Process("RabbitMQ", [str(found.server)], log=self._log, env=env, cwd=self.folder)

    def _environment(self) -> dict[str, str]:
        folder = self.folder
        return {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": _NODE,
            "RABBITMQ_DIST_PORT": str(self._ports["distribution"]),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            # Not the settings of a node that the machine may have besides.
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "ERL_EPMD_PORT": str(self._ports["port_mapper"]),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            # So the start script becomes the Erlang machine instead of staying above it, and signals reach it.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    async def _takes_connections(self) -> bool:
        try:
            async with asyncio.timeout(2):
                # A plain socket first: the client would log each refusal.
                _, writer = await asyncio.open_connection(LOOPBACK, self._ports["amqp"])
                writer.close()
                async with await aio_pika.connect(self.url):
                    return True
        except (OSError, TimeoutError, aio_pika.exceptions.AMQPError):
            return False

    async def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> None:
        assert self._management, "this broker was started without its management plugin"
        address = f"http://{LOOPBACK}:{self._ports['management']}/api/{path}"
        async with asyncio.timeout(15):
            # A connection per call: there is no event loop that all callers share.
            async with aiohttp.ClientSession(headers=_USER) as session:
                async with session.request(method, address, json=body) as response:
                    response.raise_for_status()
