"""The invitation service as a process: the real parts put together as the composition root does, for a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, cast

from convive_contracts import topology
from convive_kit.bus import Bus
from convive_kit.errors import Retry
from convive_kit.event_log import EventLog
from convive_kit.http import DECLARED_BODY, Problem
from invitation.delivery.slots import Delivery
from invitation.directory import Directory
from invitation.due import DueLoop
from invitation.intake.events import CONSUMED, Intake, Replayed
from invitation.intake.rebuilding import Rebuilding
from invitation.intake.waiting import WaitingRoom
from invitation.lifecycle.invitation import Cause
from invitation.lifecycle.records import Outcome, Receipt
from invitation.ops.acting import Acting
from invitation.ops.api import OpsApi
from invitation.ops.auditing import Auditing
from invitation.ops.callers import CALLER, Caller
from invitation.ops.replaying import Replayer
from invitation.ops.views import Extend, Resend, Revoke
from invitation.pages import handlers
from invitation.pages.bodies import Accept, Decline, Nothing, Open, Password
from invitation.pages.render import PageRenderer
from invitation.settings import InvitationSettings
from invitation.store.audit import AuditRecord
from invitation.store.protocol import decide_and_save, policy_for
from tests.model.broker import Broker
from tests.model.databases import SELDOM, Database
from tests.model.directory_side import DirectoryCalls
from tests.model.mail_server import LINKS, WatchedChannel
from tests.model.virtual_loop import Owner
from tests.model.world import POLICY, SLOTS, Mail, World

PREFETCH = 20
GRACE = 10.0
BODIES = {
    "open": Open,
    "password": Password,
    "accept": Accept,
    "decline": Decline,
    "renew": Nothing,
    "resend": Resend,
    "revoke": Revoke,
    "extend": Extend,
}
SETTINGS = InvitationSettings.model_validate(
    {
        "amqp_url": "amqp://model",
        "mongo_url": "mongodb://model",
        "directory_url": "https://directory.example",
        "invitation_url": "https://invitation.example",
        "service_token": "a service token of the model",
        "ops_token": "an ops token of the model",
        "link_keys": "a-key-of-the-model-long-enough",
    }
)
_RENDERER = PageRenderer()


class NoLimits:
    async def hit(self, name: str, key: str, limit: str) -> int:
        return 0


class Unaudited:
    @asynccontextmanager
    async def witness(self, *_: object) -> AsyncGenerator[AuditRecord]:
        yield AuditRecord(at=datetime.min.replace(tzinfo=UTC), actor="ops", action="", target="")


class FakeLog:
    """The stream `convive.log` of the modelled broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def last_offset(self) -> int | None:
        return len(self._broker.log) - 1 if self._broker.log else None

    async def read(self, start: int | str, last: int) -> Any:
        first = start if isinstance(start, int) else 0
        for logged in self._broker.log[first : last + 1]:
            if logged.offset % 10 == 0:
                await self._broker.world.point("log:before")
                await asyncio.sleep(self._broker.world.delay())
            yield logged


class Request:
    """As much of a web request as the handlers look at."""

    def __init__(self, body: str, match: Mapping[str, str], declared: type) -> None:
        self.match_info = match
        self.content_type = "application/json"
        self.headers: dict[str, str] = {"Accept": "application/json"}
        self.query: dict[str, str] = {}
        self.cookies: dict[str, str] = {}
        self.path = "/"
        self._body = body.encode()
        self._kept: dict[Any, Any] = {DECLARED_BODY: declared, CALLER: Caller("ops", None, "admin")}

    async def read(self) -> bytes:
        return self._body

    def get(self, key: Any, default: Any = None) -> Any:
        return self._kept.get(key, default)

    def __getitem__(self, key: Any) -> Any:
        return self._kept[key]


class InvitationProcess:
    """One incarnation of the service; it dies by `world.kill(process.owner)`."""

    def __init__(self, name: str, world: World, broker: Broker, database: Database, directory: DirectoryCalls) -> None:
        self.owner = Owner(name)
        self.world = world
        self._broker = broker
        self._database = database
        self._directory = directory
        self.drained = False
        self.owner.context.run(self._start)

    def _start(self) -> None:
        world, now = self.world, self.world.now
        bus = Bus("amqp://model", declare=self._broker.declare)
        database = self._database.open(bus)
        store = database.store
        delivery = Delivery(
            store,
            # The server takes both: what counts is which link went out, and how often.
            dict.fromkeys(("email", "sms"), WatchedChannel(world, store)),
            owner=self.owner.name,
            policy=POLICY,
            now=now,
            slots=SLOTS,
            places_per_slot=2,
            monotonic=world.loop.time,
        )
        self.due = due = DueLoop(
            store, delivery, policy=POLICY, now=now, rebuilt=database.replays.rebuilt, every=SELDOM
        )
        intake = Intake(store, delivery, policy=POLICY, now=now, due_changed=due.wake)
        self.replayer = Replayer(
            database.replays,
            database.parked,
            cast("EventLog", FakeLog(self._broker)),
            store,
            intake,
            lambda: Rebuilding(database.quiet, store, policy=POLICY, now=now),
            owner=self.owner.name,
            now=now,
            marked=lambda replay: Replayed(replay.id, replay.actor, replay.reason),
        )
        for queue in CONSUMED:
            bus.consume(queue, intake.receive, park=database.parking.park, prefetch=PREFETCH)
        bus.consume(
            topology.INVITATION_PARKED,
            database.parking.keep_dead_letter,
            park=database.parking.park,
            prefetch=PREFETCH,
        )
        renderer, handlers.PageRenderer = handlers.PageRenderer, lambda: _RENDERER
        try:
            pages = handlers.LinkPages(
                store,
                LINKS,
                cast("Directory", self._directory),
                cast("Any", NoLimits()),
                SETTINGS,
                policy=POLICY,
                now=now,
                due_changed=due.wake,
            )
        finally:
            handlers.PageRenderer = renderer
        directory, auditing = cast("Directory", self._directory), cast("Auditing", Unaudited())
        acting = Acting(store, directory, auditing, policy=POLICY, now=now, due_changed=due.wake)
        ops = OpsApi(store, acting, now=now)
        self._handlers: dict[str, Any] = {
            "open": pages._open,
            "password": pages._password,
            "accept": pages._accept,
            "decline": pages._decline,
            "renew": pages._renew,
            "resend": ops._resend,
            "revoke": ops._revoke,
            "extend": ops._extend,
            "look": pages._show,
        }
        self._bus, self._delivery, self._opened = bus, delivery, database
        self._running = [
            world.spawn(work, self.owner)
            for work in (
                bus.run(),
                database.relay.run(),
                due.run(),
                self.replayer.run(),
                WaitingRoom(database.parked, intake, now=now).run(every=SELDOM),
            )
        ]

    # --- requests --------------------------------------------------------------------------------------------------

    async def request(self, what: str, match: Mapping[str, str], body: str) -> tuple[int, Any]:
        """A call from outside: the status and the answer; 0 when the process dies or does not answer in time."""
        request = Request(body, match, BODIES.get(what, Nothing))
        answer: asyncio.Future[tuple[int, Any]] = self.world.loop.create_future()

        async def serve() -> None:
            await asyncio.sleep(self.world.delay())
            status, said = await self._handle(what, request)
            await self.world.point("answer:before")
            if not answer.done():
                answer.set_result((status, said))

        self.world.spawn(serve(), self.owner)
        with suppress(TimeoutError):
            async with asyncio.timeout(30):
                return await answer
        return 0, None

    async def _handle(self, what: str, request: Request) -> tuple[int, Any]:
        try:
            async with asyncio.timeout(15):
                response = await self._handlers[what](request)
        except Problem as problem:
            return problem.status, problem.document()
        except (Retry, TimeoutError):
            return 503, None
        status = getattr(response, "status", 202)
        body = getattr(response, "body", None)
        return status, body if body is not None else response

    # --- receipts --------------------------------------------------------------------------------------------------

    def hears(self, mail: Mail, outcome: Outcome) -> None:
        """A provider says what became of a mail, until that is written down."""
        cause = Cause(self.world.now(), "provider", f"receipt:{mail.message_id}:{outcome}")
        receipt = Receipt(outcome, mail.send, "unknown_address")

        async def note() -> None:
            with suppress(Retry):
                store, id = self._opened.store, mail.invitation_id
                policy = await policy_for(store, await store.load(id), POLICY)
                await decide_and_save(store, id, lambda i: i.receipt(receipt, cause, policy))

        self.world.spawn(note(), self.owner)

    # --- ends ------------------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """SIGTERM: what the composition root stops, in its order, within the grace period."""
        try:
            async with asyncio.timeout(GRACE):
                bus, *loops = self._running
                for loop in reversed(loops):
                    await _cancelled(loop)
                await self._bus.drain()
                await self._delivery.drain()
                await self._opened.relay.drain()
                await _cancelled(bus)
                await self._opened.close()
                self.drained = True
        except TimeoutError:
            pass
        self.world.kill(self.owner)
        await self.world.forever()


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
