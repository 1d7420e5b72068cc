"""The program `convive`: its commands, and how it ends."""

from __future__ import annotations

import asyncio
import os
import sys
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer
from typer.completion import completion_init, get_completion_script  # pyright: ignore[reportPrivateImportUsage]

from invitation.cli import administration, bulk, capacity, doctor, invitations, parked, replays, reports, staff
from invitation.cli.failures import ExitCode, Failed
from invitation.cli.output import Output, printable
from invitation.cli.session import Given, Session

app = typer.Typer(
    name="convive",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(invitations.app, name="invitation")
app.add_typer(bulk.app, name="bulk")
app.add_typer(parked.app, name="parked")
app.add_typer(replays.app, name="replay")
app.command()(reports.export)
app.command()(reports.stats)
app.command()(reports.audit)
app.add_typer(administration.cabinet, name="cabinet")
app.add_typer(staff.staff, name="staff")
app.add_typer(administration.directory, name="directory")
app.add_typer(administration.ops, name="ops")
app.add_typer(administration.event, name="event")
app.command()(doctor.doctor)
app.command()(capacity.capacity)


class Shell(StrEnum):
    """Shells that complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command()
def completion(shell: Annotated[Shell, typer.Argument(help="For which shell.", show_default=False)]) -> None:
    """Print what makes a shell complete the commands of this program.

    \b
    Example: convive completion bash >> ~/.bashrc
    """
    typer.echo(get_completion_script(prog_name="convive", complete_var="_CONVIVE_COMPLETE", shell=shell.value))


def _say_version(wanted: bool) -> None:
    if wanted:
        try:
            typer.echo(f"convive {version('convive')}")
        except PackageNotFoundError:  # run from the source tree
            typer.echo("convive, from its sources")
        raise typer.Exit


@app.callback()
def begin(
    context: typer.Context,
    stack: Annotated[
        Path | None,
        typer.Option(envvar="CONVIVE_STACK", help="Addresses and tokens of a local stack (.local/stack.json).",
                     show_default=False),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(help="Read the token of the call from there instead; - is the first line of stdin.",
                     show_default=False),
    ] = None,
    invitation_url: Annotated[str | None, typer.Option(help="Instead of CONVIVE_INVITATION_URL.")] = None,
    directory_url: Annotated[str | None, typer.Option(help="Instead of CONVIVE_DIRECTORY_URL.")] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds that one call may take.")] = 30.0,
    shown: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:  # fmt: skip
    """Operate Convive from a terminal, over its HTTP interfaces.

    Where: CONVIVE_INVITATION_URL, CONVIVE_DIRECTORY_URL. Who: CONVIVE_OPS_TOKEN, CONVIVE_ADMIN_TOKEN. Or --stack for
    all four. A firm's API key in place of the ops token works on its own invitations. Data goes to stdout, everything
    else to stderr; NO_COLOR turns colours off.
    """
    runner = asyncio.Runner()
    given = Given(stack, token_file, invitation_url, directory_url, time_limit)
    context.obj = Session(given, Output(), runner)
    context.call_on_close(runner.close)
    context.call_on_close(context.obj.close)


def main() -> None:
    """Run the program and exit."""
    # What an unknown publisher or a mail server says may be in any script, whatever this machine's locale is.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    completion_init()
    try:
        app(prog_name="convive")
    except Failed as failed:
        sys.stderr.write(f"{printable(failed)}\n")
        sys.exit(failed.code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read this has enough; nothing is left that could be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAILED)
