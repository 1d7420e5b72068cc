"""`/v1/replays`: have recorded events handled again, and watch it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.cursors import key_in, page_of
from convive_kit.event_log import EventLog
from convive_kit.http import Body, ListOf, ListQuery, Timestamp, json_body, not_found, parse_query
from convive_kit.routes import Route
from convive_kit.runs import Status
from invitation.ops.auditing import Auditing
from invitation.ops.callers import CALLER
from invitation.ops.filters import ReplayFilter
from invitation.store.protocol import Store
from invitation.store.replays import Replay, Replays


class NewReplay(Body):
    from_: Literal["log", "parked"] = Field(alias="from")
    filter: ReplayFilter
    dry_run: bool = Field(default=False, description="Count and show a sample; handle nothing.")
    rate: Annotated[float, Field(ge=0.1, le=100_000)] | None = Field(default=None, description="Messages per second.")
    reason: Annotated[str, Field(min_length=1, max_length=500)]


class Begun(BaseModel):
    id: str


class ReplayView(BaseModel):
    id: str
    from_: Literal["log", "parked"] = Field(serialization_alias="from")
    mode: Literal["replay", "rebuild"] = Field(
        description="A replay from the log into a database without any invitation rebuilds it: nothing is sent again."
    )
    filter: dict[str, Any]
    dry_run: bool
    rate: float | None
    reason: str
    actor: str
    status: Status
    matched: int
    done: int
    skipped: dict[str, int]
    failed: int
    armed: int
    sample: list[dict[str, Any]]
    error: str | None
    created_at: Timestamp
    finished_at: Timestamp | None


class ReplayApi:
    """Begins replays; the workers carry them out."""

    def __init__(
        self,
        replays: Replays,
        event_log: EventLog,
        store: Store,
        auditing: Auditing,
        *,
        now: Callable[[], datetime],
        begun: Callable[[], None],
    ) -> None:
        """`begun` is called when there is a replay to carry out."""
        self._replays = replays
        self._log = event_log
        self._store = store
        self._auditing = auditing
        self._now = now
        self._begun = begun

    def routes(self) -> list[Route]:
        """The calls under `/v1/replays`."""
        one = "/v1/replays/{id}"
        return [
            Route("POST", "/v1/replays", self._begin, "Handle recorded events again", body=NewReplay, response=Begun,
                  status=202, auth="ops_writer", problems=(503,)),
            Route("GET", "/v1/replays", self._list, "Replays, newest first", query=ListQuery,
                  response=ListOf[ReplayView], auth="ops_reader"),
            Route("GET", one, self._read, "How far it has come", response=ReplayView, auth="ops_reader",
                  problems=(404,)),
            Route("POST", f"{one}/abort", self._abort, "Stop it; what is done stays done", response=ReplayView,
                  status=202, auth="ops_writer", problems=(404,)),
        ]  # fmt: skip

    async def begin(self, request: web.Request, wanted: NewReplay) -> Replay:
        """Begin a replay. The set is frozen here: what is logged or parked later is not swept in."""
        now = self._now()
        from_log = wanted.from_ == "log"
        replay = Replay(
            id=str(uuid4()),
            origin=wanted.from_,
            filter=wanted.filter.model_dump(mode="json", exclude_defaults=True),
            dry_run=wanted.dry_run,
            rate=wanted.rate,
            reason=wanted.reason,
            actor=request[CALLER].actor,
            created_at=now,
            frozen_at=now,
            rebuild=from_log and await self._store.is_empty(),
            last_offset=await self._log.last_offset() if from_log else None,
        )
        async with self._auditing.witness(request, "replay.start", f"replay:{replay.id}", wanted.reason) as record:
            record.after = {"from": wanted.from_, "filter": dict(replay.filter), "dry_run": wanted.dry_run}
            await self._replays.begin(replay)
        self._begun()
        return replay

    async def one(self, request: web.Request) -> Replay:
        """The replay of the path; 404 where there is none."""
        replay = await self._replays.load(request.match_info["id"])
        if replay is None:
            raise not_found("replay")
        return replay

    async def abort(self, request: web.Request) -> Replay:
        """Stop the replay of the path."""
        id = request.match_info["id"]
        async with self._auditing.witness(request, "replay.abort", f"replay:{id}") as record:
            replay = await self._replays.abort(id, self._now())
            if replay is None:
                raise not_found("replay")
            record.after = {"status": replay.status, "matched": replay.matched, "done": replay.done}
        return replay

    async def _begin(self, request: web.Request) -> BaseModel:
        return Begun(id=(await self.begin(request, await json_body(request, NewReplay))).id)

    async def _list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, ListQuery)
        found = await self._replays.list(limit=query.limit + 1, after=key_in(query.cursor))
        return page_of(
            ListOf[ReplayView], found, query.limit, view=_view, key=lambda replay: (replay.created_at, replay.id)
        )

    async def _read(self, request: web.Request) -> BaseModel:
        return _view(await self.one(request))

    async def _abort(self, request: web.Request) -> BaseModel:
        return _view(await self.abort(request))


def _view(replay: Replay) -> ReplayView:
    return ReplayView(
        id=replay.id,
        from_=replay.origin,
        mode="rebuild" if replay.rebuild else "replay",
        filter=dict(replay.filter),
        dry_run=replay.dry_run,
        rate=replay.rate,
        reason=replay.reason,
        actor=replay.actor,
        status=replay.status,
        matched=replay.matched,
        done=replay.done,
        skipped=replay.skipped,
        failed=replay.failed,
        armed=replay.armed,
        sample=replay.sample,
        error=replay.error,
        created_at=replay.created_at,
        finished_at=replay.finished_at,
    )
