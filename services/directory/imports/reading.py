"""A table as somebody's spreadsheet or payroll has saved it: bytes become rows under known columns. Pure.

Nobody is asked for encoding or separator: both are found out, and shown in the preview.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from charset_normalizer import from_bytes

from directory.imports.columns import COLUMNS, REQUIRED, column_of

MOST_BYTES = 16 * 1024 * 1024
MOST_ROWS = 50_000
MOST_COLUMNS = 100
LONGEST_CELL = 1000
"""Characters. Nothing we read is as long; a quote that was never closed is longer."""

_SEPARATORS = ";,\t|"
_SAMPLE = 64 * 1024
_LOOKED_AT = 20
"""Records from which the separator is guessed."""
_OF_ONE_BYTE = ["cp1252", "mac_roman", "cp850"]
"""What French and English spreadsheets write where they do not write Unicode: Windows, the Macintosh, and DOS."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OTHER_FILES = ((b"PK\x03\x04", "xlsx"), (b"\xd0\xcf\x11\xe0", "xls"), (b"%PDF", "pdf"))


class Unreadable(ValueError):
    """The file cannot be read as such a table. `slug` says why; `about` fills in the sentence for it."""

    def __init__(self, slug: str, **about: str | int) -> None:
        super().__init__(slug)
        self.slug = slug
        self.about = about


@dataclass(frozen=True, slots=True)
class Row:
    """`number` counts as spreadsheets do: the headings are in row 1. `values` holds what is filled in, by column."""

    number: int
    cells: Sequence[str]
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Table:
    """`ignored` are the headings we make nothing of."""

    encoding: str
    separator: str
    headings: Sequence[str]
    ignored: Sequence[str]
    rows: Sequence[Row]


def read(content: bytes, *, needs_dossier: bool = False) -> Table:
    """The rows of a table, empty ones left out. Raises `Unreadable`, whatever the bytes are."""
    if len(content) > MOST_BYTES:
        raise Unreadable("too_large", most=MOST_BYTES // 1024 // 1024)
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise Unreadable("no_text") from None
    if "\0" in text:
        raise Unreadable("no_text")
    if not text.strip():
        raise Unreadable("empty")
    told = re.match(r'"?sep=(.)"?\r?\n?', text, re.IGNORECASE)  # Excel's own way to name it
    if told:
        text = text[told.end() :]
    separator = told[1] if told else _separator(text)
    records = _records(text, separator)
    nothing: tuple[int, list[str]] = (0, [])
    start, headings = next(((number, record) for number, record in records if any(record)), nothing)
    places = _places(headings, (*REQUIRED, "dossier") if needs_dossier else REQUIRED)
    ignored = [heading for heading in headings if heading and column_of(heading) is None]
    rows: list[Row] = []
    for number, cells in records:
        if not any(cells):
            continue
        if len(rows) == MOST_ROWS:
            raise Unreadable("too_many_rows", most=MOST_ROWS)
        values = {column: value for column, where in places.items() if (value := _first(cells, where))}
        rows.append(Row(number - start + 1, cells, values))
    if not rows:
        raise Unreadable("no_rows")
    return Table(encoding.removesuffix("-sig"), separator, headings, ignored, rows)


def _encoding(content: bytes) -> str:
    for mark, kind in _OTHER_FILES:
        if content.startswith(mark):
            raise Unreadable("other_file", kind=kind)
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return encoding
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        guess = from_bytes(_telling(content), cp_isolation=_OF_ONE_BYTE).best()
        likely = [guess.encoding, *_OF_ONE_BYTE] if guess else _OF_ONE_BYTE
        possible = [encoding for encoding in likely if _decodes(content, encoding)]
        # The headings know best: they are words we expect.
        return max(possible, key=lambda encoding: _headings_known(content, encoding))
    return "utf-8"


def _decodes(content: bytes, encoding: str) -> bool:
    try:
        content.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _headings_known(content: bytes, encoding: str) -> int:
    first = content.lstrip().splitlines()[0].decode(encoding)
    return sum(column_of(heading.strip(" \"'")) is not None for heading in re.split(f"[{_SEPARATORS}]", first))


def _telling(content: bytes) -> bytes:
    """The lines that say something of their encoding: a table is mostly ASCII."""
    lines = [line for line in content.splitlines() if not line.isascii()]
    return b"\n".join(lines)[:_SAMPLE]


def _separator(text: str) -> str:
    """The one under which the first line has the most headings we know, and then the most records are alike."""
    sample = text[:_SAMPLE]

    def merit(separator: str) -> tuple[int, int, int]:
        records: list[list[str]] = []
        for _, record in _records(sample, separator):
            if any(record):
                records.append(record)
            if len(records) == _LOOKED_AT:
                break
        headings = records[0] if records else []
        widths = Counter(len(record) for record in records)
        return sum(column_of(heading) is not None for heading in headings), widths[len(headings)], len(headings)

    return max(_SEPARATORS, key=merit)


def _records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Every record with its number, from 1; cells without the spaces around them."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator)
    number = 0
    while True:
        number += 1
        try:
            record = next(reader, None)
        except csv.Error:  # a cell of more than 128 KiB
            raise Unreadable("broken_row", row=number) from None
        if record is None:
            return
        if len(record) > MOST_COLUMNS:
            raise Unreadable("too_many_columns", row=number, most=MOST_COLUMNS)
        yield number, [_bare(cell) for cell in record]


def _bare(cell: str) -> str:
    cell = cell.strip()
    # How cells that a spreadsheet would take for a formula are written, by us too.
    return cell[1:] if cell[:1] == "'" and cell[1:2] in ("=", "+", "-", "@") else cell


def _places(headings: Sequence[str], required: Sequence[str]) -> Mapping[str, Sequence[int]]:
    """Where each column is, the best named first. Raises `Unreadable` where one is missing that must be there."""
    found: dict[str, list[tuple[int, int]]] = {}
    for place, heading in enumerate(headings):
        if (meant := column_of(heading)) is not None:
            found.setdefault(meant[0], []).append((meant[1], place))
    if missing := [column for column in required if column not in found]:
        read = ", ".join(heading[:40] for heading in headings if heading)
        raise Unreadable("no_column", missing=COLUMNS[missing[0]][0], found=read[:400])
    return {column: [place for _, place in sorted(named)] for column, named in found.items()}


def _first(cells: Sequence[str], places: Sequence[int]) -> str:
    return next((cells[place] for place in places if place < len(cells) and cells[place]), "")


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
