"""A node is killed while events come in at a steady rate, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from convive_contracts import topology
from deploy.local.broker import Broker
from deploy.local.database import Database
from tests.cluster.broker_cluster import BrokerCluster
from tests.cluster.load import Load
from tests.cluster.replica_set import ReplicaSet
from tests.cluster.site import SLOTS, Found, Site

_NEAR = timedelta(seconds=3)
_AT_EASE = timedelta(seconds=1)
"""An event whose mail goes out within this has not waited for anything."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` events a second for `seconds`; the kill comes once those of `before` seconds are confirmed. `lease`: as in
    CONVIVE_DELIVERY_LEASE; the default's if not given."""

    rate: float
    seconds: float
    before: float
    lease: str | None = None
    patience: float = 120.0

    @property
    def events(self) -> int:
        return round(self.rate * self.seconds)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a kill cost. Seconds, and mails per second; all by the times at which mails were taken.

    `pause`: the longest time without a mail that began around the kill; `resumed`: from the kill to its end;
    `first_after`: from the kill to the next mail, which may have been in hand; `caught_up`: from the kill until every
    event's mail goes out within a second again; `longest_wait`: of an event, from its confirm to its mail.
    """

    what: str
    events: int
    rate: float
    pause: float
    resumed: float
    first_after: float
    caught_up: float
    longest_wait: float
    rate_before: float
    rate_catching_up: float
    rate_after: float
    mails: int
    doubled: int
    bound: int
    published_again: int
    log_copies: int
    saved_again: int
    came_back: float
    faults: list[str] = field(default_factory=list[str])

    def as_json(self) -> dict[str, Any]:
        """Rounded to milliseconds."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


async def of_the_database(folder: Path, plan: Plan) -> Figures:
    """Kill the primary of three MongoDB servers; bring it back once all is sent, and see it catch up."""
    async with Broker(folder / "broker") as broker, ReplicaSet(folder) as database:
        site = Site(folder, amqp_urls=[broker.url], mongo_url=database.url, lease=plan.lease)
        primary = await database.primary()

        async def kill() -> Callable[[], Awaitable[None]]:
            primary.kill()
            return bring_back

        async def bring_back() -> None:
            assert await database.primary() is not primary
            await primary.start()
            await database.until_caught_up(primary)

        async with site.running():
            return await _under_load("the primary of three MongoDB servers", site, plan, [broker.url], kill)


async def of_the_broker(folder: Path, plan: Plan) -> Figures:
    """Kill the node of three that leads the queue, and to which everybody is connected; bring it back once all is sent,
    and see it catch up."""
    async with BrokerCluster(folder / "brokers") as cluster, Database(folder / "database") as database:
        site = Site(folder, amqp_urls=cluster.urls, mongo_url=database.url, lease=plan.lease)

        async def kill() -> Callable[[], Awaitable[None]]:
            # Whoever was there first declared the queues, and a queue is led by the node at which it was declared.
            assert leader is cluster.nodes[0]
            leader.kill()
            return bring_back

        async def bring_back() -> None:
            await leader.start()
            await cluster.until_caught_up(leader, topology.INVITATION_EVENTS, topology.LOG)

        async with site.running():
            leader = await cluster.leader(topology.INVITATION_EVENTS)
            return await _under_load("the leader of three RabbitMQ nodes", site, plan, cluster.urls, kill)


async def _under_load(
    what: str,
    site: Site,
    plan: Plan,
    urls: Sequence[str],
    kill: Callable[[], Awaitable[Callable[[], Awaitable[None]]]],
) -> Figures:
    load = Load(urls, plan.rate, plan.events)
    publishing = asyncio.create_task(load.run())
    try:
        await load.reached(round(plan.rate * plan.before))
        killed = datetime.now(UTC)
        bring_back = await kill()
        async with asyncio.timeout(plan.seconds + plan.patience):
            await publishing
    finally:
        publishing.cancel()
        await asyncio.wait([publishing])
    await site.until_done(load, within=plan.patience)
    back = datetime.now(UTC)
    await bring_back()
    came_back = (datetime.now(UTC) - back).total_seconds()
    found = await site.look(load)
    return figures_of(what, load, found, killed, came_back)


def figures_of(what: str, load: Load, found: Found, killed: datetime, came_back: float) -> Figures:
    """What it cost, by what was published and what was found."""
    sent = sorted(found.sent.values())
    gaps = [(after - before, before, after) for before, after in pairwise(sent)]
    # Of what was in hand at the kill, some may still have gone out: the pause may begin a little behind it.
    own = [gap for gap in gaps if killed - _NEAR < gap[1] < killed + _NEAR]
    pause, _, ended = max(own or gaps[-1:])
    order = sorted((at, load.confirmed[id]) for id, at in found.sent.items() if id in load.confirmed)
    late = [at for at, confirmed in order if at > killed and at - confirmed > _AT_EASE]
    caught_up = max(late, default=ended)
    end = max(load.confirmed.values())
    return Figures(
        what=what,
        events=load.count,
        rate=load.rate,
        pause=pause.total_seconds(),
        resumed=(ended - killed).total_seconds(),
        first_after=min(((at - killed).total_seconds() for at in sent if at > killed), default=0.0),
        caught_up=(caught_up - killed).total_seconds(),
        longest_wait=max((at - confirmed).total_seconds() for at, confirmed in order),
        rate_before=_rate(sent, sent[0], killed),
        rate_catching_up=_rate(sent, ended, caught_up),
        rate_after=_rate(sent, caught_up, end),
        mails=found.mails,
        doubled=found.doubled,
        bound=SLOTS,
        published_again=load.again,
        log_copies=found.log_copies,
        saved_again=found.saved_again,
        came_back=came_back,
        faults=found.faults,
    )


def _rate(moments: Sequence[datetime], begin: datetime, end: datetime) -> float:
    """How many a second between two moments; 0 where there is no time between them."""
    seconds = (end - begin).total_seconds()
    return sum(begin < moment <= end for moment in moments) / seconds if seconds > 0.5 else 0.0
