"""The composition root: everything is made here, and handed to whoever needs it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Literal
from uuid import uuid4

from convive_contracts.topology import DIRECTORY_EVENTS, DIRECTORY_PARKED
from convive_kit.bus import Bus, BusAway
from convive_kit.edge import Render, make_app
from convive_kit.event_log import EventLog
from convive_kit.feed import Feed
from convive_kit.group_commit import GroupCommit
from convive_kit.http import problem_response
from convive_kit.logs import get_logger
from convive_kit.metrics import OUTBOX, outbox_reading, parked_reading
from convive_kit.metrics import PARKED as PARKED_NOW
from convive_kit.mongo import DatabaseAway, DatabaseClock, close_client, open_client, ping
from convive_kit.openapi import About
from convive_kit.parked import ParkedMessages
from convive_kit.parked_routes import OwnPlace, ParkedRoutes
from convive_kit.parking import Parking
from convive_kit.process import Process
from convive_kit.rate_limit import Limiter
from convive_kit.retention import Retention
from convive_kit.routes import Guard, Route
from convive_kit.version import installed_version
from directory.admission import Admission
from directory.announcements import InvitationNews, announce_some, entries
from directory.api.announcing import Announcing
from directory.api.answers import answering
from directory.api.cabinets import Cabinets
from directory.api.callers import Callers
from directory.api.capabilities import Capabilities
from directory.api.dossiers import Dossiers
from directory.api.imports import ImportRoutes
from directory.api.internal import Internal
from directory.api.members import Members
from directory.api.password_resets import PasswordResets
from directory.api.sessions import Sessions
from directory.api.staff import StaffRoutes
from directory.browsers import KnownBrowsers
from directory.digest import DigestLetters, Digests
from directory.entrance import Entrance
from directory.erasure import Erasure
from directory.imports.importing import Importer, Importing
from directory.invitation_service import InvitationService
from directory.letters.letters import Letters
from directory.letters.postman import Postman, Writer
from directory.letters.stationery import Stationery
from directory.membership import Membership
from directory.metrics import DirectoryMetrics
from directory.password_links import PasswordLinks
from directory.passwords import Passwords
from directory.resets import Resets
from directory.settings import DirectorySettings
from directory.staff import INVITED, Staff, StaffLetters
from directory.store.imports import Imports
from directory.store.mongo import MongoStore
from directory.throttle import Throttle
from directory.web import wording
from directory.web.clients import ClientPages
from directory.web.desk import Desk
from directory.web.digest_pages import DigestPages
from directory.web.entry import EntryPages
from directory.web.face_pages import FacePages
from directory.web.frame import Frame
from directory.web.import_pages import ImportPages
from directory.web.live import FAMILIES, Live
from directory.web.password_pages import PasswordPages
from directory.web.session_pages import SessionPages
from directory.web.team import TeamPages
from directory.web.users import UserPages
from directory.web.visitors import Visitors

Part = Literal["web", "worker"]
ROLES: dict[str, Sequence[Part]] = {"web": ("web",), "worker": ("worker",), "both": ("web", "worker")}

PARKED = "parked"
_PREFETCH = 200
_TIME_LIMIT = timedelta(seconds=15)

log = get_logger(__name__)


async def start(process: Process, settings: DirectorySettings, parts: Sequence[Part]) -> int:
    """Start the parts of one process and return the port it listens on.

    It listens at once and goes on preparing until the database is there: `/readyz` tells the difference.
    """
    metrics = DirectoryMetrics()
    client = open_client(settings.mongo_url.get_secret_value())
    process.on_stop("database", lambda: close_client(client))
    database = client[settings.directory_database]
    clock = DatabaseClock(client)
    bus = Bus(settings.amqp_url.get_secret_value(), taken=metrics.taken, published=metrics.published)
    store = MongoStore(database, bus=bus, entries_of=entries(clock.now), now=clock.now, observe=metrics.groups_of)
    letters = Letters(database, clock.now)
    membership = Membership(store, clock.now, retired=settings.retired_roles)
    password_links = PasswordLinks(
        store, settings.signing_keys, settings.directory_url, clock.now, life=settings.password_link_life
    )
    digest_letters = DigestLetters(store, settings.signing_keys, settings.directory_url)
    parked = ParkedMessages(database[PARKED])
    # Stopped from the last to the first: requests, sweepers, consumers, announcements, the bus, then what they wrote.
    process.on_stop("writes", store.drain)
    process.spawn("clock", clock.run())
    imports = Imports(database)
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    importer = Importer(imports, store, membership, owner=owner, now=clock.now, announced=store.announced)
    erasure = Erasure(store, imports, letters, parked, clock.now)
    news = InvitationNews(store, erasure.erase, clock.now)
    if "worker" in parts:
        parked_commit = GroupCommit(database[PARKED], observe=metrics.groups_of(PARKED))
        parking = Parking(parked_commit, now=clock.now, step="directory")
        bus.consume(DIRECTORY_EVENTS, news.handle, park=parking.park, prefetch=_PREFETCH)
        bus.consume(DIRECTORY_PARKED, parking.keep_dead_letter, park=parking.park, prefetch=_PREFETCH)
    metrics.watch(bus)
    metrics.readings.fill(OUTBOX, outbox_reading({kind: database[kind] for kind in store.relays}, clock.now))
    metrics.readings.fill(PARKED_NOW, parked_reading(parked.numbers))
    process.spawn("bus", bus.run())
    process.on_stop("announcements", store.drain)
    process.on_stop("consumers", bus.drain)

    routes: Sequence[Route] = ()
    guards: Sequence[Guard] = ()
    render: Render = problem_response
    if "web" in parts:
        limiter = Limiter(settings.mongo_url.get_secret_value(), settings.directory_database)
        process.on_stop("limiter", _closing(limiter.close))
        passwords = Passwords(
            threads=settings.password_threads, refused=metrics.password_refused, hashed=metrics.password_hashed
        )
        metrics.watch_passwords(passwords)
        process.on_stop("passwords", _closing(passwords.close))
        known_browsers = KnownBrowsers(settings.signing_keys)
        entrance = Entrance(
            store,
            membership,
            passwords,
            Throttle(
                limiter,
                known_browsers,
                per_account=settings.sign_in_limit_account,
                per_address=settings.sign_in_limit_address,
            ),
            clock.now,
            session_life=settings.session_life,
            service_token=settings.service_token.get_secret_value(),
        )
        resets = Resets(store, membership, password_links, passwords, letters, limiter, clock.now)
        own = OwnPlace(parked, handle=lambda message, _by, _reason: news.handle(message), now=clock.now)
        callers = Callers(store, entrance, admin_token=settings.admin_token, service_token=settings.service_token)
        admission = Admission(store, membership, clock.now)
        importing = Importing(imports, store, clock.now)
        staff = Staff(store, passwords, letters, limiter, clock.now)
        invitation_service = InvitationService(
            settings.invitation_internal_url or settings.invitation_url, settings.service_token.get_secret_value()
        )
        process.on_stop("invitation service", invitation_service.close)
        frame = Frame(settings)
        visitors = Visitors(entrance, known_browsers, settings)
        desk = Desk(frame, visitors, store, clock.now)
        feed = Feed(EventLog(settings.amqp_url.get_secret_value()), families=FAMILIES, now=clock.now)
        process.spawn("event feed", feed.run(process.stopping))
        pages = (
            frame,
            EntryPages(frame, visitors, entrance, membership, settings),
            PasswordPages(frame, visitors, resets, settings),
            SessionPages(frame, visitors, entrance),
            Live(feed, desk, store),
            ImportPages(frame, desk, imports, importing, importer.wake),
            ClientPages(frame, desk, store, membership, admission),
            UserPages(frame, desk, store, membership, admission),
            TeamPages(frame, desk, store, staff),
            FacePages(frame, desk, store, invitation_service),
            DigestPages(frame, desk, store, digest_letters),
        )
        resources = (
            Cabinets(store, clock.now),
            StaffRoutes(store, staff),
            Announcing(partial(announce_some, store)),
            Capabilities(store, entrance, retired=settings.retired_roles, labels=wording.role_labels()),
            Dossiers(store, membership, admission, callers),
            Members(store, membership, admission, callers),
            ImportRoutes(imports, importing, clock.now, importer.wake),
            Sessions(entrance, membership, settings.trusted_proxies),
            PasswordResets(resets, settings.trusted_proxies),
            Internal(store, entrance, membership, erasure, callers),
            ParkedRoutes("/internal/v1/parked", [own], looks="service", acts="service"),
        )
        routes = [
            *answering([route for resource in resources for route in resource.routes()]),
            *(route for page in pages for route in page.routes()),
        ]
        guards = callers.guards
        render = frame.problem

    prepared = asyncio.Event()

    async def database_usable() -> None:
        await ping(client)
        if not prepared.is_set():
            raise DatabaseAway

    async def bus_usable() -> None:
        if not bus.healthy:
            raise BusAway

    app = make_app(
        About("Convive directory", installed_version(), "Cabinets, dossiers, members, accounts and sessions."),
        routes,
        guards=guards,
        checks={"database": database_usable, "bus": bus_usable},
        metrics=metrics,
        time_limit=_TIME_LIMIT,
        render=render,
    )
    port = await process.serve(app, settings.directory_host, settings.directory_port)
    digests = Digests(database, store, letters, clock.now)
    await _prepare(clock, store, parked, letters, imports, digests)
    prepared.set()
    if "worker" in parts:
        process.spawn("membership", membership.run())
        process.spawn("imports", importer.run())
        writers: dict[str, Writer] = {
            "password_reset": password_links.reset_letter,
            "password_changed": password_links.changed_letter,
            "digest": digest_letters.write,
            INVITED: StaffLetters(store, password_links, settings.directory_url).invited,
        }
        postman = Postman(
            letters,
            writers,
            Stationery(settings.mail_from),
            settings.smtp_server,
            clock.now,
            first_backoff=settings.first_backoff,
        )
        process.spawn("letters", postman.run())
        process.spawn("digests", digests.run())
        for kind, relay in store.relays.items():
            process.spawn(f"outbox of {kind}", relay.run())
        if settings.retention is not None:
            retention = Retention(
                settings.retention,
                over=lambda before, limit: store.removed_before(before, limit=limit),
                forget=lambda member, _: erasure.forget(member),
                drop=[parked.drop],
                now=clock.now,
            )
            process.spawn("retention", retention.run())
    return port


async def _prepare(clock: DatabaseClock, *stores: MongoStore | ParkedMessages | Letters | Imports | Digests) -> None:
    while True:
        try:
            await clock.measure()
            for store in stores:
                await store.prepare()
        except DatabaseAway:
            log.warning("database.away")
            await asyncio.sleep(1)
        else:
            return


def _closing(close: Callable[[], None]) -> Callable[[], Awaitable[None]]:
    async def stop() -> None:
        close()

    return stop
