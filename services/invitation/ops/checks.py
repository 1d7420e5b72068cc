"""`/v1/checks`: whether this service has all it needs, and what to do where it has not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from pydantic import BaseModel, Field

from convive_contracts import topology
from convive_kit.bus_examined import examine
from convive_kit.errors import ConviveError
from convive_kit.mongo import Client, Database
from convive_kit.routes import Route
from invitation.directory import Directory, DirectoryAway
from invitation.settings import InvitationSettings
from invitation.store.mongo import missing_indexes, write_of_a_majority

log = structlog.stdlib.get_logger(__name__)

_TIME_LIMIT = 8.0
_SKEW = timedelta(seconds=2)
_DAY = timedelta(days=1)
_MAIL = "Start the mail server, or correct CONVIVE_SMTP_HOST, CONVIVE_SMTP_PORT and what else is set of it."
_READ_BY = {
    topology.INVITATION_EVENTS: "invitation",
    topology.INVITATION_BULK: "invitation",
    topology.INVITATION_PARKED: "invitation",
    topology.DIRECTORY_EVENTS: "directory",
    topology.DIRECTORY_PARKED: "directory",
}
_LOOKS_INVENTED = ("change", "secret", "example", "default", "password", "12345", "abcde", "test")
_FEW_DIFFERENT = 8


class Check(BaseModel):
    name: str
    ok: bool = Field(description="Whether it works. With `what_to_do` beside it: it does, but should not stay so.")
    detail: str
    what_to_do: str | None = None


class QueueView(BaseModel):
    name: str
    waiting: int = Field(description="Messages that nobody has taken yet.")
    readers: int = Field(description="Workers attached to it.")


class Checked(BaseModel):
    ok: bool = Field(description="Whether everything works.")
    checks: list[Check]
    queues: list[QueueView] = Field(description="Empty where the broker does not answer.")


class _Failed(Exception):
    """A check that knows better than its name what is to be done."""

    def __init__(self, detail: str, what_to_do: str) -> None:
        super().__init__(detail)
        self.detail = detail
        self.what_to_do = what_to_do


class Checks:
    """Looks at everything anew with each call; each look has a time limit of its own."""

    def __init__(
        self,
        settings: InvitationSettings,
        client: Client,
        directory: Directory,
        *,
        mail_trouble: Callable[[], Awaitable[str | None]],
    ) -> None:
        """`mail_trouble` goes as far as a mail would, sends none, and returns what stood in the way."""
        self._settings = settings
        self._client = client
        self._database: Database = client[settings.invitation_database]
        self._directory = directory
        self._mail_trouble = mail_trouble

    def routes(self) -> list[Route]:
        """The call."""
        return [
            Route("GET", "/v1/checks", self._look, "Whether it has all it needs, and what to do", response=Checked,
                  auth="ops_reader"),
        ]  # fmt: skip

    async def _look(self, _: web.Request) -> BaseModel:
        return await self.look()

    async def look(self) -> Checked:
        """Everything at once."""
        queues: list[QueueView] = []
        looked = await asyncio.gather(
            _timed("broker", partial(self._broker, queues), "Start the broker, or correct CONVIVE_AMQP_URL."),
            _timed("database", self._writes, "See that the replica set has a primary, or correct CONVIVE_MONGO_URL."),
            _timed("indexes", self._indexes, "See to the database first."),
            _timed("clock", self._clock, "See to the database first."),
            _timed("mail server", self._mail, _MAIL),
            _timed("directory", self._accepted, "Start the directory, or correct CONVIVE_DIRECTORY_INTERNAL_URL."),
        )
        checks = [*settings_checks(self._settings), *(check for some in looked for check in some)]
        return Checked(ok=all(check.ok for check in checks), checks=checks, queues=queues)

    async def _broker(self, queues: list[QueueView]) -> Sequence[Check]:
        found = await examine(self._settings.amqp_url.get_secret_value())
        queues += [
            QueueView(name=name, waiting=found.waiting[name], readers=readers)
            for name, readers in found.consumers.items()
            if name in _READ_BY
        ]
        idle = [queue for queue in _READ_BY if queue in found.consumers and not found.consumers[queue]]
        services = " and ".join(sorted({_READ_BY[queue] for queue in idle}))
        wrong = [
            *(f"{name} is missing" for name in found.missing),
            *(f"{name} is different" for name in found.different),
        ]
        counts = [f"{queue}: {found.consumers[queue]}, {found.waiting[queue]} waiting" for queue in found.consumers]
        return (
            Check(name="broker", ok=True, detail="The broker answers."),
            _verdict("topology", wrong, "Every exchange, queue and binding is there.",
                     "A missing one comes back when any service is restarted. One with other arguments must be emptied"
                     " and deleted by hand, then restart a service."),
            _verdict("consumers", [f"nobody reads {queue}" for queue in idle],
                     f"Consumers by queue: {'; '.join(counts)}.",
                     f"Start a worker: python -m {services or 'invitation'} --role worker."),
        )  # fmt: skip

    async def _writes(self) -> Sequence[Check]:
        await write_of_a_majority(self._database, datetime.now(UTC))
        return (Check(name="database", ok=True, detail="A write was kept by a majority."),)

    async def _indexes(self) -> Sequence[Check]:
        missing = await missing_indexes(self._database)
        return (
            _verdict("indexes", [f"{name} is missing" for name in missing], "Every index is there.",
                     "Restart a process of the invitation service: it makes what is missing when it starts."),
        )  # fmt: skip

    async def _clock(self) -> Sequence[Check]:
        began, before = time.monotonic(), datetime.now(UTC)
        hello: dict[str, Any] = await self._client.admin.command("hello")
        answered = timedelta(seconds=time.monotonic() - began)
        theirs = hello["localTime"].replace(tzinfo=UTC)
        # It was read at some moment between asking and the answer.
        apart = max(before - theirs, theirs - (before + answered), timedelta(0))
        if apart > _SKEW:
            raise _Failed(
                f"This machine and the database are {apart.total_seconds():.1f} s apart.",
                "Have both keep their time by NTP.",
            )
        return (Check(name="clock", ok=True, detail="This machine and the database agree on the time."),)

    async def _mail(self) -> Sequence[Check]:
        if trouble := await self._mail_trouble():
            raise _Failed(f"There is {trouble}.", _MAIL)
        where = f"{self._settings.smtp_host}:{self._settings.smtp_port}"
        return (Check(name="mail server", ok=True, detail=f"{where} answers; nothing was sent."),)

    async def _accepted(self) -> Sequence[Check]:
        try:
            # A key of nobody: what matters is that the question was allowed.
            await self._directory.cabinet_of_key(f"cvk_{'0' * 32}_{'0' * 16}_nobody")
        except DirectoryAway as error:
            if "401" in error.detail or "403" in error.detail:
                raise _Failed(error.detail, "Give both services the same CONVIVE_SERVICE_TOKEN.") from None
            raise
        return (Check(name="directory", ok=True, detail="It answers and accepts the service token."),)


async def _timed(name: str, look: Callable[[], Awaitable[Sequence[Check]]], otherwise: str) -> Sequence[Check]:
    try:
        async with asyncio.timeout(_TIME_LIMIT):
            return await look()
    except _Failed as failed:
        return (Check(name=name, ok=False, detail=failed.detail, what_to_do=failed.what_to_do),)
    except TimeoutError:
        detail = f"It did not answer within {_TIME_LIMIT:.0f} seconds."
    except ConviveError as error:
        detail = error.detail
    except Exception as error:
        # The kind only: messages of drivers contain URLs, and those contain passwords.
        log.warning("check.failed", check=name, error=type(error).__name__)
        detail = f"It cannot be reached or used: {type(error).__name__}."
    return (Check(name=name, ok=False, detail=detail, what_to_do=otherwise),)


def _verdict(name: str, wrong: Sequence[str], right: str, what_to_do: str) -> Check:
    if not wrong:
        return Check(name=name, ok=True, detail=right)
    return Check(name=name, ok=False, detail=f"{'; '.join(wrong).capitalize()}.", what_to_do=what_to_do)


def settings_checks(settings: InvitationSettings) -> list[Check]:
    """What can be said of the settings by reading them: each works, or this service would not have started."""
    far_mail = not _is_this_machine(settings.smtp_host)
    return [
        _advice("invitation address", _address(settings.invitation_url),
                "Set CONVIVE_INVITATION_URL to the https address that people reach."),
        _advice("directory address", _address(settings.directory_url),
                "Set CONVIVE_DIRECTORY_URL to the https address that people reach."),
        _advice("secrets", _doubts(settings), "Make each anew from 32 random bytes. Old link keys stay in the list."),
        _advice("link life", "Links work for less than a day." if settings.link_life < _DAY else None,
                "Set CONVIVE_LINK_LIFE to several days: people read their mail when they can."),
        _advice("mail encryption", {"never": "Mail is handed in unencrypted.",
                                    "starttls_if_offered": "Mail is handed in unencrypted where TLS is not offered."}
                .get(settings.smtp_tls) if far_mail else None,
                "Set CONVIVE_SMTP_TLS to starttls or implicit."),
        _advice("mail sender", "Mails come from an address that nobody owns."
                if settings.mail_from.rpartition("@")[2].endswith("example") else None,
                "Set CONVIVE_MAIL_FROM to an address of a domain of yours."),
    ]  # fmt: skip


def _advice(name: str, doubt: str | None, what_to_do: str) -> Check:
    return Check(
        name=name, ok=True, detail=doubt or "Nothing to remark.", what_to_do=what_to_do if doubt is not None else None
    )


def _address(url: str) -> str | None:
    parts = urlsplit(url)
    if _is_this_machine(parts.hostname or ""):
        return f"{url} can be reached from this machine only."
    return f"{url} is not protected by TLS." if parts.scheme != "https" else None


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _doubts(settings: InvitationSettings) -> str | None:
    secrets = {
        "CONVIVE_SERVICE_TOKEN": settings.service_token.get_secret_value(),
        "CONVIVE_OPS_TOKEN": settings.ops_token.get_secret_value(),
        **{f"CONVIVE_LINK_KEYS ({place})": key.get_secret_value() for place, key in enumerate(settings.link_keys, 1)},
    }
    weak = [
        name
        for name, secret in secrets.items()
        if len(set(secret)) < _FEW_DIFFERENT or any(word in secret.lower() for word in _LOOKS_INVENTED)
    ]
    if weak:
        return f"{', '.join(weak)}: this does not look random."
    return "The same secret is used for two things." if len(set(secrets.values())) < len(secrets) else None
