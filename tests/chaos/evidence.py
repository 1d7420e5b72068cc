"""What is found once the faults are over: the databases, the event log, the queues, and what the links still do."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aio_pika

from convive_contracts import topology
from convive_kit.event_log import EventLog
from tests.chaos.callers import Web
from tests.chaos.ledger import Guest, Ledger
from tests.chaos.sink import MailSink
from tests.chaos.stage import Stage
from tests.chaos.trouble import say

Document = dict[str, Any]
_COLLECTIONS = ("cabinets", "dossiers", "members", "accounts")
_WORK_QUEUES = tuple(queue.name for queue in topology.QUEUES if queue.name != topology.LOG)
_PASSWORDS_TRIED = 400
_AT_THE_SAME_TIME = 4


@dataclass(slots=True)
class Evidence:
    """`log`: each event by its id; `copies`: how often it stands there. `waiting`: what is not at rest, in words, and
    how much of it. `links`, `passwords`: what is wrong with links that must be dead, with passwords that must work.
    `errors`: how often the services logged an error of that name."""

    invitations: dict[str, Document] = field(default_factory=dict[str, Document])
    members: dict[str, Document] = field(default_factory=dict[str, Document])
    accounts: dict[str, Document] = field(default_factory=dict[str, Document])
    sessions: list[Document] = field(default_factory=list[Document])
    parked: list[Document] = field(default_factory=list[Document])
    log: dict[str, Document] = field(default_factory=dict[str, Document])
    copies: dict[str, int] = field(default_factory=dict[str, int])
    waiting: Mapping[str, int] = field(default_factory=dict[str, int])
    links: list[str] = field(default_factory=list[str])
    passwords: list[str] = field(default_factory=list[str])
    exits: Mapping[str, int | None] = field(default_factory=dict[str, int | None])
    errors: Mapping[str, int] = field(default_factory=dict[str, int])


async def until_at_rest(stage: Stage, patience: float) -> Mapping[str, int]:
    """Wait until nothing waits to be done, twice in a row; returns what still waits when that has not become less for
    `patience` seconds."""
    deadline, least = time.monotonic() + patience, sys.maxsize
    quiet = told = 0
    while True:
        waiting = await _waiting(stage)
        quiet = 0 if waiting else quiet + 1
        if (left := sum(waiting.values())) < least:
            deadline, least = time.monotonic() + patience, left
        if quiet == 2 or time.monotonic() > deadline:
            return waiting
        told += 1
        if waiting and told % 10 == 1:
            say(f"           waits: {', '.join(f'{count} {what}' for what, count in waiting.items())}")
        await asyncio.sleep(1)


async def _waiting(stage: Stage) -> Mapping[str, int]:
    invitations = stage.invitations["invitations"]
    hello = await stage.invitations.client.admin.command("hello")
    queries: dict[str, Document] = {
        "invitations with events to publish": {"outbox.0": {"$exists": True}},
        "invitations with a lease": {"lease": {"$exists": True}},
        "invitations with something to send": {"send_at": {"$exists": True}},
        "invitations due in the past": {"due_at": {"$lte": hello["localTime"]}},
        "invitations pending": {"state": "pending", "announced": True, "channel": {"$ne": "none"}},
    }
    found = {what: await invitations.count_documents(query) for what, query in queries.items()}
    for name in _COLLECTIONS:
        found[f"{name} with events to publish"] = await stage.directory[name].count_documents(
            {"outbox.0": {"$exists": True}}
        )
    unfinished = {"unfinished_since": {"$exists": True}}
    found["dossiers unfinished"] = await stage.directory["dossiers"].count_documents(unfinished)
    found |= await queue_lengths(stage)
    return {what: count for what, count in found.items() if count}


async def queue_lengths(stage: Stage) -> Mapping[str, int]:
    """How many messages are ready in each queue; all of them once nobody consumes any more."""
    async with asyncio.timeout(15), await aio_pika.connect(stage.broker.url, timeout=10) as connection:
        channel = await connection.channel()
        underlay = await channel.get_underlay_channel()
        return {
            f"messages in {name}": (await underlay.queue_declare(name, passive=True)).message_count or 0
            for name in _WORK_QUEUES
        }


def logged_errors(stage: Stage) -> Mapping[str, int]:
    """What the services themselves call errors, by name: of interest, and no fault of theirs during an outage."""
    found: Counter[str] = Counter()
    for name in stage.services:
        with (stage.folder / f"{name}.log").open(errors="replace") as log:
            for text in log:
                if '"level":"error"' in text or '"level": "error"' in text:
                    with suppress(ValueError):
                        found[str(json.loads(text).get("event"))] += 1
                elif text.startswith("Traceback"):
                    found["traceback on stderr"] += 1
    return dict(found.most_common())


async def collect(stage: Stage) -> Evidence:
    """Read everything. The system must be at rest."""
    evidence = Evidence()
    evidence.invitations = await _by_id(stage.invitations["invitations"].find({}))
    evidence.members = await _by_id(stage.directory["members"].find({}))
    evidence.accounts = await _by_id(stage.directory["accounts"].find({}))
    evidence.sessions = [session async for session in stage.directory["sessions"].find({})]
    for database in (stage.invitations, stage.directory):
        evidence.parked += [message async for message in database["parked"].find({})]
    log = EventLog(stage.broker.url)
    last = await log.last_offset()
    async for logged in _nothing() if last is None else log.read("first", last):
        try:
            event = json.loads(logged.message.body)
        except ValueError:
            continue  # poison: it went through the exchange like everything
        if isinstance(event, dict) and "id" in event:
            evidence.log.setdefault(event["id"], event)
            evidence.copies[event["id"]] = evidence.copies.get(event["id"], 0) + 1
    return evidence


async def _by_id(found: Any) -> dict[str, Document]:
    return {document["_id"]: document async for document in found}


async def _nothing() -> AsyncGenerator[Any]:
    return
    yield


async def try_links(evidence: Evidence, ledger: Ledger, sink: MailSink, web: Web) -> None:
    """Every link of who was removed, revoked or declined, and every superseded one, must open nothing."""
    guests = {guest.invitation_id: guest for guest in ledger.guests}
    tried: set[str] = set()
    dead: list[tuple[str, str]] = []
    for mail in sink.mails:
        invitation, guest = evidence.invitations.get(mail.invitation_id), guests.get(mail.invitation_id)
        if invitation is None or guest is None or mail.token in tried:
            continue
        tried.add(mail.token)
        # Somebody who is in finds their way from any old link.
        over = guest.removed or guest.revoked or invitation["state"] in ("revoked", "declined")
        if over or (mail.link_sequence != invitation["link_sequence"] and invitation["state"] not in _IN):
            dead.append((mail.token, f"link {mail.link_sequence} of guest {guest.number} ({guest.story})"))

    async def try_one(token: str, whose: str) -> None:
        looked = await web.call("invitation", "GET", f"/i/{token}")
        chosen = await web.call(
            "invitation", "POST", f"/i/{token}/password", json={"password": "galet mouette fougère tambour 17"}
        )
        if looked.status != 410 or chosen.status != 410:
            evidence.links.append(f"{whose}: {looked.status} to a look, {chosen.status} to a password")

    await _side_by_side([try_one(*each) for each in dead])


_IN = ("password_set", "active")


async def try_passwords(evidence: Evidence, ledger: Ledger, web: Web) -> None:
    """What was told to be set must work and what was refused must not: of all who raced, and of many others."""
    having = [guest for guest in ledger.guests if guest.told_passwords]
    having.sort(key=lambda guest: guest.story not in ("racer", "returned"))

    async def try_one(guest: Guest) -> None:
        for password in guest.told_passwords:
            await _try_password(evidence, guest, web, password, right=True)
        for password in guest.refused_passwords:
            await _try_password(evidence, guest, web, password, right=False)

    await _side_by_side([try_one(guest) for guest in having[:_PASSWORDS_TRIED]])


async def _try_password(evidence: Evidence, guest: Guest, web: Web, password: str, *, right: bool) -> None:
    credentials = {"email": guest.email, "password": password}
    answer = await web.call("directory", "POST", "/v1/sessions", json=credentials)
    if answer.status != (201 if right else 401):
        said = "was told to be set and does not work" if right else "was refused and works"
        evidence.passwords.append(f"a password of guest {guest.number} ({guest.story}) {said}: {answer.status}")


async def _side_by_side(work: Sequence[Any]) -> None:
    places = asyncio.Semaphore(_AT_THE_SAME_TIME)

    async def one(each: Any) -> None:
        async with places:
            await each

    await asyncio.gather(*map(one, work))
