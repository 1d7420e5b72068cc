"""Both services on the engines they are given, a mail server that takes everything, and a look at what came of it."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from convive_kit.event_log import EventLog
from deploy.local import services
from deploy.local.addresses import free_port
from deploy.local.credentials import Credentials
from deploy.local.services import Surroundings
from tests.chaos.rules import facts, illegal
from tests.chaos.sink import MailSink
from tests.cluster.load import Load
from tests.speaking import until

SLOTS = 96
"""Messages that the service sends at the same time."""
_DATABASE = "convive_invitation"


@dataclass(slots=True)
class Found:
    """`sent`: when each invitation's mail was taken, as its history tells, by id. `doubled`: mails that came again;
    `log_copies`: events that were published again; `saved_again`: outcomes noted twice, of which one is a mere note.
    `faults`: what must not be."""

    sent: dict[str, datetime] = field(default_factory=dict[str, datetime])
    mails: int = 0
    doubled: int = 0
    log_copies: int = 0
    saved_again: int = 0
    faults: list[str] = field(default_factory=list[str])


class Site:
    """The product under a load."""

    def __init__(self, folder: Path, *, amqp_urls: Sequence[str], mongo_url: str, lease: str | None = None) -> None:
        """`lease`: as in CONVIVE_DELIVERY_LEASE; the default's if not given."""
        self.sink = MailSink(1)
        self.mongo_url = mongo_url
        self._folder = folder
        self._amqp_urls = amqp_urls
        self._settings = {
            "CONVIVE_DIRECTORY_DATABASE": "convive_directory",
            "CONVIVE_INVITATION_DATABASE": _DATABASE,
            "CONVIVE_DELIVERY_SLOTS": str(SLOTS),
        }
        if lease:
            self._settings["CONVIVE_DELIVERY_LEASE"] = lease

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Site]:
        """Both services, ready; ended afterwards, and in order if all went well."""
        await self.sink.start()
        ports: list[int] = []
        for _ in range(2):
            ports.append(free_port([*ports, self.sink.port]))
        around = Surroundings(
            amqp_url=",".join(self._amqp_urls),
            mongo_url=self.mongo_url,
            directory_port=ports[0],
            invitation_port=ports[1],
            inbox_port=0,
            smtp_port=self.sink.port,
            credentials=Credentials.new(),
        )
        both = [
            services.directory(around, self._folder / "directory.log", **self._settings),
            services.invitation(around, self._folder / "invitation.log", **self._settings),
        ]
        try:
            await asyncio.gather(*(service.start() for service in both))
            yield self
            await asyncio.gather(*(service.stop() for service in both))
            for service in both:
                assert service.process.exit_code == 0, service.process.last_lines()
        finally:
            for service in both:
                service.process.kill()
            await self.sink.stop()

    async def until_done(self, load: Load, *, within: float) -> None:
        """Wait until all that was published has been sent, and all that followed from it is announced."""
        done = {"state": "sent", "outbox": []}
        async with AsyncMongoClient[dict[str, Any]](self.mongo_url, timeoutMS=10_000) as client:
            invitations = client[_DATABASE]["invitations"]

            async def all_sent() -> bool:
                return await invitations.count_documents(done) >= load.count

            try:
                await until(all_sent, within=within, what=f"{load.count} invitations sent and announced", every=0.2)
            except pytest.fail.Exception as failed:
                states = Counter([each["state"] async for each in invitations.find({}, {"state": 1})])
                failed.add_note(f"{dict(states)}, {await invitations.count_documents(done)} of them announced")
                for service in ("directory", "invitation"):
                    failed.add_note(f"{service}: …{(self._folder / f'{service}.log').read_text()[-5000:]}")
                raise

    async def look(self, load: Load) -> Found:
        """Hold what is there against what was published."""
        found = Found(mails=len(self.sink.mails))
        async with AsyncMongoClient[dict[str, Any]](self.mongo_url, tz_aware=True, timeoutMS=20_000) as client:
            database = client[_DATABASE]
            invitations = {each["_id"]: each async for each in database["invitations"].find({})}
            found.faults += [f"parked: {each['slug']}" async for each in database["parked"].find({})]
        for id in load.wanted.keys() - invitations.keys():
            found.faults.append(f"no invitation {id}, whose event was published")
        for id, invitation in invitations.items():
            if id not in load.wanted:
                found.faults.append(f"invitation {id}, which nobody asked for")
            found.faults += [f"invitation {id}: {step}" for step in illegal(invitation["history"], invitation["state"])]
            taken = [step["at"] for step in invitation["history"] if step["trigger"] == "accepted"]
            # Whoever could not know whether an outcome was saved saves it again: then it is a note, and no fact.
            if invitation["state"] != "sent" or list(facts(invitation["history"])) != ["sent"]:
                found.faults.append(
                    f"invitation {id} is {invitation['state']}: {', '.join(facts(invitation['history']))}"
                )
            found.saved_again += len(taken) > 1
            if taken:
                found.sent[id] = taken[0]
        self.look_at_mails(load, found)
        await self._log(load, found)
        return found

    def look_at_mails(self, load: Load, found: Found) -> None:
        """Whether each invitation's mail has come, to whom it was meant for."""
        copies = Counter(mail.invitation_id for mail in self.sink.mails)
        found.doubled = sum(copies.values()) - len(copies)
        found.faults += [f"no mail of invitation {id}" for id in load.wanted.keys() - copies.keys()]
        found.faults += [
            f"a mail of {mail.invitation_id} to {mail.to}"
            for mail in self.sink.mails
            if load.wanted.get(mail.invitation_id) != mail.to
        ]
        if self.sink.unreadable:
            found.faults.append(f"{len(self.sink.unreadable)} mails without a link or a Message-ID")

    async def _log(self, load: Load, found: Found) -> None:
        told: dict[str, set[str]] = {}
        log = EventLog(",".join(self._amqp_urls))
        last = await log.last_offset()
        assert last is not None
        async for logged in log.read("first", last):
            event = json.loads(logged.message.body)
            if event["type"] == "convive.invitation.sent.v1":
                ids = told.setdefault(event["data"]["invitation_id"], set())
                found.log_copies += event["id"] in ids
                ids.add(event["id"])
        found.faults += [f"invitation.sent of {id} was not published" for id in load.wanted.keys() - told.keys()]
        found.faults += [f"invitation.sent of {id}: {len(ids)} events" for id, ids in told.items() if len(ids) > 1]
