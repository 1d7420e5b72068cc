"""Starts Convive's own programs as children: the two services and the inbox."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from deploy.local.addresses import LOOPBACK
from deploy.local.credentials import Credentials
from deploy.local.processes import Process, plain_environment
from deploy.local.programs import REPOSITORY


@dataclass(frozen=True)
class Surroundings:
    """Everything the services must be told: where the engines are, where they themselves listen, the secrets."""

    amqp_url: str
    mongo_url: str
    directory_port: int
    invitation_port: int
    inbox_port: int
    smtp_port: int
    credentials: Credentials
    bounce_port: int = 0
    """Where what cannot be delivered comes back to; 0: nowhere."""

    @property
    def directory_url(self) -> str:
        return f"http://{LOOPBACK}:{self.directory_port}"

    @property
    def invitation_url(self) -> str:
        return f"http://{LOOPBACK}:{self.invitation_port}"

    @property
    def inbox_url(self) -> str:
        return f"http://{LOOPBACK}:{self.inbox_port}"

    def environment(self) -> dict[str, str]:
        """One for both services: each reads what is its own. What the caller set besides is passed on."""
        given = {name: value for name, value in os.environ.items() if name.startswith("CONVIVE_")}
        # Whoever tries an SMS at night must see it, however often it is the same number: none of them costs anything.
        usual = {"CONVIVE_QUIET_FROM": "00:00", "CONVIVE_QUIET_UNTIL": "00:00"}
        usual |= {"CONVIVE_SMS_LIMIT_NUMBER": "100000", "CONVIVE_SMS_LIMIT_FIRM": "1000000"}
        if self.bounce_port:
            usual["CONVIVE_BOUNCE_DOMAIN"] = "bounces.convive.example"
            usual["CONVIVE_BOUNCE_LISTEN"] = f"smtp://{LOOPBACK}:{self.bounce_port}"
        usual |= given
        return usual | plain_environment(
            PYTHONUNBUFFERED="1",
            CONVIVE_AMQP_URL=self.amqp_url,
            CONVIVE_MONGO_URL=self.mongo_url,
            CONVIVE_DIRECTORY_HOST=LOOPBACK,
            CONVIVE_DIRECTORY_PORT=str(self.directory_port),
            CONVIVE_DIRECTORY_URL=self.directory_url,
            CONVIVE_INVITATION_HOST=LOOPBACK,
            CONVIVE_INVITATION_PORT=str(self.invitation_port),
            CONVIVE_INVITATION_URL=self.invitation_url,
            CONVIVE_SMTP_HOST=LOOPBACK,
            CONVIVE_SMTP_PORT=str(self.smtp_port),
            CONVIVE_SMTP_TLS="never",
            CONVIVE_SMS_PROVIDER="generic",
            CONVIVE_SMS_URL=f"{self.inbox_url}/sms/messages",
            CONVIVE_SMS_TOKEN=self.credentials.sms_token,
            CONVIVE_SMS_SIGNING_KEY=self.credentials.sms_signing_key,
            CONVIVE_ADMIN_TOKEN=self.credentials.admin_token,
            CONVIVE_OPS_TOKEN=self.credentials.ops_token,
            CONVIVE_SERVICE_TOKEN=self.credentials.service_token,
            CONVIVE_LINK_KEYS=self.credentials.link_key,
        )


class Service:
    """A child that says over HTTP when it is ready."""

    def __init__(self, name: str, arguments: list[str], *, url: str, env: dict[str, str], log: Path) -> None:
        self.url = url
        self.process = self._new(name, arguments, env, log)

    def _new(self, name: str, arguments: list[str], env: dict[str, str], log: Path) -> Process:
        return Process(name, [sys.executable, "-m", *arguments], log=log, env=env, cwd=REPOSITORY)

    async def start(self) -> None:
        """Start it and wait until it answers /readyz with 200. Raises CannotStart with the end of its log."""
        self.process.start()
        await self.process.until(self._ready, within=60)

    async def stop(self, grace: float = 15) -> None:
        """Ask it to finish what it has begun and end."""
        await self.process.stop(grace)

    async def _ready(self) -> bool:
        try:
            async with asyncio.timeout(2):
                async with aiohttp.ClientSession() as session:
                    async with session.get(f"{self.url}/readyz") as response:
                        return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False


def directory(around: Surroundings, log: Path, **settings: str) -> Service:
    """`settings` are environment variables besides."""
    env = around.environment() | settings
    return Service("The directory service", ["directory"], url=around.directory_url, env=env, log=log)


def invitation(around: Surroundings, log: Path, **settings: str) -> Service:
    """`settings` are environment variables besides."""
    env = around.environment() | settings
    return Service("The invitation service", ["invitation"], url=around.invitation_url, env=env, log=log)


def inbox(around: Surroundings, log: Path, kind: type[Service] = Service) -> Service:
    ports = ["--http-port", str(around.inbox_port), "--smtp-port", str(around.smtp_port)]
    ports += ["--bounce-port", str(around.bounce_port)]
    arguments = ["deploy.local.inbox", "--host", LOOPBACK, *ports]
    env = plain_environment(CONVIVE_SMS_SIGNING_KEY=around.credentials.sms_signing_key)
    return kind("The inbox", arguments, url=around.inbox_url, env=env, log=log)
