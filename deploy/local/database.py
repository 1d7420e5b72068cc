"""A MongoDB server of our own: a replica set of one node, on the loopback interface alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from deploy.local import programs
from deploy.local.addresses import LOOPBACK, kept_ports
from deploy.local.processes import Process, plain_environment

_SET = "convive"
# What replSetGetConfig answers on a new server.
_NOT_YET_INITIALIZED = 94


class Database:
    """A private database under `folder` (a new temporary one when None). A replica set, so majority writes are real.

        async with Database() as database:
            client = AsyncMongoClient(database.url)

    Same port and data after `restart()`.
    """

    def __init__(self, folder: Path | None = None, *, log: Path | None = None, cache_gb: float = 0.25) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="convive-database-") if folder is None else None
        self.folder = folder or Path(self._temporary.name if self._temporary else "")
        self._log = log or self.folder / "database.log"
        self._cache_gb = cache_gb
        self._port = 0
        self._server: Process | None = None

    @property
    def url(self) -> str:
        return f"mongodb://{LOOPBACK}:{self._port}/?replicaSet={_SET}"

    @property
    def server(self) -> Process:
        """The server's process, for its pid and for `alive`."""
        assert self._server is not None, "the database was not started"
        return self._server

    async def start(self) -> Self:
        """Start the server and wait until it is the primary of its set. Raises CannotStart."""
        if self._server is None:
            self._prepare()
        self.server.start()
        direct = f"mongodb://{LOOPBACK}:{self._port}/?directConnection=true&serverSelectionTimeoutMS=200&connectTimeoutMS=500"
        async with AsyncMongoClient[dict[str, Any]](direct) as client:

            async def is_primary() -> bool:
                try:
                    return await self._is_primary(client)
                except PyMongoError:
                    return False

            await self.server.until(is_primary, within=60)
        return self

    async def stop(self, grace: float = 15) -> None:
        """Shut the server down in order."""
        if self._server is not None:
            await self._server.stop(grace)

    async def restart(self) -> None:
        """Shut down in order and start again on the same port with the same data."""
        await self.stop()
        await self.start()

    def kill(self) -> None:
        """End the server as a power cut would. `start()` brings it back."""
        if self._server is not None:
            self._server.kill()

    def stop_process(self) -> None:
        """Freeze the server: connections stay open and nothing answers, until `continue_process()`."""
        self.server.pause()

    def continue_process(self) -> None:
        self.server.resume()

    async def close(self) -> None:
        """End it at once and remove its temporary folder. For a database whose data nobody needs."""
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
        program, env = programs.mongod()
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        self._port = kept_ports(self.folder / "ports.json", ["mongo"])["mongo"]
        command = [
            *(str(program), "--dbpath", str(data), "--replSet", _SET),
            *("--bind_ip", LOOPBACK, "--port", str(self._port), "--nounixsocket"),
            *("--wiredTigerCacheSizeGB", f"{self._cache_gb:g}", "--oplogSize", "256", "--quiet"),
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
        ]
        self._server = Process("MongoDB", command, log=self._log, env=plain_environment(**env))

    async def _is_primary(self, client: AsyncMongoClient[dict[str, Any]]) -> bool:
        hello = await client.admin.command("hello")
        if hello.get("isWritablePrimary"):
            return True
        here = f"{LOOPBACK}:{self._port}"
        try:
            config = (await client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as error:
            if error.code != _NOT_YET_INITIALIZED:
                raise
            fresh = {"_id": _SET, "members": [{"_id": 0, "host": here}], "settings": {"electionTimeoutMillis": 1000}}
            await client.admin.command("replSetInitiate", fresh)
            return False
        if config["members"][0]["host"] != here:
            # The port of the last start was taken, so this set has moved.
            config["members"][0]["host"] = here
            config["version"] += 1
            await client.admin.command("replSetReconfig", config, force=True)
        return False
