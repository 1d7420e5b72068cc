"""`convive export`, `convive stats`, `convive audit`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from invitation.cli.failures import ExitCode, Failed
from invitation.cli.options import AUDITED, DEFAULT_LIMIT, INVITATIONS, All, Json, Limit, taking
from invitation.cli.session import session


class Format(StrEnum):
    """What an export is written as."""

    CSV = "csv"
    JSONL = "jsonl"


@taking(INVITATIONS)
def export(
    context: typer.Context,
    criteria: dict[str, Any],
    form: Annotated[Format, typer.Option("--format", help="A table, or JSON lines.")] = Format.CSV,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    to: Annotated[
        Path | None, typer.Option("--output", help="The file to write; stdout if not given.", show_default=False)
    ] = None,
) -> None:
    """Write all invitations of a filter as a table, the newest first. A file appears only once it is whole.

    \b
    Example: convive export --state failed --output failed.csv
    """
    here = session(context)
    query = {**criteria, "format": "jsonl" if as_json else form.value}
    with ExitStack() as stack:
        if to is None:
            here.ops.carry("/v1/invitations/export", query, sys.stdout.buffer.write)
            sys.stdout.buffer.flush()
            return
        part = to.with_name(f"{to.name}.part")
        try:
            file = stack.enter_context(part.open("wb"))
            stack.callback(part.unlink, missing_ok=True)
            here.ops.carry("/v1/invitations/export", query, file.write)
            file.flush()
            part.replace(to)
        except OSError as error:
            raise Failed(f"--output {to} cannot be written: {error.strerror}.", ExitCode.USAGE) from None
    here.output.note(f"Written: {to}")


def stats(context: typer.Context, as_json: Json = False) -> None:
    """Show how many invitations stand where.

    \b
    Example: convive stats --json
    """
    here = session(context)
    found = here.ops.get("/v1/stats")
    if as_json:
        here.output.json(found)
        return
    oldest = found["oldest_pending"]
    here.output.table(["state", "invitations"], [*found["by_state"].items(), ("all", found["total"])])
    here.output.fields(
        {
            "created in the last hour": str(found["created_last_hour"]),
            "oldest pending": oldest and f"{oldest['id']} since {oldest['created_at']}",
            "counted": found["as_of"],
        }
    )
    outcomes = ("waiting", "accepted", "failed")
    by_channel = found["delivery"]["by_channel"].items()
    here.output.table(
        ["sent by", *outcomes], [(channel, *map(numbers.get, outcomes)) for channel, numbers in by_channel]
    )
    if found["reasons"]:
        here.output.table(["why it ended", "invitations"], found["reasons"].items())


@taking(AUDITED)
def audit(
    context: typer.Context,
    criteria: dict[str, Any],
    limit: Limit = DEFAULT_LIMIT,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """Show who did what, when and why, the newest first.

    \b
    Example: convive audit --actor ops:anne --after 2026-11-01T00:00:00Z
    """
    here = session(context)
    found = here.ops.pages("/v1/audit", criteria, None if everything else limit)
    names = ("at", "actor", "action", "target", "outcome", "error", "reason")
    here.output.items(found, {name: name for name in names}, as_json=as_json)
