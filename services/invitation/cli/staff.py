"""`convive staff …`: the people who act for a firm. It takes the directory's admin token."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from invitation.cli.failures import ExitCode, Failed
from invitation.cli.options import DEFAULT_LIMIT, All, Json, Limit, Yes
from invitation.cli.output import insist_on_consent
from invitation.cli.session import session

staff = typer.Typer(no_args_is_help=True, help="The people who act for a firm.")

Cabinet = Annotated[str, typer.Option("--cabinet-id", help="Of this firm.", show_default=False)]
_COLUMNS = {
    name.replace("_", " "): name for name in ("account_id", "email", "first_name", "last_name", "active", "since")
}


class Locale(StrEnum):
    """Languages of the letter to them."""

    FRENCH = "fr"
    ENGLISH = "en"


@staff.command("create")
def create(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="Their login.", show_default=False)],
    cabinet_id: Cabinet,
    first_name: Annotated[str, typer.Option(help="As colleagues read it.", show_default=False)],
    last_name: Annotated[str, typer.Option(help="As colleagues read it.", show_default=False)],
    locale: Annotated[Locale, typer.Option(help="Language of the letter to them.")] = Locale.FRENCH,
    password_file: Annotated[
        str | None,
        typer.Option(
            help="Send no letter, as you vouch for the address: its first line is the password; - is stdin.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give somebody a place at a firm. They are written to, and choose a password by the link; the same again changes
    nothing.

    \b
    Example: convive staff create claire@leger.example --cabinet-id 7c9e6679-… --first-name Claire --last-name Léger
    """
    here = session(context)
    api = here.admin  # first: a token from stdin is the line before the password
    who: dict[str, Any] = {"email": email, "first_name": first_name, "last_name": last_name, "locale": locale.value}
    if password_file is not None:
        who["password"] = _first_line(password_file)
    made = api.send("POST", f"/v1/cabinets/{cabinet_id}/staff", who)
    if as_json:
        here.output.json(made)
        return
    here.output.text(made["account_id"])
    here.output.note(
        f"{email} can sign in."
        if made["active"]
        else f"A letter is on its way to {email}: the place counts once its link was used."
    )


@staff.command("list")
def list_staff(
    context: typer.Context,
    cabinet_id: Cabinet,
    limit: Limit = DEFAULT_LIMIT,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """List who acts for a firm, those too who have not chosen a password yet.

    \b
    Example: convive staff list --cabinet-id 7c9e6679-…
    """
    here = session(context)
    found = here.admin.pages(f"/v1/cabinets/{cabinet_id}/staff", {}, None if everything else limit)
    here.output.items(found, _COLUMNS, as_json=as_json)


@staff.command("remove")
def remove(
    context: typer.Context,
    account_id: Annotated[str, typer.Argument(help="Its id, from the list.", show_default=False)],
    cabinet_id: Cabinet,
    yes: Yes = False,
) -> None:
    """End somebody's place at a firm, at once. Their account stays.

    \b
    Example: convive staff remove 1b4e28ba-… --cabinet-id 7c9e6679-… --yes
    """
    insist_on_consent(yes=yes)
    here = session(context)
    here.output.confirm(f"Remove {account_id} from the firm?", yes=yes)
    here.admin.send("DELETE", f"/v1/cabinets/{cabinet_id}/staff/{account_id}")
    here.output.text(f"{account_id} no longer acts for the firm.")


def _first_line(file: str) -> str:
    try:
        line = sys.stdin.readline() if file == "-" else Path(file).read_text().partition("\n")[0]
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}.", ExitCode.USAGE) from None
    if not (password := line.rstrip("\r\n")):
        raise Failed(f"{file} has no password in its first line.", ExitCode.USAGE)
    return password
