"""What a database does for the commands a store sends: heard on the wire, and run again under `explain`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from convive_kit.mongo import Database, Document

_LOOKS_FOR_NOTHING = {
    "insert",
    "getMore",
    "killCursors",
    "createIndexes",
    "listIndexes",
    "hello",
    "ping",
    "explain",
    "endSessions",
}
# What bounds an open range of times is a date that Python does not know.
_WITH_THE_LAST_MOMENT_OF_ALL = CodecOptions[Document](datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_OF_THE_SESSION = {"lsid", "txnNumber", "writeConcern", "readConcern", "ordered"}


class Heard(CommandListener):
    """Listens to a client; keeps the commands that look something up. One that cannot be explained will say so."""

    def __init__(self) -> None:
        self.commands: list[Document] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name not in _LOOKS_FOR_NOTHING:
            self.commands.append(dict(event.command))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Heard when it started."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Heard when it started."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How one command is carried out. `stages` are those that touch an index or documents, `later` those of a pipeline
    behind them."""

    command: Document
    stages: tuple[str, ...]
    later: tuple[str, ...]
    keys: int
    documents: int
    returned: int

    @property
    def faults(self) -> list[str]:
        """What no query on offer may do. What was grouped is few, and may be sorted."""
        if "'$in': []" in str(self.command) and self.keys == 0:
            return []  # nothing can fit, and nothing is looked at
        faults = [stage for stage in self.stages if stage in ("COLLSCAN", "SORT", "EOF")]
        stages = ["$group" if stage == "GROUP" else stage for stage in (*self.stages[:1], *self.later)]
        grouped = stages.index("$group") if "$group" in stages else len(stages)
        return faults + [stage for stage in stages[:grouped] if stage == "$sort"]


async def explain(database: Database, commands: Iterable[Mapping[str, Any]]) -> list[Plan]:
    """Explain commands as they were sent; those that write are not carried out again."""
    plans: list[Plan] = []
    for command in (single for sent in commands for single in _singles(sent)):
        said = await database.command(
            {"explain": command, "verbosity": "executionStats"}, codec_options=_WITH_THE_LAST_MOMENT_OF_ALL
        )
        stages = said.get("stages", [])
        found = next((stage["$cursor"] for stage in stages if "$cursor" in stage), said)
        done = found["executionStats"]
        plans.append(
            Plan(
                command,
                tuple(_stages(found["queryPlanner"]["winningPlan"])),
                tuple(next(iter(stage)) for stage in stages if "$cursor" not in stage),
                done["totalKeysExamined"],
                done["totalDocsExamined"],
                done["nReturned"],
            )
        )
    return plans


def _singles(command: Mapping[str, Any]) -> Iterable[Document]:
    plain = {name: value for name, value in command.items() if name[0] != "$" and name not in _OF_THE_SESSION}
    for statements in ("updates", "deletes"):
        if statements in plain:
            yield from ({**plain, statements: [statement]} for statement in plain[statements])
            return
    if "pipeline" in plain:
        # Where a result is merged to is not explained together with what happened.
        plain["pipeline"] = [stage for stage in plain["pipeline"] if "$merge" not in stage]
    yield plain


def _stages(plan: Any) -> Iterable[str]:
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan["stage"]
        for name, inner in plan.items():
            if name != "slotBasedPlan":
                yield from _stages(inner)
    elif isinstance(plan, list):
        for inner in plan:
            yield from _stages(inner)
