"""A RabbitMQ cluster of three nodes, so that every quorum queue has three replicas."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local import programs
from deploy.local.broker import Broker
from deploy.local.processes import Process, plain_environment
from tests.speaking import until

_WITHIN = 90.0


class Node(Broker):
    """One node. It shares the first one's port mapper, by which nodes find each other, and the cookie, by which they
    know each other; at its first start it joins whichever of `peers` is there."""

    def __init__(self, folder: Path, name: str, peers: Sequence[str], cookie: str, first: Node | None) -> None:
        super().__init__(folder)
        self.name = name
        self._peers = peers
        self._cookie = cookie
        self._first = first

    async def stop(self, grace: float = 15) -> None:
        """Shut the node down in order. The port mapper stays, for the others."""
        if self._server is not None:
            await self._server.stop(grace)

    def kill(self) -> None:
        """End the node as a power cut would, and it alone. `start()` brings it back."""
        if self._server is not None:
            self._server.kill()

    async def close(self) -> None:
        """End it at once, and the port mapper if it is the first one's."""
        self.kill()
        if self._first is None and self._port_mapper is not None:
            self._port_mapper.kill()

    async def told(self, program: str, *arguments: str) -> Any:
        """What one of RabbitMQ's own tools says of this node, read as JSON."""
        found = programs.rabbitmq()
        child = await asyncio.create_subprocess_exec(
            str(found.server.with_name(program)),
            *("--node", self.name, "--quiet", *arguments, "--formatter", "json"),
            env=plain_environment(**found.env) | self._environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            said, complaint = await child.communicate()
        if child.returncode != 0:
            raise RuntimeError(f"{program}: {complaint.decode(errors='replace')[-1000:]}")
        return json.loads(said)

    def _prepare(self) -> None:
        super()._prepare()
        if self._first is not None:
            self._port_mapper = self._first.port_mapper
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(self._cookie)
            cookie.chmod(0o400)
        lines = ["cluster_formation.peer_discovery_backend = classic_config"]
        lines += [f"cluster_formation.classic_config.nodes.{at} = {name}" for at, name in enumerate(self._peers, 1)]
        with (self.folder / "rabbitmq.conf").open("a") as configuration:
            configuration.writelines(f"{line}\n" for line in lines)

    def _environment(self) -> dict[str, str]:
        own = {"RABBITMQ_NODENAME": self.name}
        if self._first is not None:
            own["ERL_EPMD_PORT"] = self._first.port_mapper_port
        return super()._environment() | own

    @property
    def port_mapper(self) -> Process:
        assert self._port_mapper is not None
        return self._port_mapper

    @property
    def port_mapper_port(self) -> str:
        return str(self._ports["port_mapper"])


class BrokerCluster:
    """Three nodes under `folder`.

    async with BrokerCluster(folder) as cluster:
        await aio_pika.connect(cluster.urls[0])
        (await cluster.leader("invitation.events")).kill()
    """

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        names = [f"convive{number}@localhost" for number in range(1, nodes + 1)]
        cookie = secrets.token_hex(16)
        self.nodes: list[Node] = []
        for name in names:
            first = self.nodes[0] if self.nodes else None
            # The first looks for nobody: it would wait for those that are not there yet.
            peers = [names[0], name] if first else [name]
            self.nodes.append(Node(folder / name.partition("@")[0], name, peers, cookie, first))

    @property
    def urls(self) -> list[str]:
        """Of all nodes, the first one's first."""
        return [node.url for node in self.nodes]

    async def start(self) -> Self:
        """Start all nodes; returns when they are one cluster."""
        first, *others = self.nodes
        await first.start()
        # A node that finds others joins them before it takes connections.
        await asyncio.gather(*(node.start() for node in others))
        return self

    async def leader(self, queue: str) -> Node:
        """The node that leads a queue which all nodes have a replica of."""
        replicas = await self.replicas(queue)
        assert set(replicas) == {node.name for node in self.nodes}, replicas
        return next(node for node in self.nodes if replicas[node.name]["Raft State"] == "leader")

    async def replicas(self, queue: str) -> Mapping[str, Mapping[str, Any]]:
        """What the tools tell of each replica of a quorum queue, by the name of its node."""
        alive = next(node for node in self.nodes if node.server.alive)
        said = await alive.told("rabbitmq-queues", "quorum_status", queue)
        return {replica["Node Name"]: replica for replica in said}

    async def until_caught_up(self, node: Node, queue: str, stream: str) -> None:
        """Wait until a node has all of a queue, and of a stream, that their leaders have by now."""
        goal = max(_index(replica) for replica in (await self.replicas(queue)).values())

        async def there() -> bool:
            replica = (await self.replicas(queue)).get(node.name, {})
            return replica.get("Raft State") in ("follower", "leader") and _index(replica) >= goal

        async def read_up() -> bool:
            offsets = {one["node"]: one["offset"] for one in await self._stream(stream)}
            return offsets.get(node.name, -1) >= written

        await until(there, within=_WITHIN, what=f"{node.name} has caught up with {queue}")
        written = max(one["offset"] for one in await self._stream(stream))
        await until(read_up, within=_WITHIN, what=f"{node.name} has caught up with {stream}")

    async def _stream(self, name: str) -> Sequence[Mapping[str, Any]]:
        alive = next(node for node in self.nodes if node.server.alive)
        return await alive.told("rabbitmq-streams", "stream_status", name)

    async def close(self) -> None:
        """End all nodes at once."""
        for node in reversed(self.nodes):
            await node.close()

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _index(replica: Mapping[str, Any]) -> int:
    index = replica.get("Commit Index")
    return index if isinstance(index, int) else -1
