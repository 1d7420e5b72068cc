"""`convive cabinet …`, `convive directory …`, `convive ops token …`, `convive event publish`: making what others work
with."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from invitation.cli.failures import ExitCode, Failed
from invitation.cli.options import DEFAULT_LIMIT, All, Id, Json, Limit, Yes
from invitation.cli.output import insist_on_consent
from invitation.cli.session import session

cabinet = typer.Typer(no_args_is_help=True, help="Firms, in the directory.")
directory = typer.Typer(no_args_is_help=True, help="The directory as a whole.")
ops = typer.Typer(no_args_is_help=True, help="Who may operate.")
token = typer.Typer(no_args_is_help=True, help="Tokens of those who operate.")
event = typer.Typer(no_args_is_help=True, help="Events, for trying and for repairs by hand.")
ops.add_typer(token, name="token")


class Role(StrEnum):
    """How far a token goes."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


@cabinet.command("create")
def create_cabinet(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name, as people read it.", show_default=False)],
    phone: Annotated[str | None, typer.Option(help="Where its clients reach it.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Make a firm, and its API key, which is shown this once. It takes the directory's admin token.

    \b
    Example: convive cabinet create "Cabinet Léger" --phone "+33 1 23 45 67 89"
    """
    here = session(context)
    made = here.admin.send("POST", "/v1/cabinets", {"name": name, "phone": phone} if phone else {"name": name})
    if as_json:
        here.output.json(made)
        return
    here.output.fields({"id": made["id"], "name": made["name"], "API key": made["api_key"]})
    here.output.note("Keep the key now: it is not shown again.")


@directory.command("announce")
def announce(
    context: typer.Context,
    cursor: Annotated[str | None, typer.Option(help="Where to go on, after a break.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Have the directory publish the present state of everything anew. It takes the directory's admin token.

    For an invitation service that has lost more than the log can give back; who knows a state already changes nothing.

    \b
    Example: convive directory announce
    """
    here = session(context)
    told = dict.fromkeys(("cabinets", "dossiers", "members", "accounts"), 0)
    while True:
        try:
            part = here.admin.send("POST", "/v1/announcements", {"cursor": cursor} if cursor else {})
        except Failed as failed:
            going_on = f" Go on with --cursor {cursor}." if cursor else ""
            raise Failed(f"{failed}{going_on}", failed.code) from None
        told[part["kind"]] += part["told"]
        cursor = part["next_cursor"]
        if cursor is None:
            break
        here.output.note(", ".join(f"{number} {kind}" for kind, number in told.items()))
    if as_json:
        here.output.json(told)
        return
    here.output.fields({kind: str(number) for kind, number in told.items()})


@token.command("create")
def create_token(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Whose it is: letters, digits, . _ @ -", show_default=False)],
    role: Annotated[Role, typer.Option(help="How far it goes.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Make a token for somebody. It alone is written to stdout, this once.

    \b
    Example: convive ops token create anne --role writer > anne.token
    """
    here = session(context)
    made = here.ops.send("POST", "/v1/tokens", {"name": name, "role": role.value})
    if as_json:
        here.output.json(made)
        return
    here.output.text(made["token"])
    here.output.note(f"The token of {made['name']} ({made['role']}), {made['id']}. It is not shown again.")


@token.command("list")
def list_tokens(
    context: typer.Context, limit: Limit = DEFAULT_LIMIT, everything: All = False, as_json: Json = False
) -> None:
    """List the tokens, the revoked ones too; never the secrets.

    \b
    Example: convive ops token list
    """
    here = session(context)
    found = here.ops.pages("/v1/tokens", {}, None if everything else limit)
    columns = ("id", "name", "role", "created_at", "created_by", "revoked_at", "revoked_by")
    here.output.items(found, {name.replace("_", " "): name for name in columns}, as_json=as_json)


@token.command("revoke")
def revoke_token(context: typer.Context, id: Id, yes: Yes = False, as_json: Json = False) -> None:
    """End a token; other processes believe it for ten seconds more.

    \b
    Example: convive ops token revoke 7c9e6679-7425-40de-944b-e07fc1f90ae7 --yes
    """
    insist_on_consent(yes=yes)
    here = session(context)
    here.output.confirm(f"Revoke the token {id}?", yes=yes)
    ended = here.ops.send("DELETE", f"/v1/tokens/{id}")
    if as_json:
        here.output.json(ended)
    else:
        here.output.text(f"The token of {ended['name']} is revoked.")


@event.command()
def publish(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="A CloudEvents event as JSON; - is stdin.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Publish an event, and return once the broker has it. The same file again is the same event: it counts once.

    \b
    Example: convive event publish created.json
    """
    here = session(context)
    api = here.ops  # first: a token from stdin is the line before the event
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text()
        read: object = json.loads(text)
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}.", ExitCode.USAGE) from None
    except ValueError as error:
        raise Failed(f"{file} is no JSON: {error}.", ExitCode.USAGE) from None
    if not isinstance(read, dict):
        raise Failed(f"{file} holds no event: a JSON object is expected.", ExitCode.USAGE)
    published = api.send("POST", "/v1/events", cast("dict[str, Any]", read))
    if as_json:
        here.output.json(published)
        return
    here.output.text(published["id"])
    if published["invitation_id"]:
        here.output.note(f"Follow it with: convive invitation watch {published['invitation_id']}")
