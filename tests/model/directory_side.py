"""The directory: its real rules over its memory store, as a process that may be away, crash, or lose its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar, cast

from convive_contracts import topology
from convive_kit.addresses import email_key, normalise_email
from convive_kit.bus import Bus
from convive_kit.errors import Conflict, Retry
from convive_kit.outbox import OutboxEntry, Relay
from convive_kit.parking import Parking
from directory.announcements import InvitationNews, entries
from directory.browsers import KnownBrowsers
from directory.entrance import Entrance, Redeemed, SignedIn
from directory.erasure import Erasure
from directory.membership import Membership
from directory.model.account import Claim
from directory.model.cabinet import ApiKey, Cabinet
from directory.model.change import Change
from directory.model.dossier import Dossier
from directory.model.refusals import EmailUnverified, FieldRefused, MemberGone, OtherPassword
from directory.store.memory import MemoryStore
from directory.throttle import Throttle
from invitation import directory as called
from invitation.lifecycle.invitation import Invitation, Invitee
from tests.model.broker import Broker
from tests.model.databases import SELDOM, Outboxes, ParkedRows
from tests.model.virtual_loop import Owner
from tests.model.world import World

Result = TypeVar("Result")

CABINET = "9a2c4e66-7d8e-4f90-a1b2-c3d4e5f60733"
DOSSIER = "5d1f7a52-1c1b-4a8e-8a65-3f1f4f0c2b22"


class Rows(MemoryStore):
    """What survives a crash of the directory, outboxes included."""

    def __init__(self, world: World) -> None:
        super().__init__(entries_of=entries(world.now))
        self.outboxes: dict[str, list[OutboxEntry]] = {}

    async def save(self, change: Change[Any]) -> Any:
        before = len(self.announced)
        saved = await super().save(change)
        key = f"{change.after.kind}:{change.after.id}"
        self.outboxes.setdefault(key, []).extend(self.announced[before:])
        return saved


class Remote:
    """The rows at the other end of a network."""

    def __init__(self, rows: Rows, world: World, relay: Relay) -> None:
        self._rows = rows
        self._world = world
        self._relay = relay

    async def save(self, change: Change[Any]) -> Any:
        await self._world.point("directory save:before")

        async def act() -> tuple[Any, list[OutboxEntry]]:
            before = len(self._rows.announced)
            saved = await self._rows.save(change)
            return saved, self._rows.announced[before:]

        saved, told = await self._world.remote(act)
        await self._world.point("directory save:after")
        self._relay.announce(f"{change.after.kind}:{change.after.id}", told)
        return saved

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._rows, name)

        async def call(*args: Any, **named: Any) -> Any:
            return await self._world.remote(lambda: method(*args, **named))

        return call


class Passwords:
    """Hashes that cost nothing."""

    async def hash(self, password: str) -> str:
        await asyncio.sleep(0)
        return f"hash of {password}"

    async def matches(self, kept: str | None, password: str) -> bool:
        await asyncio.sleep(0)
        return kept == f"hash of {password}"

    def is_outdated(self, kept: str) -> bool:
        return False


class NoLimits:
    async def hit(self, name: str, key: str, limit: str) -> int:
        return 0

    async def take_back(self, name: str, key: str, limit: str) -> None:
        return


class DirectoryProcess:
    def __init__(self, name: str, world: World, broker: Broker, rows: Rows, parked: ParkedRows) -> None:
        self.owner = Owner(name)
        self._world = world
        self.owner.context.run(self._start, broker, rows, parked)

    def _start(self, broker: Broker, rows: Rows, parked: ParkedRows) -> None:
        world = self._world
        bus = Bus("amqp://model", declare=broker.declare)
        outboxes = Outboxes(world, rows.outboxes)
        relay = Relay(bus=bus, collection=cast("Any", outboxes), commit=outboxes, now=world.now, every=SELDOM)
        store = cast("Any", Remote(rows, world, relay))
        self.membership = Membership(store, world.now)
        self.store = store
        self.entrance = Entrance(
            store,
            self.membership,
            cast("Any", Passwords()),
            Throttle(
                NoLimits(), KnownBrowsers(["a key of the model"]), per_account="20/minute", per_address="20/minute"
            ),
            world.now,
            session_life=timedelta(days=14),
            service_token="a service token of the model",
        )
        parking = Parking(cast("Any", parked), now=world.now, step="directory")
        erasure = Erasure(store, cast("Any", NoImports()), cast("Any", NoLetters()), cast("Any", parked), world.now)
        bus.consume(
            topology.DIRECTORY_EVENTS,
            InvitationNews(store, erasure.erase, world.now).handle,
            park=parking.park,
            prefetch=20,
        )
        for work in (bus.run(), relay.run(), self.membership.run(every=SELDOM)):
            world.spawn(work, self.owner)


class NoLetters:
    """The directory of the model writes no letters of its own."""

    async def forget(self, to: str) -> None: ...


class NoImports:
    """Nobody imports tables here."""

    async def forget(self, cabinet_id: str, email_key: str) -> None: ...


class DirectorySide:
    """The directory's one process at a time, its rows, and the ways to call it."""

    def __init__(self, world: World, broker: Broker) -> None:
        self._world = world
        self._broker = broker
        self.rows = Rows(world)
        self.parked = ParkedRows(world)
        self._incarnations = 0
        self._found()
        self.process = self._new()

    def _found(self) -> None:
        now = self._world.now()
        key = ApiKey(id="0123456789abcdef", hash="h", created_at=now)
        opening = Dossier.opened(DOSSIER, CABINET, "Boulangerie Martin", now=now)
        self._world.loop.run(self.rows.save(Cabinet.found(CABINET, "Cabinet Léger", None, key)))
        self._world.loop.run(self.rows.save(opening))

    def _new(self) -> DirectoryProcess:
        self._incarnations += 1
        return DirectoryProcess(f"directory.{self._incarnations}", self._world, self._broker, self.rows, self.parked)

    def crash(self) -> None:
        self._world.kill(self.process.owner)

    def restart(self) -> None:
        if self.process.owner.dead:
            self.process = self._new()

    async def call(
        self, act: Callable[[DirectoryProcess], Coroutine[Any, Any, Result]], *, seconds: float = 8.0
    ) -> Result:
        """Have the directory do something and wait for its answer. Raises `TimeoutError` when there is none."""
        world, process = self._world, self.process
        answer: asyncio.Future[Result] = world.loop.create_future()

        async def serve() -> None:
            await asyncio.sleep(world.delay())
            failure: BaseException | None = None
            result: Any = None
            try:
                result = await act(process)
            except Exception as error:
                failure = error
            await asyncio.sleep(world.delay())
            if answer.done() or not world.directory_answers:
                return
            if failure is None:
                answer.set_result(result)
            else:
                answer.set_exception(failure)

        world.spawn(serve(), process.owner)
        async with asyncio.timeout(seconds):
            return await answer


class DirectoryCalls:
    """The calls of the invitation service, in place of `invitation.directory.Directory`."""

    def __init__(self, side: DirectorySide, world: World) -> None:
        self._side = side
        self._world = world

    async def account(self, email: str) -> called.Account:
        async def act(process: DirectoryProcess) -> called.Account:
            account = await process.store.account(email_key(normalise_email(email)))
            return called.Account(exists=account is not None, verified=bool(account and account.verified))

        return await self._call(act)

    async def email_of_session(self, token: str) -> str | None:
        async def act(process: DirectoryProcess) -> str | None:
            account = await process.entrance.who(token)
            return account.email if account else None

        return await self._call(act)

    async def redeem(self, invitation: Invitation, invitee: Invitee, password: str | None) -> called.Redeemed:
        claim = Claim(
            invitation_id=invitation.id,
            link_sequence=invitation.link_sequence,
            source=invitation.source,
            channel="email",
            email=invitee.email,
            email_key=email_key(invitee.email),
            member_id=invitee.member_id,
            dossier_id=invitee.dossier_id,
            dossier_name=invitee.dossier_name,
            cabinet_id=invitee.cabinet_id,
            cabinet_name=invitee.cabinet_name,
            role=invitee.role,
        )

        async def act(process: DirectoryProcess) -> Redeemed:
            return await process.entrance.redeem(claim, password)

        redeemed = await self._call(act)
        return called.Redeemed(redeemed.credential, redeemed.handoff_code)

    async def _call(self, act: Callable[[DirectoryProcess], Coroutine[Any, Any, Result]]) -> Result:
        await self._world.point("directory:before")
        try:
            answer = await self._side.call(act)
        except (OtherPassword, EmailUnverified):
            raise called.OtherPassword(link_is_used=False) from None
        except MemberGone:
            raise called.MemberGone from None
        except FieldRefused as refused:
            raise called.Problem(422, "invalid_fields") from refused
        except (TimeoutError, Retry, Conflict) as away:
            raise called.DirectoryAway from away
        await self._world.point("directory:after")
        return answer


__all__ = ["DirectoryCalls", "DirectoryProcess", "DirectorySide", "SignedIn"]
