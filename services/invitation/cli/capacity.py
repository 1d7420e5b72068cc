"""`convive capacity`: what so many invitations a day need."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from invitation.capacity import CORES_OF_A_SHARD, Habits, measured, plan
from invitation.cli.options import Json
from invitation.cli.session import session

_USUAL = Habits()
_COUNTED = {
    "directory": "process",
    "web": "process (invitation --role web)",
    "worker": "process (invitation --role worker)",
    "database": f"shard of {CORES_OF_A_SHARD} cores, a replica set of three",
    "broker": f"node of {CORES_OF_A_SHARD} cores, three at least",
}


def capacity(
    context: typer.Context,
    per_day: Annotated[int, typer.Option(min=1, help="Invitations on a busy day.")],
    busiest_hour: Annotated[
        float, typer.Option(min=1 / 24, max=1, help="Share of a day's invitations in its busiest hour.")
    ] = _USUAL.busiest_hour,
    opened: Annotated[float, typer.Option(min=0, max=1, help="Share of those invited who open the link.")] = (
        _USUAL.opened
    ),
    passwords: Annotated[float, typer.Option(min=0, max=1, help="Share who choose a password.")] = (
        _USUAL.chose_a_password
    ),
    as_json: Json = False,
) -> None:
    """Work out what a number of invitations a day needs, from the costs that were measured for this version.

    \b
    Example: convive capacity --per-day 100000
    """
    here, costs = session(context), measured()
    wanted = plan(per_day, Habits(busiest_hour, opened, passwords), costs)
    if as_json:
        here.output.json(asdict(wanted) | {"measured": costs.measured, "machine": costs.machine})
        return
    here.output.text(
        f"In the busiest hour, per second: {wanted.invitations:,.1f} invitations, {wanted.pages:,.1f} pages,"
        f" {wanted.passwords:,.1f} passwords."
    )
    here.output.table(
        ("part", "cores busy", "at least"),
        [(part.name, f"{part.cores:,.2f}", f"{part.count:,} × {_COUNTED[part.name]}") for part in wanted.parts],
    )
    here.output.text(
        f"Stored in a year: {wanted.stored_in_a_year / 1e9:,.1f} GB; the log of thirty days:"
        f" {wanted.log / 1e9:,.1f} GB. Three copies of each."
    )
    here.output.note(f"Cores as of {costs.machine}, measured on {costs.measured}. See docs/scaling.md.")
