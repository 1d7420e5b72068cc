"""The composition root: everything is made here, and handed to whoever needs it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import time, timedelta
from functools import partial
from typing import Any, Literal
from uuid import uuid4

from aiohttp import web
from pydantic import SecretStr

from convive_contracts import topology
from convive_kit.auth import holder_of
from convive_kit.bus import Bus, BusAway
from convive_kit.days_off import is_holiday
from convive_kit.edge import make_app
from convive_kit.event_log import EventLog
from convive_kit.feed import Feed
from convive_kit.group_commit import GroupCommit
from convive_kit.http import Problem, problem_response
from convive_kit.logs import get_logger
from convive_kit.metrics import OUTBOX, outbox_reading, parked_reading
from convive_kit.metrics import PARKED as PARKED_NOW
from convive_kit.mongo import Database, DatabaseAway, DatabaseClock, close_client, open_client, ping
from convive_kit.openapi import About
from convive_kit.outbox import Relay
from convive_kit.parked import ParkedMessages
from convive_kit.parked_routes import OwnPlace, ParkedRoutes
from convive_kit.parking import Parking
from convive_kit.process import Process
from convive_kit.rate_limit import Limiter
from convive_kit.readings import Samples
from convive_kit.retention import Retention
from convive_kit.routes import Guard, Route
from convive_kit.runs import Runs
from convive_kit.version import installed_version
from invitation.console.administration import Administration
from invitation.console.bulk import BulkPages
from invitation.console.failures import Failures
from invitation.console.frame import Frame
from invitation.console.listing import Listing
from invitation.console.live import Live
from invitation.console.overview import Overview
from invitation.console.sessions import Sessions
from invitation.console.showing import Showing
from invitation.console.surroundings import Surroundings
from invitation.delivery.channels import Channel
from invitation.delivery.email import EmailChannel, SmtpPool
from invitation.delivery.gateways.generic import GenericGateway
from invitation.delivery.gateways.ovh import OVH, OvhGateway
from invitation.delivery.gateways.twilio import TWILIO, TwilioGateway
from invitation.delivery.mail import MailRenderer
from invitation.delivery.receipts.callbacks import Callbacks, Keys
from invitation.delivery.receipts.listener import BounceListener, return_address
from invitation.delivery.receipts.recording import Receipts
from invitation.delivery.slots import Delivery
from invitation.delivery.sms import Bounds, Gateway, SmsChannel
from invitation.directory import Directory
from invitation.due import DueLoop
from invitation.intake.events import CONSUMED, Intake, Replayed
from invitation.intake.rebuilding import Rebuilding
from invitation.intake.waiting import WaitingRoom
from invitation.lifecycle.links import Links, References, Send
from invitation.lifecycle.quiet import QuietHours
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.metrics import DUE, RUNS, InvitationMetrics, run_samples
from invitation.metrics import INVITATIONS as BY_STATE
from invitation.ops.acting import Acting
from invitation.ops.api import OpsApi
from invitation.ops.auditing import Auditing
from invitation.ops.bulk import BulkApi, BulkRunner
from invitation.ops.callers import Callers, actor_of
from invitation.ops.checks import Checks
from invitation.ops.directory_parked import DirectoryParked
from invitation.ops.erasing import Eraser, ErasureApi
from invitation.ops.export import Export
from invitation.ops.presence import Presence
from invitation.ops.publishing import Publishing
from invitation.ops.replay_api import ReplayApi
from invitation.ops.replaying import Replayer
from invitation.ops.retention import Forgetting
from invitation.ops.statistics import Stats
from invitation.ops.stream import Streaming
from invitation.ops.tokens_api import TokensApi
from invitation.pages.handlers import LinkPages
from invitation.previews import Previews
from invitation.settings import InvitationSettings
from invitation.store.audit import Audit
from invitation.store.bookmarks import Bookmarks
from invitation.store.bulk import Bulks
from invitation.store.due import overdue
from invitation.store.mongo import INVITATIONS, PARKED, MongoStore, create_indexes
from invitation.store.personal_data import Erasures, People
from invitation.store.processes import Processes, ProcessSeen
from invitation.store.replays import Replays
from invitation.store.sends import sent_as
from invitation.store.sign_outs import SignOuts
from invitation.store.statistics import count
from invitation.store.tokens import OpsTokens

Part = Literal["web", "worker"]
ROLES: dict[str, Sequence[Part]] = {"web": ("web",), "worker": ("worker",), "both": ("web", "worker")}

_PREFETCH = 500
# Whoever is invited by hand comes in behind no more than these of an import.
_PREFETCH_BULK = 50
_PREFETCH_PARKED = 50
_TIME_LIMIT = timedelta(seconds=15)

log = get_logger(__name__)


async def start(process: Process, settings: InvitationSettings, parts: Sequence[Part]) -> int:
    """Start the parts of one process and return the port it listens on.

    It listens at once and goes on preparing until the database is there: `/readyz` tells the difference.
    """
    metrics = InvitationMetrics()
    client = open_client(settings.mongo_url.get_secret_value())
    process.on_stop("database", lambda: close_client(client))
    database = client[settings.invitation_database]
    clock = DatabaseClock(client)
    bus = Bus(settings.amqp_url.get_secret_value(), taken=metrics.taken, published=metrics.published)
    commit = GroupCommit(database[INVITATIONS], observe=metrics.groups_of(INVITATIONS))
    relay = Relay(bus=bus, collection=database[INVITATIONS], commit=commit, now=clock.now)
    store = MongoStore(database, commit, relay.announce, saved=metrics.saved)
    link_keys = [key.get_secret_value() for key in settings.link_keys]
    links = Links(link_keys, base_url=settings.invitation_url)
    references = References(link_keys)
    policy = Policy(
        link_life=settings.link_life,
        reminders=tuple(timedelta(days=day) for day in sorted(set(settings.reminder_days))),
        quiet=QuietHours(
            time.fromisoformat(settings.quiet_from),
            time.fromisoformat(settings.quiet_until),
            is_holiday,
        ),
        lease=settings.delivery_lease,
        attempt_deadline=settings.delivery_lease / 3,
        first_backoff=settings.first_backoff,
    )
    # Stopped from the last to the first: loops, consumers, requests, what is in the slots, its announcements, the bus,
    # then the writes.
    process.on_stop("writes", commit.close)
    process.spawn("clock", clock.run())
    prepared = asyncio.Event()
    # Consuming begins once there are indexes: without them the first save would be slow and the first race open.
    process.spawn("bus", bus.run(after=prepared))
    process.on_stop("announcements", relay.drain)

    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    works = "worker" in parts
    limiter = Limiter(settings.mongo_url.get_secret_value(), settings.invitation_database)
    channels: dict[str, Channel] = {}
    pool = SmtpPool(settings.smtp_server)
    renderer = MailRenderer(settings.mail_from)
    if works:
        process.on_stop("mail server", pool.close)
        channels["email"] = EmailChannel(
            pool, renderer, links, store, returned_to=_return_addresses(settings, references)
        )
        if gateway := _gateway(settings):
            process.on_stop("SMS gateway", gateway.close)
            bounds = Bounds(settings.sms_countries, settings.sms_limit_number, settings.sms_limit_firm)
            channels["sms"] = SmsChannel(gateway, links, references, store, limiter, bounds, sender=settings.sms_sender)
    delivery = Delivery(
        store,
        channels,
        owner=owner,
        policy=policy,
        now=clock.now,
        # Without a slot there is never room: what a replay makes due is left to the workers.
        slots=settings.delivery_slots if works else 0,
        observe=metrics.attempted,
    )
    replays = Replays(database)
    due = DueLoop(store, delivery, policy=policy, now=clock.now, rebuilt=replays.rebuilt)
    intake = Intake(store, delivery, policy=policy, now=clock.now, due_changed=due.wake)
    receipts = Receipts(store, references, policy=policy, now=clock.now, due_changed=due.wake)
    parked = ParkedMessages(database[PARKED])
    event_log = EventLog(settings.amqp_url.get_secret_value())
    quiet = MongoStore(database, commit, announce=None)
    replayer = Replayer(
        replays,
        parked,
        event_log,
        store,
        intake,
        lambda: Rebuilding(quiet, store, policy=policy, now=clock.now),
        owner=owner,
        now=clock.now,
        marked=lambda replay: Replayed(replay.id, replay.actor, replay.reason),
    )
    bulks = Bulks(database, INVITATIONS)
    bulk_runner = BulkRunner(bulks, store, owner=owner, now=clock.now, policy=policy, due_changed=due.wake)
    people, audit = People(database[INVITATIONS]), Audit(database)
    erasures = Erasures(database)
    eraser = Eraser(erasures, store, people, parked, audit, owner=owner, now=clock.now)
    if works:
        parked_commit = GroupCommit(database[PARKED], observe=metrics.groups_of(PARKED))
        parking = Parking(parked_commit, now=clock.now, step="intake")
        for queue in CONSUMED:
            prefetch = _PREFETCH_BULK if queue == topology.INVITATION_BULK else _PREFETCH
            bus.consume(queue, intake.receive, park=parking.park, prefetch=prefetch)
        bus.consume(topology.INVITATION_PARKED, parking.keep_dead_letter, park=parking.park, prefetch=_PREFETCH_PARKED)
        process.on_stop("delivery", delivery.drain)
    listener: BounceListener | None = None
    if works and settings.bounce_place:
        listener = BounceListener(receipts, settings.bounce_place, domain=settings.bounce_domain)
        process.on_stop("bounces", listener.close)
    processes, started_at = Processes(database), clock.now()

    def seen() -> ProcessSeen:
        return ProcessSeen(
            id=owner,
            parts=parts,
            version=installed_version(),
            started_at=started_at,
            seen_at=clock.now(),
            slots=delivery.slots,
            busy=delivery.busy,
            waiting=delivery.waiting,
            providers={channel: not delivery.provider_away(channel) for channel in channels},
        )

    presence = Presence(processes, seen)
    process.on_stop("presence", presence.leave)
    stats = Stats(store, partial(count, database), now=clock.now)
    metrics.watch(bus)
    metrics.watch_delivery(delivery, channels)
    _fill(metrics, database, stats, parked, {"replay": replays, "bulk": bulks}, clock)

    routes: list[Route] = []
    guards: Sequence[Guard] = ()
    pages: LinkPages | None = None
    console: Frame | None = None
    feed: Feed | None = None
    if "web" in parts:
        directory = Directory(
            settings.directory_internal_url or settings.directory_url, settings.service_token.get_secret_value()
        )
        process.on_stop("directory", directory.close)
        pages = LinkPages(
            store, links, directory, limiter, settings, policy=policy, now=clock.now, due_changed=due.wake
        )
        tokens = OpsTokens(database)
        callers = Callers(directory, tokens, ops_token=settings.ops_token.get_secret_value())
        auditing = Auditing(audit, now=clock.now)
        sessions = Sessions(callers, SignOuts(database), limiter, settings, now=clock.now)
        service = Guard("service", "The token the two services share.", holder_of(settings.service_token))
        guards = (*callers.guards, *sessions.guards, service)
        console = Frame(sessions)
        feed = Feed(event_log, families=("invitation",), now=clock.now)
        streaming = Streaming(feed, callers)
        checks = Checks(settings, client, directory, processes, now=clock.now, mail_trouble=pool.trouble)
        acting = Acting(store, directory, auditing, policy=policy, now=clock.now, due_changed=due.wake)
        export = Export(store, auditing, now=clock.now)
        own = OwnPlace(
            parked,
            handle=lambda message, by, reason: intake.handle(message, Replayed("by hand", by, reason)),
            now=clock.now,
        )
        tokens_api = TokensApi(tokens, auditing, now=clock.now, revoked=callers.forget)
        bulk_api = BulkApi(bulks, auditing, now=clock.now, begun=bulk_runner.wake)
        replay_api = ReplayApi(replays, event_log, store, auditing, now=clock.now, begun=replayer.wake)
        parked_routes = ParkedRoutes(
            "/v1/parked",
            [own, DirectoryParked(directory)],
            looks="ops_reader",
            acts="ops_writer",
            by=actor_of,
            witness=auditing.witness,
        )
        resources = (
            pages,
            Previews(renderer, pages.renderer, links, policy=policy, now=clock.now),
            Callbacks(
                receipts,
                _receipt_keys(settings),
                public_url=settings.invitation_url,
                trusted_proxies=settings.trusted_proxies,
                sent_as=partial(sent_as, database[INVITATIONS]),
            ),
            export,
            OpsApi(store, acting, now=clock.now),
            replay_api,
            parked_routes,
            stats,
            bulk_api,
            ErasureApi(erasures, people, parked, audit, directory, auditing, now=clock.now, begun=eraser.wake),
            auditing,
            Publishing(bus, auditing),
            checks,
            tokens_api,
            streaming,
            console,
            Live(streaming, sessions),
            Overview(console, stats, processes, now=clock.now),
            Surroundings(console, checks),
            Listing(console, store, export, Bookmarks(database), now=clock.now),
            BulkPages(console, bulk_api),
            Administration(console, auditing, tokens_api),
            Failures(console, parked_routes, replay_api, stats, auditing, now=clock.now),
            Showing(console, store, acting, renderer, invitation_url=settings.invitation_url, now=clock.now),
        )
        routes = [route for resource in resources for route in resource.routes()]

    async def database_usable() -> None:
        await ping(client)
        if not prepared.is_set():
            raise DatabaseAway

    async def bus_usable() -> None:
        if not bus.healthy:
            raise BusAway

    def render(request: web.Request, problem: Problem) -> web.StreamResponse:
        if pages is not None and request.path.startswith("/i/"):
            return pages.problem(request, problem)
        if console is not None and (request.path == "/ops" or request.path.startswith("/ops/")):
            return console.problem(request, problem)
        return problem_response(request, problem)

    app = make_app(
        About(
            "Convive invitation service", installed_version(), "Invitations: where each stands, why, and what to do."
        ),
        routes,
        guards=guards,
        checks={"database": database_usable, "bus": bus_usable},
        metrics=metrics,
        time_limit=_TIME_LIMIT,
        render=render,
    )
    port = await process.serve(app, settings.invitation_host, settings.invitation_port)
    if feed is not None:
        process.spawn("event stream", feed.run(process.stopping))
    await _prepare(client[settings.invitation_database], parked, clock)
    prepared.set()
    process.on_stop("consumers", bus.drain)
    process.spawn("presence", presence.run())
    if listener is not None:
        await listener.open()
    if works:
        process.spawn("outbox", relay.run())
        process.spawn("due loop", due.run())
        process.spawn("waiting room", WaitingRoom(parked, intake, now=clock.now).run())
        process.spawn("replays", replayer.run(dry_run=False))
        process.spawn("previews of replays", replayer.run(dry_run=True))
        process.spawn("bulk operations", bulk_runner.run(dry_run=False))
        process.spawn("previews of bulk operations", bulk_runner.run(dry_run=True))
        process.spawn("erasures", eraser.run())
        if settings.retention is not None:
            retention = Retention(
                settings.retention,
                over=people.ended,
                forget=Forgetting(store, people, now=clock.now).forget,
                drop=[parked.drop, audit.drop],
                now=clock.now,
            )
            process.spawn("retention", retention.run())
    return port


def _fill(
    metrics: InvitationMetrics,
    database: Database,
    stats: Stats,
    parked: ParkedMessages,
    runs: Mapping[str, Runs[Any]],
    clock: DatabaseClock,
) -> None:
    """What /metrics reads from the database."""

    async def by_state() -> dict[str, Samples]:
        counted = (await stats.latest()).by_state
        if stats.failed:
            raise DatabaseAway
        return {"convive_invitations": {(state.value,): float(counted.get(state.value, 0)) for state in State}}

    async def due() -> dict[str, Samples]:
        now = clock.now()
        number, late = await overdue(database, now)
        oldest = await stats.oldest_pending()
        age = (now - oldest.created_at).total_seconds() if oldest else 0.0
        return {
            "convive_due_invitations": {(): float(number)},
            "convive_due_lag_seconds": {(): late},
            "convive_invitation_oldest_pending_age_seconds": {(): age},
        }

    async def under_way() -> dict[str, Samples]:
        return run_samples({kind: await of_kind.under_way() for kind, of_kind in runs.items()})

    metrics.readings.fill(BY_STATE, by_state)
    metrics.readings.fill(DUE, due)
    metrics.readings.fill(RUNS, under_way)
    metrics.readings.fill(OUTBOX, outbox_reading({INVITATIONS: database[INVITATIONS]}, clock.now))
    metrics.readings.fill(PARKED_NOW, parked_reading(parked.numbers))


async def _prepare(database: Database, parked: ParkedMessages, clock: DatabaseClock) -> None:
    while True:
        try:
            await clock.measure()
            await asyncio.gather(create_indexes(database), parked.prepare())
        except DatabaseAway:
            log.warning("database.away")
            await asyncio.sleep(1)
        else:
            return


def _gateway(settings: InvitationSettings) -> Gateway | None:
    """Whoever sends text messages; the settings have seen to it that what is asked for here is there."""
    receipts = f"{settings.invitation_url}/v1/receipts/{settings.sms_provider}"
    account, token = settings.sms_account or "", _revealed(settings.sms_token)
    match settings.sms_provider:
        case "none":
            return None
        case "generic":
            key = _revealed(settings.sms_signing_key)
            return GenericGateway(settings.sms_url or "", token, receipts=receipts, signing_key=key)
        case "twilio":
            url, service = settings.sms_url or TWILIO, settings.sms_twilio_messaging_service
            return TwilioGateway(url, account, token, receipts=receipts, messaging_service=service)
        case "ovh":
            return OvhGateway(
                settings.sms_url or OVH,
                account,
                application_key=settings.sms_ovh_application_key or "",
                application_secret=_revealed(settings.sms_ovh_application_secret),
                consumer_key=_revealed(settings.sms_ovh_consumer_key),
            )


def _revealed(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


def _receipt_keys(settings: InvitationSettings) -> Keys:
    """By which the provider of text messages proves that it is the one; receipts of others are not taken."""
    match settings.sms_provider:
        case "generic":
            return Keys(generic=settings.sms_signing_key)
        case "twilio":
            return Keys(twilio=settings.sms_token)
        case "ovh":
            return Keys(ovh=settings.sms_signing_key)
        case "none":
            return Keys()


def _return_addresses(settings: InvitationSettings, references: References) -> Callable[[Send], str]:
    if not settings.bounce_domain:
        return lambda _: settings.mail_from
    return lambda send: return_address(references, send, settings.bounce_domain)
