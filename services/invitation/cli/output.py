"""Data goes to stdout, everything said besides to stderr; tables are plain where nobody looks at them."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from invitation.cli.failures import ExitCode, Failed

# What a terminal would obey or be misled by: a parked message may have been made by anybody.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_WIDE = 10_000
_COLOURS = {
    "active": "green", "done": "green", "ok": "green", "replayed": "green",
    "failed": "red", "parked": "yellow", "expired": "yellow", "declined": "yellow", "advice": "yellow",
    "pending": "cyan", "running": "cyan", "paused": "yellow",
}  # fmt: skip


def printable(text: object) -> str:
    """As text without control characters; nothing for None."""
    return "" if text is None else _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", str(text))


def interactive() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty() and sys.stderr.isatty()


class Output:
    """Where the program writes."""

    def __init__(self) -> None:
        self.looked_at = sys.stdout.isatty()
        # As wide as it must be: cells that are folded to fit a narrow terminal can be neither read nor copied.
        self._out = Console(highlight=False, width=_WIDE, soft_wrap=True)
        self.err = Console(stderr=True, highlight=False)

    def note(self, text: str) -> None:
        """Say something that is no data."""
        self.err.print(Text(printable(text)), soft_wrap=True)

    def json(self, document: Any) -> None:
        """One JSON document on a line of its own."""
        sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def text(self, text: str) -> None:
        self._out.print(_cell(text), soft_wrap=True)

    def judged(self, verdict: str, text: str) -> None:
        """A line that begins with what is to be thought of it."""
        self._out.print(_cell(verdict), Text(f"{'':<{8 - len(verdict)}}{printable(text)}"), sep="", soft_wrap=True)

    def table(self, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table, a row to a line."""
        table = Table(box=box.SIMPLE_HEAD if self.looked_at else None, pad_edge=False, header_style="bold")
        for head in heads:
            table.add_column(head, no_wrap=True)
        for row in rows:
            table.add_row(*(_cell(printable(value).replace("\n", " ")) for value in row))
        self._out.print(table)

    def fields(self, fields: Mapping[str, object]) -> None:
        """Names and values, one to a line; what is empty is left out."""
        given = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
        width = max((len(name) for name in given), default=0)
        for name, value in given.items():
            self._out.print(Text(f"{printable(name):<{width}}  ", style="dim"), _cell(value), sep="", soft_wrap=True)

    def items(self, items: Iterable[Any], columns: Mapping[str, str], *, as_json: bool) -> None:
        """A list: JSON lines as they come, or a table of `columns` (head: path of the value, as in `member.email`)."""
        if as_json:
            for item in items:
                self.json(item)
        else:
            self.table(list(columns), ([value_of(item, path) for path in columns.values()] for item in items))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Go on only if somebody agrees. Without anybody to ask, nothing is done unless `--yes` was given."""
        if yes:
            return
        insist_on_consent(yes=False)
        try:
            agreed = typer.confirm(printable(question), err=True)
        except typer.Abort:  # Ctrl-C or Ctrl-D in place of an answer
            raise KeyboardInterrupt from None
        if not agreed:
            raise Failed("Nothing was done.")


def insist_on_consent(*, yes: bool) -> None:
    """Refuse before anything is asked of a service, where nobody could be asked afterwards."""
    if not yes and not interactive():
        raise Failed("Nobody can be asked here: repeat it with --yes to do it, or --dry-run to look.", ExitCode.USAGE)


def value_of(item: Any, path: str) -> Any:
    """The value at a dotted path, counts as text."""
    for name in path.split("."):
        item = cast("dict[str, Any]", item).get(name) if isinstance(item, dict) else None
    return counts(cast("dict[str, Any]", item)) if isinstance(item, dict) else item


def counts(numbers: Mapping[str, Any]) -> str:
    """`revoked 2, active 1`."""
    return ", ".join(f"{name} {number}" for name, number in numbers.items())


def _cell(value: object) -> Text:
    text = printable(value)
    return Text(text, style=_COLOURS.get(text, ""))
