"""`convive invitation …`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from invitation.cli.options import (
    DEFAULT_LIMIT,
    INVITATIONS,
    All,
    Channel,
    Id,
    Json,
    Limit,
    Reason,
    Yes,
    taking,
)
from invitation.cli.output import Output, insist_on_consent
from invitation.cli.session import session
from invitation.cli.watching import Sight, WaitFor, follow, step_line

app = typer.Typer(no_args_is_help=True, help="Look at invitations, and act on one.")
Until = Annotated[str, typer.Option(help="RFC 3339 time of the new expiry, such as 2027-01-31T00:00:00Z.")]
COLUMNS = {
    "id": "id",
    "state": "state",
    "channel": "channel",
    "first name": "member.first_name",
    "last name": "member.last_name",
    "e-mail": "member.email",
    "cabinet": "cabinet.name",
    "dossier": "dossier.name",
    "updated": "updated_at",
    "reason": "reason",
}


@app.command("list")
@taking(INVITATIONS)
def list_invitations(
    context: typer.Context,
    criteria: dict[str, Any],
    sort: Annotated[str, typer.Option(help="-created_at or created_at.")] = "-created_at",
    limit: Limit = DEFAULT_LIMIT,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """List invitations, the newest first. A filter that is repeated means OR; different filters mean AND.

    \b
    Example: convive invitation list --state failed --state expired --stuck-for PT1H
    """
    here = session(context)
    found = here.ops.pages("/v1/invitations", {**criteria, "sort": sort}, None if everything else limit)
    here.output.items(found, COLUMNS, as_json=as_json)


@app.command()
def show(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Show one invitation and every step of its life.

    \b
    Example: convive invitation show 0f9b0c7e-6d0f-5d6c-9f2a-8f5b1c2d3e4f
    """
    here = session(context)
    show_invitation(here.output, here.ops.get(f"/v1/invitations/{id}"), as_json=as_json)


@app.command()
def watch(
    context: typer.Context,
    id: Id,
    until: Annotated[
        WaitFor | None, typer.Option(help="Stop once it has come that far; in a final state if not given.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Give up after so many seconds.", show_default=False)] = None,
    interval: Annotated[float, typer.Option(min=0.05, help="Look at least so often, in seconds.")] = 2.0,
    as_json: Json = False,
) -> None:
    """Follow an invitation, step by step. Ends with 0 when it has come where it was waited for, with 1 when it ended
    elsewhere, with 5 when that took too long. With --json each step is a line.

    \b
    Example: convive invitation watch 0f9b0c7e-6d0f-5d6c-9f2a-8f5b1c2d3e4f --until sent --timeout 60
    """
    here = session(context)

    def tell(step: dict[str, Any]) -> None:
        if as_json:
            here.output.json(step)
        else:
            here.output.text(step_line(step))

    here.ops.run(follow(here.ops, id, Sight(until), tell, here.output.note, interval=interval, timeout=timeout))


@app.command()
def resend(
    context: typer.Context, id: Id, channel: Channel = None, reason: Reason = None, as_json: Json = False
) -> None:
    """Send a new link; the one before stops working.

    \b
    Example: convive invitation resend 0f9b0c7e-6d0f-5d6c-9f2a-8f5b1c2d3e4f --channel email --reason "asked by phone"
    """
    _act(context, id, "resend", {"channel": channel, "reason": reason}, as_json=as_json)


@app.command()
def revoke(context: typer.Context, id: Id, reason: Reason = None, yes: Yes = False, as_json: Json = False) -> None:
    """Take an invitation back: no link of it works any more.

    \b
    Example: convive invitation revoke 0f9b0c7e-6d0f-5d6c-9f2a-8f5b1c2d3e4f --reason "left the firm" --yes
    """
    insist_on_consent(yes=yes)
    here = session(context)
    if not yes:
        state = here.ops.get(f"/v1/invitations/{id}")["state"]
        here.output.confirm(f"Revoke {id}, which is {state}? This cannot be undone.", yes=yes)
    _act(context, id, "revoke", {"reason": reason}, as_json=as_json)


@app.command()
def extend(context: typer.Context, id: Id, until: Until, reason: Reason = None, as_json: Json = False) -> None:
    """Let the link work for longer; an expired one works again.

    \b
    Example: convive invitation extend 0f9b0c7e-6d0f-5d6c-9f2a-8f5b1c2d3e4f --until 2027-01-31T00:00:00Z
    """
    _act(context, id, "extend", {"until": moment(until), "reason": reason}, as_json=as_json)


@app.command()
def correct(
    context: typer.Context,
    id: Id,
    email: Annotated[str | None, typer.Option(help="The right address.", show_default=False)] = None,
    phone: Annotated[str | None, typer.Option(help="The right number.", show_default=False)] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Reach the person elsewhere. Where the link went to the old address, a new one goes to the new.

    \b
    Example: convive invitation correct 0f9b0c7e-6d0f-5d6c-9f2a-8f5b1c2d3e4f --email jeanne@example.com --reason "typo"
    """
    if email is None and phone is None:
        raise typer.BadParameter("Give --email, --phone, or both.")
    _act(context, id, "correct", {"email": email, "phone": phone, "reason": reason}, as_json=as_json)


def moment(text: str) -> str:
    """A time with its zone, as it was given; wrong usage otherwise."""
    try:
        if datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    raise typer.BadParameter("Give an RFC 3339 time with its zone, such as 2027-01-31T00:00:00Z.")


def show_invitation(output: Output, invitation: dict[str, Any], *, as_json: bool) -> None:
    """An invitation for a person, or for a program."""
    if as_json:
        output.json(invitation)
        return
    member: dict[str, Any] = invitation["member"] or {}
    output.fields(
        {
            "id": invitation["id"],
            "state": invitation["state"],
            "reason": invitation["reason"],
            "name": " ".join(filter(None, (member.get("first_name"), member.get("last_name")))),
            "e-mail": member.get("email"),
            "phone": member.get("phone"),
            "role": member.get("role"),
            "cabinet": invitation["cabinet"] and f"{invitation['cabinet']['name']} ({invitation['cabinet']['id']})",
            "dossier": invitation["dossier"] and f"{invitation['dossier']['name']} ({invitation['dossier']['id']})",
            "source": invitation["source"],
            "channel": invitation["channel"],
            "link": f"number {invitation['link_sequence']}",
            "attempt": invitation["attempt"] or None,
            "created": invitation["created_at"],
            "updated": invitation["updated_at"],
            "expires": invitation["expires_at"],
            "due": invitation["due_at"],
        }
    )
    for step in invitation.get("history", ()):
        output.text(step_line(step))


def _act(context: typer.Context, id: str, action: str, body: dict[str, Any], *, as_json: bool) -> None:
    here = session(context)
    given = {name: value for name, value in body.items() if value is not None}
    invitation = here.ops.send("POST", f"/v1/invitations/{id}/{action}", given)
    if as_json:
        here.output.json(invitation)
    else:
        here.output.text(f"{id} is {invitation['state']}, with link number {invitation['link_sequence']}.")
        if action in ("resend", "correct"):
            here.output.note(f"Follow it with: convive invitation watch {id} --until sent")
