"""docs/cli.md, made from the program itself."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from invitation.cli.failures import ExitCode
from invitation.cli.program import app

_WIDTH = 110
_CONTEXT: dict[str, Any] = {"max_content_width": _WIDTH, "help_option_names": ["-h", "--help"]}


_ABOUT = """\
# The command line

`convive` operates Convive from any machine that reaches its HTTP interfaces; it needs neither broker nor database. It
is installed with the services; `python -m invitation.cli` is the same. This page is made from the program.

- Data goes to stdout; progress, questions and notes go to stderr. `--json` prints one document, or a line for each item
  of a list. Tables are plain where stdout is no terminal, and without colours where `NO_COLOR` is set.
- A token is never an option's value, for those end in the shell's history: it comes from the environment, from
  `--token-file`, or from the first line of stdin (`--token-file -`).
- What cannot be taken back asks first. Where nobody can be asked, it is refused (exit code 2) unless `--yes` is given.
  Bulk operations and replays are previewed before the question, and `--dry-run` is the preview alone.
- Every call has a time limit (`--time-limit`). Reading is tried again while a service is away; doing never is: where an
  answer was lost, the message says that it may have been done.

## Exit codes

| code | means |
| --- | --- |
{codes}

## What it looks like

```console
{session}
```

## Commands"""


def page(session: str) -> str:
    """The page. `session` is what a terminal showed."""
    root = get_command(app)
    codes = "\n".join(f"| {code.value} | {code.meaning} |" for code in ExitCode)
    about = _ABOUT.format(codes=codes, session=session.strip())
    context = typer.Context(root, info_name="convive", terminal_width=_WIDTH, **_CONTEXT)
    return "\n".join([about, *_described(context)]) + "\n"


def _described(context: typer.Context) -> list[str]:
    """The help of a command as it prints it, then of those below it."""
    command = context.command
    lines = ["", f"### {context.command_path}", "", "```text", command.get_help(context).rstrip(), "```"]
    if isinstance(command, TyperGroup):
        for name in command.list_commands(context):
            if (below := command.get_command(context, name)) is not None:
                lines += _described(typer.Context(below, info_name=name, parent=context))
    return lines
