"""`convive parked …`: messages that could not be handled."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from invitation.cli.failures import ExitCode, Failed
from invitation.cli.options import DEFAULT_LIMIT, All, Id, Json, Limit, Reason, Yes
from invitation.cli.output import Output, insist_on_consent, interactive
from invitation.cli.session import session

app = typer.Typer(no_args_is_help=True, help="Look at messages that could not be handled, and settle them.")
_PATH = "/v1/parked"
_COLUMNS = {
    "id": "id", "queue": "queue", "fingerprint": "fingerprint", "count": "count", "last seen": "last_seen",
    "reason": "reason",
}  # fmt: skip
_GROUPS = {
    "fingerprint": "fingerprint", "messages": "messages", "first seen": "first_seen", "last seen": "last_seen",
    "reason": "reason",
}  # fmt: skip


class GroupBy(StrEnum):
    """What parked messages are grouped by."""

    FINGERPRINT = "fingerprint"


class Status(StrEnum):
    """What became of a parked message."""

    PARKED = "parked"
    WAITING = "waiting"
    REPLAYED = "replayed"
    EDITED = "edited"
    DISCARDED = "discarded"


@app.command("list")
def list_parked(
    context: typer.Context,
    status: Annotated[Status, typer.Option(help="What became of them.")] = Status.PARKED,
    fingerprint: Annotated[list[str] | None, typer.Option(help="Of this group.", show_default=False)] = None,
    group_by: Annotated[GroupBy | None, typer.Option(help="Groups of what failed alike.", show_default=False)] = None,
    limit: Limit = DEFAULT_LIMIT,
    everything: All = False,
    as_json: Json = False,
) -> None:
    """List parked messages of both services, the one seen last first.

    \b
    Example: convive parked list --group-by fingerprint
    """
    here = session(context)
    query = {
        "status": status.value,
        "fingerprint": fingerprint or [],
        "group_by": group_by.value if group_by else None,
    }
    found = here.ops.pages(_PATH, query, None if everything else limit)
    here.output.items(found, _GROUPS if group_by else _COLUMNS, as_json=as_json)


@app.command()
def show(context: typer.Context, id: Id, as_json: Json = False) -> None:
    """Show one as it came: why it was refused, its headers, its body.

    \b
    Example: convive parked show 7c9e6679-7425-40de-944b-e07fc1f90ae7
    """
    here = session(context)
    _show(here.output, here.ops.get(f"{_PATH}/{id}"), as_json=as_json)


@app.command()
def edit(
    context: typer.Context,
    id: Id,
    file: Annotated[
        str | None, typer.Option(help="Take the body from there instead of $EDITOR; - is stdin.", show_default=False)
    ] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Park a corrected copy, in $EDITOR or from a file. The original is kept; replay the copy afterwards.

    \b
    Example: convive parked edit 7c9e6679-7425-40de-944b-e07fc1f90ae7 --file corrected.json --reason "a comma too many"
    """
    here = session(context)
    if file is None and not interactive():
        raise Failed("There is no terminal for an editor here: give --file.", ExitCode.USAGE)
    api = here.ops  # first: a token from stdin is the line before the body
    body = _read(file) if file is not None else _edited(api.get(f"{_PATH}/{id}")["body"])
    change = {"body": body, "reason": reason} if reason else {"body": body}
    copy = api.send("PUT", f"{_PATH}/{id}", change)
    if as_json:
        here.output.json(copy)
    else:
        here.output.text(copy["id"])
        here.output.note(f"Parked as a copy. Have it handled with: convive parked replay {copy['id']}")


@app.command()
def replay(context: typer.Context, id: Id, reason: Reason = None, as_json: Json = False) -> None:
    """Have one handled again, now. For a whole group: convive replay start --from parked.

    \b
    Example: convive parked replay 7c9e6679-7425-40de-944b-e07fc1f90ae7 --reason "the firm exists by now"
    """
    here = session(context)
    settled = here.ops.send("POST", f"{_PATH}/{id}/replay", {"reason": reason} if reason else {})
    _say(here.output, settled, as_json=as_json)


@app.command()
def discard(context: typer.Context, id: Id, reason: Reason = None, yes: Yes = False, as_json: Json = False) -> None:
    """Put one out of sight; it is kept.

    \b
    Example: convive parked discard 7c9e6679-7425-40de-944b-e07fc1f90ae7 --reason "a test of somebody" --yes
    """
    insist_on_consent(yes=yes)
    here = session(context)
    here.output.confirm(f"Discard {id}?", yes=yes)
    settled = here.ops.send("DELETE", f"{_PATH}/{id}", {"reason": reason} if reason else {})
    _say(here.output, settled, as_json=as_json)


def _say(output: Output, parked: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.json(parked)
    else:
        output.text(f"{parked['id']} is {parked['status']}.")


def _show(output: Output, parked: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.json(parked)
        return
    headers = {f"header {header['name']}": header["value"] for header in parked["headers"]}
    settled: dict[str, Any] = parked["settled"] or {}
    names = (
        "id", "status", "reason", "fingerprint", "queue", "exchange", "routing_key", "message_id", "content_type",
        "count", "size", "sha256", "first_seen", "last_seen", "edited_from", "edited_to",
    )  # fmt: skip
    output.fields({name.replace("_", " "): parked[name] for name in names} | headers | {
        "settled": settled.get("at"), "settled by": settled.get("by"), "settled for": settled.get("reason"),
    })  # fmt: skip
    output.text("")
    output.text(parked["body"])


def _read(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"--file {file} cannot be read: {error}.", ExitCode.USAGE) from None


def _edited(body: str) -> str:
    """The body as it comes out of the editor. It is personal data: the file is the owner's alone, and goes at once."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="convive-") as folder:
        file = Path(folder) / "message.json"
        file.write_text(body)
        try:
            ended = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 it is the person's own
        except OSError as error:
            raise Failed(f"The editor {editor} cannot be run: {error.strerror}. Set EDITOR.") from None
        if ended.returncode:
            raise Failed(f"The editor ended with {ended.returncode}: nothing was changed.")
        changed = file.read_text()
    if changed == body:
        raise Failed("Nothing was changed.")
    return changed
