"""`convive bulk …`: one action on every invitation of a filter."""

from __future__ import annotations

from typing import Any

import typer

from invitation.cli.invitations import Until, moment
from invitation.cli.options import (
    DEFAULT_LIMIT,
    INVITATIONS,
    All,
    DryRun,
    Id,
    Json,
    Limit,
    NeededReason,
    NoWait,
    Rate,
    Through,
    Yes,
    taking,
)
from invitation.cli.runs import COLUMNS, carry_out, show_run
from invitation.cli.session import session

app = typer.Typer(no_args_is_help=True, help="Do one thing to many invitations.")
_PATH = "/v1/bulk"


@app.command()
@taking(INVITATIONS)
def resend(
    context: typer.Context,
    criteria: dict[str, Any],
    reason: NeededReason,
    through: Through = None,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Send a new link to everybody of a filter: look first, ask, then do it.

    \b
    Example: convive bulk resend --state failed --error "550 no such user" --reason "mail server repaired"
    """
    _do(context, criteria, {"action": "resend", "channel": through, "reason": reason, "rate": rate},
        "send a new link to", dry_run=dry_run, yes=yes, wait=not no_wait, as_json=as_json)  # fmt: skip


@app.command()
@taking(INVITATIONS)
def revoke(
    context: typer.Context,
    criteria: dict[str, Any],
    reason: NeededReason,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Take back every invitation of a filter. This cannot be undone.

    \b
    Example: convive bulk revoke --dossier-id 5f0c1d2e-3a4b-4c5d-8e6f-7a8b9c0d1e2f --reason "announced by mistake"
    """
    _do(context, criteria, {"action": "revoke", "reason": reason, "rate": rate},
        "revoke", dry_run=dry_run, yes=yes, wait=not no_wait, as_json=as_json)  # fmt: skip


@app.command()
@taking(INVITATIONS)
def extend(
    context: typer.Context,
    criteria: dict[str, Any],
    until: Until,
    reason: NeededReason,
    rate: Rate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Let the links of a filter work for longer.

    \b
    Example: convive bulk extend --state sent --until 2027-01-31T00:00:00Z --reason "holidays" --dry-run
    """
    _do(context, criteria, {"action": "extend", "until": moment(until), "reason": reason, "rate": rate},
        "extend", dry_run=dry_run, yes=yes, wait=not no_wait, as_json=as_json)  # fmt: skip


@app.command("list")
def list_bulk(
    context: typer.Context, limit: Limit = DEFAULT_LIMIT, everything: All = False, as_json: Json = False
) -> None:
    """List bulk operations, the newest first.

    \b
    Example: convive bulk list --limit 5
    """
    here = session(context)
    found = here.ops.pages(_PATH, {}, None if everything else limit)
    here.output.items(found, {"action": "action", **COLUMNS}, as_json=as_json)


@app.command()
def show(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Show how far a bulk operation has come.

    \b
    Example: convive bulk show 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    here = session(context)
    show_run(here.output, here.ops.get(f"{_PATH}/{id}"), as_json=as_json)


@app.command()
def pause(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Let it rest after the group it is at.

    \b
    Example: convive bulk pause 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    _step(context, id, "pause", as_json=as_json)


@app.command()
def resume(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Let it go on.

    \b
    Example: convive bulk resume 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    _step(context, id, "resume", as_json=as_json)


@app.command()
def abort(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Stop it for good; what is done stays done.

    \b
    Example: convive bulk abort 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    _step(context, id, "abort", as_json=as_json)


def _step(context: typer.Context, id: str, step: str, *, as_json: bool) -> None:
    here = session(context)
    show_run(here.output, here.ops.send("POST", f"{_PATH}/{id}/{step}"), as_json=as_json)


def _do(context: typer.Context, criteria: dict[str, Any], body: dict[str, Any], verb: str, **how: bool) -> None:
    if not criteria:
        raise typer.BadParameter("Give at least one filter: everything at once is not offered.")
    carry_out(session(context), _PATH, {**body, "filter": criteria}, verb, **how)  # pyright: ignore[reportArgumentType]
