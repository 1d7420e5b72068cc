"""Replays: which recorded events are handled again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pymongo import IndexModel

from convive_kit.mongo import Database, database_call
from convive_kit.runs import RUN_INDEXES, Run, Runs

Origin = Literal["log", "parked"]

REPLAYS = "replays"
_REBUILDS = {"rebuild": True, "dry_run": False}
REPLAY_INDEXES = (
    *RUN_INDEXES,
    IndexModel([("rebuild", 1), ("created_at", -1)], name="rebuilds", partialFilterExpression=_REBUILDS),
)


@dataclass(slots=True, kw_only=True)
class Replay(Run):
    """One replay. `position` is the last offset of the log, or the last parked id, that is done with."""

    origin: Origin
    frozen_at: datetime
    # A rebuild folds the log into an empty database, with nothing coming due until all of it is in.
    rebuild: bool = False
    last_offset: int | None = None
    position: int | str | None = None
    pass_number: int = 1
    armed: int = 0


class Replays(Runs[Replay]):
    """Where replays are kept."""

    def __init__(self, database: Database) -> None:
        super().__init__(database[REPLAYS], Replay, moves=("position", "pass_number", "armed"))

    async def rebuilt(self) -> bool:
        """Whether the last rebuild that was begun has come to its end, so that what was folded in may come due. One
        that was aborted or failed has not: it may have known of somebody's invitation and not of their answer."""
        last = self._runs.find(_REBUILDS, {"status": 1}).hint("rebuilds").sort("created_at", -1).limit(1)
        async with database_call():
            return [one["status"] async for one in last] == ["done"]
