"""`convive replay …`: have recorded events handled again."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from invitation.cli.options import (
    DEFAULT_LIMIT,
    RECORDED,
    All,
    DryRun,
    Id,
    Json,
    Limit,
    NeededReason,
    NoWait,
    Rate,
    Yes,
    taking,
)
from invitation.cli.runs import COLUMNS, carry_out, show_run, until_over
from invitation.cli.session import session

app = typer.Typer(no_args_is_help=True, help="Have recorded events handled again. What is done stays done.")
_PATH = "/v1/replays"


class Origin(StrEnum):
    """Where recorded events are."""

    PARKED = "parked"
    LOG = "log"


@app.command()
@taking(RECORDED)
def start(
    context: typer.Context,
    criteria: dict[str, Any],
    origin: Annotated[Origin, typer.Option("--from", help="The parked messages, or the log of all events.")],
    reason: NeededReason,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Handle the events of a filter again: look first, ask, then do it.

    \b
    Example: convive replay start --from parked --fingerprint intake:malformed --reason "fixed by the publisher"
    """
    if not criteria:
        raise typer.BadParameter("Give at least one filter; --after with an early time takes everything.")
    body = {"from": origin.value, "filter": criteria, "reason": reason, "rate": rate}
    carry_out(session(context), _PATH, body, "replay", dry_run=dry_run, yes=yes, wait=not no_wait, as_json=as_json)


@app.command("list")
def list_replays(
    context: typer.Context, limit: Limit = DEFAULT_LIMIT, everything: All = False, as_json: Json = False
) -> None:
    """List replays, the newest first.

    \b
    Example: convive replay list --limit 5
    """
    here = session(context)
    found = here.ops.pages(_PATH, {}, None if everything else limit)
    here.output.items(found, {"from": "from", "mode": "mode", **COLUMNS}, as_json=as_json)


@app.command()
def show(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Show how far a replay has come.

    \b
    Example: convive replay show 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    here = session(context)
    show_run(here.output, here.ops.get(f"{_PATH}/{id}"), as_json=as_json)


@app.command()
def watch(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Wait for the end of a replay.

    \b
    Example: convive replay watch 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    here = session(context)
    api = here.ops
    run = until_over(here.output, api, _PATH, api.get(f"{_PATH}/{id}"), "replay")
    show_run(here.output, run, as_json=as_json)


@app.command()
def abort(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Stop it; what is done stays done.

    \b
    Example: convive replay abort 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    here = session(context)
    show_run(here.output, here.ops.send("POST", f"{_PATH}/{id}/abort"), as_json=as_json)
