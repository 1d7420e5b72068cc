"""`/v1/bulk`: one action on every invitation of a filter, previewed, paced, paused and aborted.

The set is frozen at the call. Each invitation knows the operation by its id, so what is carried out again after a crash
counts once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, Field, model_validator

from convive_kit.addresses import NoMobile, can_receive_sms
from convive_kit.cursors import key_in, page_of
from convive_kit.errors import Conflict
from convive_kit.http import Body, ListOf, ListQuery, Moment, Timestamp, invalid, json_body, not_found, parse_query
from convive_kit.routes import Route
from convive_kit.runner import Pace, Runner
from convive_kit.runs import Status
from invitation.lifecycle.invitation import Cause, Change, Invitation
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import Trigger, counts
from invitation.ops.auditing import Auditing
from invitation.ops.callers import CALLER
from invitation.ops.selection import Criteria
from invitation.ops.views import in_time
from invitation.store.bulk import MOST, Action, Bulk, Bulks
from invitation.store.protocol import Contended, Store, decide_and_save, policy_for

_TRIGGERS: dict[Action, Trigger] = {"resend": Trigger.RESEND, "revoke": Trigger.REVOKED, "extend": Trigger.EXTENDED}
_SAMPLE = 10
_ABOUT_TO_BEGIN = 60.0
"""Seconds after which a set that belongs to no run will not belong to one any more."""


class NewBulk(Body):
    action: Action
    filter: Criteria
    channel: Literal["email", "sms"] | None = Field(default=None, description="For resend; else as before.")
    until: Moment | None = Field(default=None, description="For extend: the new expiry.")
    dry_run: bool = Field(default=False, description="Count what would be done and skipped; change nothing.")
    rate: Annotated[float, Field(ge=0.1, le=100_000)] | None = Field(default=None, description="Per second.")
    reason: Annotated[str, Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.filter.is_empty:
            raise ValueError("give at least one criterion in `filter`")
        if (self.until is None) != (self.action != "extend"):
            raise ValueError("`until` belongs to the action extend, and extend needs it")
        if self.channel is not None and self.action != "resend":
            raise ValueError("`channel` belongs to the action resend")
        return self


class BulkView(BaseModel):
    id: str
    action: Action
    filter: dict[str, Any]
    channel: str | None
    until: Timestamp | None
    dry_run: bool
    rate: float | None
    reason: str
    actor: str
    status: Status
    matched: int
    done: int
    skipped: dict[str, int] = Field(description="By why: the state they were in, or what was missing.")
    failed: int
    sample: list[dict[str, Any]]
    error: str | None
    created_at: Timestamp
    finished_at: Timestamp | None


class BulkApi:
    """Begins bulk operations, and stops them; the workers carry them out."""

    def __init__(
        self, bulks: Bulks, auditing: Auditing, *, now: Callable[[], datetime], begun: Callable[[], None]
    ) -> None:
        """`begun` is called when there is something to carry out."""
        self._bulks = bulks
        self._auditing = auditing
        self._now = now
        self._begun = begun

    def routes(self) -> list[Route]:
        """The calls under `/v1/bulk`."""
        one = "/v1/bulk/{id}"
        steps = (
            ("pause", "Let it rest after what it is at"),
            ("resume", "Let it go on"),
            ("abort", "Stop it for good; what is done stays done"),
        )
        return [
            Route("POST", "/v1/bulk", self._begin, "Do something to every invitation of a filter", body=NewBulk,
                  response=BulkView, status=202, auth="ops_writer"),
            Route("GET", "/v1/bulk", self._list, "Bulk operations, newest first", query=ListQuery,
                  response=ListOf[BulkView], auth="ops_reader"),
            Route("GET", one, self._read, "How far it has come", response=BulkView, auth="ops_reader",
                  problems=(404,)),
            *(Route("POST", f"{one}/{step}", self._step(step), summary, response=BulkView, status=202,
                    auth="ops_writer", problems=(404,)) for step, summary in steps),
        ]  # fmt: skip

    async def begin(self, request: web.Request, wanted: NewBulk) -> Bulk:
        """Begin an operation. The set is frozen here: what comes to fit later is not swept in."""
        now = self._now()
        if wanted.until is not None and (wrong := in_time(wanted.until, now)):
            raise invalid("until", wrong)
        which = wanted.filter.chosen(request[CALLER], now)
        if which is None:
            raise invalid("filter", "There is nothing in this that you may see.")
        bulk = Bulk(
            id=str(uuid4()),
            action=wanted.action,
            filter=wanted.filter.kept(),
            channel=wanted.channel,
            until=wanted.until,
            dry_run=wanted.dry_run,
            rate=wanted.rate,
            reason=wanted.reason,
            actor=request[CALLER].actor,
            created_at=now,
        )
        async with self._auditing.witness(request, f"bulk.{bulk.action}", f"bulk:{bulk.id}", bulk.reason) as record:
            matched = await self._bulks.freeze(bulk.id, which)
            if matched is None:
                raise invalid("filter", f"This fits more than {MOST} invitations: narrow it, and do it in parts.")
            bulk.matched = matched
            record.after = {"filter": dict(bulk.filter), "dry_run": bulk.dry_run, "matched": matched}
            await self._bulks.begin(bulk)
        self._begun()
        return bulk

    async def latest(self, limit: int) -> Sequence[Bulk]:
        """The newest operations."""
        return await self._bulks.list(limit=limit)

    async def one(self, request: web.Request) -> Bulk:
        """The operation of the path; 404 where there is none."""
        bulk = await self._bulks.load(request.match_info["id"])
        if bulk is None:
            raise not_found("bulk operation")
        return bulk

    async def take(self, request: web.Request, step: str) -> Bulk:
        """`pause`, `resume` or `abort` the operation of the path."""
        id = request.match_info["id"]
        async with self._auditing.witness(request, f"bulk.{step}", f"bulk:{id}") as record:
            if step == "abort":
                bulk = await self._bulks.abort(id, self._now())
            else:
                bulk = await (self._bulks.pause(id) if step == "pause" else self._bulks.resume(id))
            if bulk is None:
                raise not_found("bulk operation")
            record.after = {"status": bulk.status, "done": bulk.done}
        self._begun()
        return bulk

    async def _begin(self, request: web.Request) -> BaseModel:
        return _view(await self.begin(request, await json_body(request, NewBulk)))

    async def _list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, ListQuery)
        found = await self._bulks.list(limit=query.limit + 1, after=key_in(query.cursor))
        return page_of(ListOf[BulkView], found, query.limit, view=_view, key=lambda bulk: (bulk.created_at, bulk.id))

    async def _read(self, request: web.Request) -> BaseModel:
        return _view(await self.one(request))

    def _step(self, step: str) -> Callable[[web.Request], Any]:
        async def take(request: web.Request) -> BaseModel:
            return _view(await self.take(request, step))

        return take


class BulkRunner(Runner[Bulk]):
    """Carries out bulk operations, one at a time."""

    kind = "bulk"

    def __init__(
        self,
        bulks: Bulks,
        store: Store,
        *,
        owner: str,
        now: Callable[[], datetime],
        policy: Policy,
        due_changed: Callable[[], None],
    ) -> None:
        super().__init__(bulks, owner=owner, now=now)
        self._bulks = bulks
        self._store = store
        self._policy = policy
        self._due_changed = due_changed
        self._unknown: dict[str, float] = {}

    async def tidy(self) -> None:
        """Let go of the sets of runs that were aborted, and of those whose beginning a crash cut off."""
        now, unknown = time.monotonic(), dict[str, float]()
        for id in await self._bulks.with_items():
            run = await self._bulks.load(id)
            if run is None and now - (since := self._unknown.get(id, now)) < _ABOUT_TO_BEGIN:
                unknown[id] = since
            elif run is None or run.status not in ("running", "paused"):
                await self._bulks.forget(id)
        self._unknown = unknown

    async def work(self, run: Bulk) -> bool:
        pace = Pace(run.rate)
        while ids := await self._bulks.items(run.id, after=run.position, limit=pace.at_once):
            run.count(await asyncio.gather(*(self._one(run, id) for id in ids)))
            run.position = ids[-1]
            if not await self.record(run):
                return False
            self._due_changed()
            if not run.dry_run:
                await pace.keep(len(ids))
        await self._bulks.forget(run.id)
        return True

    async def _one(self, run: Bulk, id: str) -> str:
        """Do it to one invitation; returns what came of it."""
        outcome = "gone"
        cause = Cause(self._now(), run.actor, f"bulk:{run.id}", {"bulk": run.id, "reason": run.reason})
        policy = self._policy
        if not run.dry_run and run.action != "revoke":
            policy = await policy_for(self._store, await self._store.load(id), policy)

        def decide(invitation: Invitation) -> Change | None:
            nonlocal outcome
            outcome = _why_not(run, invitation) or "done"
            if len(run.sample) < _SAMPLE and run.dry_run:
                run.sample.append({"id": id, "state": invitation.state.value, "outcome": outcome})
            if outcome != "done" or run.dry_run:
                return None
            match run.action:
                case "resend":
                    return invitation.resent(run.channel, cause, policy)
                case "revoke":
                    return invitation.revoked("requested", cause)
                case "extend":
                    return invitation.extended(run.until or cause.at, cause, policy)

        try:
            await decide_and_save(self._store, id, decide)
        except (Contended, Conflict):
            return "failed"
        return outcome


def _why_not(run: Bulk, invitation: Invitation) -> str | None:
    if f"bulk:{run.id}" in invitation.handled:
        return None  # done before a crash, and not counted then
    if not counts(_TRIGGERS[run.action], invitation.state):
        return invitation.state.value
    if run.action == "extend" and not invitation.has_link:
        return "never_invited"
    if run.channel == "sms":
        if invitation.invitee is None or invitation.invitee.phone is None:
            return "no_phone"
        if not can_receive_sms(invitation.invitee.phone):
            return NoMobile.slug
    return None


def _view(bulk: Bulk) -> BulkView:
    return BulkView.model_validate({name: getattr(bulk, name) for name in BulkView.model_fields})
