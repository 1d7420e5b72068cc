"""Replays: which recorded events are handled again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from convive_kit.mongo import Database
from convive_kit.runs import Run, Runs

Origin = Literal["log", "parked"]

REPLAYS = "replays"


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
