"""`/v1/checks`: whether this service has all it needs, and what to do where it has not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
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
from convive_kit.http import Timestamp
from convive_kit.mongo import Client, Database
from convive_kit.routes import Route
from invitation.directory import Directory, DirectoryAway
from invitation.i18n import Phrase, phrase
from invitation.settings import InvitationSettings
from invitation.store.mongo import missing_indexes, write_of_a_majority
from invitation.store.processes import Processes, ProcessSeen

log = structlog.stdlib.get_logger(__name__)

_TIME_LIMIT = 8.0
_SKEW = timedelta(seconds=2)
_DAY = timedelta(days=1)
_MAIL = phrase("Start the mail server, or correct CONVIVE_SMTP_HOST, CONVIVE_SMTP_PORT and what else is set of it.")
_BROKER = phrase("Start the broker, or correct CONVIVE_AMQP_URL.")
_DATABASE = phrase("See that the replica set has a primary, or correct CONVIVE_MONGO_URL.")
_DATABASE_FIRST = phrase("See to the database first.")
_DIRECTORY = phrase("Start the directory, or correct CONVIVE_DIRECTORY_INTERNAL_URL.")
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


class ProcessView(BaseModel):
    id: str
    parts: list[str] = Field(description="web, worker or both.")
    version: str
    started_at: Timestamp
    slots: int = Field(description="Messages it may send at the same time; 0 for one that sends none.")
    busy: int = Field(description="Messages it is sending now.")
    waiting: int = Field(description="Messages it has claimed that wait for a slot.")
    providers: dict[str, bool] = Field(description="By channel, whether it finds that the provider takes messages.")


class Checked(BaseModel):
    ok: bool = Field(description="Whether everything works.")
    checks: list[Check]
    queues: list[QueueView] = Field(description="Empty where the broker does not answer.")
    processes: list[ProcessView] = Field(
        description="Processes of this service heard of lately. Empty where the database does not answer."
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """What one look found, in words for whichever reader; the fields are those of `Check`."""

    name: str
    ok: bool
    detail: Sequence[Phrase]
    what_to_do: Phrase | None = None


@dataclass(frozen=True, slots=True)
class Findings:
    """What all the looks found."""

    found: Sequence[Finding]
    queues: Sequence[QueueView]
    processes: Sequence[ProcessSeen]


class _Failed(Exception):
    """A check that knows better than its name what is to be done."""

    def __init__(self, detail: Phrase, what_to_do: Phrase) -> None:
        super().__init__(str(detail))
        self.detail = detail
        self.what_to_do = what_to_do


class Checks:
    """Looks at everything anew with each call; each look has a time limit of its own."""

    def __init__(
        self,
        settings: InvitationSettings,
        client: Client,
        directory: Directory,
        processes: Processes,
        *,
        now: Callable[[], datetime],
        mail_trouble: Callable[[], Awaitable[str | None]],
    ) -> None:
        """`mail_trouble` goes as far as a mail would, sends none, and returns what stood in the way."""
        self._settings = settings
        self._client = client
        self._database: Database = client[settings.invitation_database]
        self._directory = directory
        self._processes = processes
        self._now = now
        self._mail_trouble = mail_trouble

    def routes(self) -> list[Route]:
        """The call."""
        return [
            Route("GET", "/v1/checks", self._look, "Whether it has all it needs, and what to do", response=Checked,
                  auth="ops_reader"),
        ]  # fmt: skip

    async def _look(self, _: web.Request) -> BaseModel:
        looked = await self.look()
        checks = [
            Check(
                name=one.name,
                ok=one.ok,
                detail=" ".join(str(sentence) for sentence in one.detail),
                what_to_do=str(one.what_to_do) if one.what_to_do else None,
            )
            for one in looked.found
        ]
        return Checked(
            ok=all(check.ok for check in checks),
            checks=checks,
            queues=list(looked.queues),
            processes=[
                ProcessView.model_validate({name: getattr(seen, name) for name in ProcessView.model_fields})
                for seen in looked.processes
            ],
        )

    async def look(self) -> Findings:
        """Everything at once."""
        queues: list[QueueView] = []
        processes: list[ProcessSeen] = []
        looked = await asyncio.gather(
            _timed("broker", partial(self._broker, queues), _BROKER),
            _timed("database", partial(self._writes, processes), _DATABASE),
            _timed("indexes", self._indexes, _DATABASE_FIRST),
            _timed("clock", self._clock, _DATABASE_FIRST),
            _timed("mail server", self._mail, _MAIL),
            _timed("directory", self._accepted, _DIRECTORY),
        )
        found = [*settings_checks(self._settings), *(one for some in looked for one in some)]
        return Findings(found, queues, processes)

    async def _broker(self, queues: list[QueueView]) -> Sequence[Finding]:
        found = await examine(self._settings.amqp_url.get_secret_value())
        queues += [
            QueueView(name=name, waiting=found.waiting[name], readers=readers)
            for name, readers in found.consumers.items()
            if name in _READ_BY
        ]
        idle = [queue for queue in _READ_BY if queue in found.consumers and not found.consumers[queue]]
        commands = [f"python -m {service} --role worker" for service in sorted({_READ_BY[queue] for queue in idle})]
        wrong = [
            *(phrase("%(name)s is missing.", name=name) for name in found.missing),
            *(phrase("%(name)s is different.", name=name) for name in found.different),
        ]
        counts = "; ".join(f"{queue}: {readers} ({found.waiting[queue]})" for queue, readers in found.consumers.items())
        return (
            _fine("broker", phrase("The broker answers.")),
            _verdict("topology", wrong, phrase("Every exchange, queue and binding is there."),
                     phrase("A missing one comes back when any service is restarted. One with other arguments must be"
                            " emptied and deleted by hand, then restart a service.")),
            _verdict("consumers", [phrase("Nobody reads %(queue)s.", queue=queue) for queue in idle],
                     phrase("Consumers by queue, and messages waiting there: %(counts)s.", counts=counts),
                     phrase("Start a worker: %(commands)s", commands=", ".join(commands))),
        )  # fmt: skip

    async def _writes(self, processes: list[ProcessSeen]) -> Sequence[Finding]:
        processes += await self._processes.there(self._now())
        await write_of_a_majority(self._database, datetime.now(UTC))
        return (_fine("database", phrase("A write was kept by a majority.")),)

    async def _indexes(self) -> Sequence[Finding]:
        missing = await missing_indexes(self._database)
        return (
            _verdict("indexes", [phrase("%(name)s is missing.", name=name) for name in missing],
                     phrase("Every index is there."),
                     phrase("Restart a process of the invitation service: it makes what is missing when it starts.")),
        )  # fmt: skip

    async def _clock(self) -> Sequence[Finding]:
        began, before = time.monotonic(), datetime.now(UTC)
        hello: dict[str, Any] = await self._client.admin.command("hello")
        answered = timedelta(seconds=time.monotonic() - began)
        theirs = hello["localTime"].replace(tzinfo=UTC)
        # It was read at some moment between asking and the answer.
        apart = max(before - theirs, theirs - (before + answered), timedelta(0))
        if apart > _SKEW:
            raise _Failed(
                phrase("This machine and the database are %(seconds).1f s apart.", seconds=apart.total_seconds()),
                phrase("Have both keep their time by NTP."),
            )
        return (_fine("clock", phrase("This machine and the database agree on the time.")),)

    async def _mail(self) -> Sequence[Finding]:
        if trouble := await self._mail_trouble():
            raise _Failed(phrase("The mail server takes no mail: %(trouble)s.", trouble=trouble), _MAIL)
        where = f"{self._settings.smtp_host}:{self._settings.smtp_port}"
        return (_fine("mail server", phrase("%(where)s answers; nothing was sent.", where=where)),)

    async def _accepted(self) -> Sequence[Finding]:
        try:
            # A key of nobody: what matters is that the question was allowed.
            await self._directory.cabinet_of_key(f"cvk_{'0' * 32}_{'0' * 16}_nobody")
        except DirectoryAway as error:
            if "401" in error.detail or "403" in error.detail:
                raise _Failed(
                    phrase("It does not accept the service token."),
                    phrase("Give both services the same CONVIVE_SERVICE_TOKEN."),
                ) from None
            raise
        return (_fine("directory", phrase("It answers and accepts the service token.")),)


async def _timed(name: str, look: Callable[[], Awaitable[Sequence[Finding]]], otherwise: Phrase) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(_TIME_LIMIT):
            return await look()
    except _Failed as failed:
        return (Finding(name, False, [failed.detail], failed.what_to_do),)
    except TimeoutError:
        detail = phrase("It did not answer within %(seconds)d seconds.", seconds=_TIME_LIMIT)
    except ConviveError as error:
        detail = phrase("It cannot be reached or used: %(why)s", why=error.detail)
    except Exception as error:
        # The kind only: messages of drivers contain URLs, and those contain passwords.
        log.warning("check.failed", check=name, error=type(error).__name__)
        detail = phrase("It cannot be reached or used: %(why)s", why=type(error).__name__)
    return (Finding(name, False, [detail], otherwise),)


def _fine(name: str, detail: Phrase) -> Finding:
    return Finding(name, True, [detail])


def _verdict(name: str, wrong: Sequence[Phrase], right: Phrase, what_to_do: Phrase) -> Finding:
    return Finding(name, False, wrong, what_to_do) if wrong else _fine(name, right)


def settings_checks(settings: InvitationSettings) -> list[Finding]:
    """What can be said of the settings by reading them: each works, or this service would not have started."""
    far_mail = not _is_this_machine(settings.smtp_host)
    bare_mail = {
        "never": phrase("Mail is handed in unencrypted."),
        "starttls_if_offered": phrase("Mail is handed in unencrypted where TLS is not offered."),
    }
    brief = phrase("Links work for less than a day.")
    nobodys = phrase("Mails come from an address that nobody owns.")
    return [
        _advice("invitation address", _address(settings.invitation_url),
                phrase("Set CONVIVE_INVITATION_URL to the https address that people reach.")),
        _advice("directory address", _address(settings.directory_url),
                phrase("Set CONVIVE_DIRECTORY_URL to the https address that people reach.")),
        _advice("secrets", _doubts(settings),
                phrase("Make each anew from 32 random bytes. Old link keys stay in the list.")),
        _advice("link life", brief if settings.link_life < _DAY else None,
                phrase("Set CONVIVE_LINK_LIFE to several days: people read their mail when they can.")),
        _advice("mail encryption", bare_mail.get(settings.smtp_tls) if far_mail else None,
                phrase("Set CONVIVE_SMTP_TLS to starttls or implicit.")),
        _advice("mail sender", nobodys if settings.mail_from.rpartition("@")[2].endswith("example") else None,
                phrase("Set CONVIVE_MAIL_FROM to an address of a domain of yours.")),
    ]  # fmt: skip


def _advice(name: str, doubt: Phrase | None, what_to_do: Phrase) -> Finding:
    if doubt is None:
        return _fine(name, phrase("Nothing to remark."))
    return Finding(name, True, [doubt], what_to_do)


def _address(url: str) -> Phrase | None:
    parts = urlsplit(url)
    if _is_this_machine(parts.hostname or ""):
        return phrase("%(url)s can be reached from this machine only.", url=url)
    return phrase("%(url)s is not protected by TLS.", url=url) if parts.scheme != "https" else None


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _doubts(settings: InvitationSettings) -> Phrase | None:
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
        return phrase("%(secrets)s: this does not look random.", secrets=", ".join(weak))
    if len(set(secrets.values())) < len(secrets):
        return phrase("The same secret is used for two things.")
    return None
