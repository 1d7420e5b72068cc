"""All of Convive on this machine, started in the order in which things need each other and ended the other way."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

from deploy.local import programs, services
from deploy.local.addresses import kept_ports
from deploy.local.broker import Broker
from deploy.local.credentials import kept_credentials, write_privately
from deploy.local.database import Database
from deploy.local.demo import demo_cabinet
from deploy.local.processes import Process
from deploy.local.services import Service, Surroundings
from deploy.local.trouble import CannotStart

_PORTS = ("directory", "invitation", "inbox", "smtp", "bounce")


class Stack:
    """Broker, database, both services, inbox and a demo cabinet, with everything they keep under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._broker: Broker | None = None
        self._database: Database | None = None
        self._services: list[Service] = []

    @property
    def description(self) -> Path:
        """The file that is there when, and only when, everything is ready."""
        return self._folder / "stack.json"

    async def start(self) -> dict[str, Any]:
        """Start everything, write the description and return it. Raises CannotStart."""
        self.description.unlink(missing_ok=True)
        log = self._log_folder()
        credentials = kept_credentials(self._folder / "credentials.json")
        amqp_url, mongo_url = os.environ.get("CONVIVE_AMQP_URL"), os.environ.get("CONVIVE_MONGO_URL")
        # What is missing is installed before anything runs that would have to wait for it.
        if not amqp_url:
            programs.rabbitmq()
            self._broker = Broker(self._folder / "broker", log=log / "broker.log")
        if not mongo_url:
            programs.mongod()
            self._database = Database(self._folder / "database", log=log / "database.log")
        await _all(*(engine.start() for engine in (self._broker, self._database) if engine))

        ports = kept_ports(self._folder / "ports.json", _PORTS)
        around = Surroundings(
            amqp_url=amqp_url or (self._broker.url if self._broker else ""),
            mongo_url=mongo_url or (self._database.url if self._database else ""),
            directory_port=ports["directory"],
            invitation_port=ports["invitation"],
            inbox_port=ports["inbox"],
            smtp_port=ports["smtp"],
            credentials=credentials,
            bounce_port=ports["bounce"],
        )
        self._services = [
            services.invitation(around, log / "invitation.log"),
            services.directory(around, log / "directory.log"),
            services.inbox(around, log / "inbox.log"),
        ]
        await _all(*(service.start() for service in self._services))
        cabinet = await demo_cabinet(around.directory_url, credentials.admin_token, self._folder / "cabinet.json")
        description = {
            "amqp_url": around.amqp_url,
            "mongo_url": around.mongo_url,
            "directory_url": around.directory_url,
            "invitation_url": around.invitation_url,
            "inbox_url": around.inbox_url,
            "smtp_port": around.smtp_port,
            "admin_token": credentials.admin_token,
            "ops_token": credentials.ops_token,
            "cabinet": {"id": cabinet.id, "api_key": cabinet.api_key},
            "staff": {"email": cabinet.staff_email, "password": cabinet.staff_password},
        }
        write_privately(self.description, json.dumps(description, indent=2) + "\n")
        return description

    async def until_something_ends(self) -> str:
        """Wait until a part ends by itself; says which, with its last words."""
        while True:
            for part in self._parts():
                if not part.alive:
                    return f"{part.name} ended with code {part.exit_code}. Its last words:\n{part.last_lines()}"
            await asyncio.sleep(0.5)

    async def stop(self) -> None:
        """The services first, so that they can finish what they have begun; then what they stand on."""
        self.description.unlink(missing_ok=True)
        await _all(*(service.stop() for service in self._services))
        await _all(*(engine.stop() for engine in (self._broker, self._database) if engine))

    def _parts(self) -> list[Process]:
        engines = [engine.server for engine in (self._broker, self._database) if engine]
        return [*(service.process for service in self._services), *engines]

    def _log_folder(self) -> Path:
        """One log per part and start; that of the start before is kept beside it."""
        folder = self._folder / "log"
        folder.mkdir(parents=True, exist_ok=True)
        for log in folder.glob("*.log"):
            log.replace(log.with_suffix(".log.before"))
        return folder


async def _all(*work: Any) -> None:
    """All at once; when one fails, the others are given up and that failure is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except* CannotStart as trouble:
        raise trouble.exceptions[0] from None


async def run(folder: Path) -> int:
    """Run until Ctrl-C, SIGTERM, or the end of a part; returns the exit code."""
    began = time.monotonic()
    stack = Stack(folder)
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    ending = asyncio.create_task(asked.wait())
    code = 0
    try:
        starting = asyncio.create_task(stack.start())
        await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
            return 1
        print(where_to_look(starting.result(), folder, time.monotonic() - began), flush=True)
        watching = asyncio.create_task(stack.until_something_ends())
        await asyncio.wait({watching, ending}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            print(watching.result(), flush=True)
            code = 1
        watching.cancel()
    except CannotStart as trouble:
        print(trouble, flush=True)
        code = 1
    finally:
        print("Stopping …", flush=True)
        await stack.stop()
        ending.cancel()
    return code


def where_to_look(description: dict[str, Any], folder: Path, seconds: float) -> str:
    """What a person who has just started everything wants to know."""
    staff = description["staff"]
    return f"""
Convive is ready ({seconds:.1f} s).

  Firm         {description["directory_url"]}/sign-in    {staff["email"]}, password {staff["password"]}
  Inbox        {description["inbox_url"]}/        the mails and texts that would have gone out
  Directory    {description["directory_url"]}/docs    cabinets, dossiers, members
  Invitation   {description["invitation_url"]}/docs    where every invitation stands

  A demo cabinet has invited three people, one by SMS: open the inbox and click a link.
  Its API key, the tokens, that password and all addresses are in {_short(folder / "stack.json")}.
  Logs are in {_short(folder / "log")}/.
"""


def _short(path: Path) -> str:
    return str(path.relative_to(programs.REPOSITORY)) if path.is_relative_to(programs.REPOSITORY) else str(path)
