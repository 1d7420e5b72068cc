"""The file of results: every row as it was uploaded, and what came of it."""

from __future__ import annotations

import csv
from collections.abc import AsyncGenerator, Callable, Mapping
from io import StringIO
from typing import Any

from aiohttp import web

from directory.imports.judging import TO_ADD
from directory.imports.reading import safe_cell
from directory.imports.wording import OUTCOMES, RESULT, WHY, sentence
from directory.store.imports import Import, Imports

Translate = Callable[[str], str]


def outcome(row: Mapping[str, Any], run: Import) -> str:
    """What came of a row, as a key of `OUTCOMES`: its result; where there is none, why."""
    if row["result"] is not None:
        return row["result"]
    if row["verdict"] not in TO_ADD:
        return row["verdict"]
    return "not_carried_out" if run.status in ("aborted", "failed") else "to_be_added"


async def result_file(imports: Imports, run: Import, translate: Translate) -> AsyncGenerator[bytes]:
    """The table in pieces, in UTF-8 as spreadsheets take it, with the separator it came with."""
    width = len(run.headings)
    yield b"\xef\xbb\xbf" + _piece(run, [[*run.headings, translate(RESULT), translate(WHY)]])
    async for _, rows in imports.parts(run.id):
        lines: list[list[str]] = []
        for row in rows:
            cells = [*row["cells"][:width], *[""] * (width - len(row["cells"]))]
            why = " ".join(sentence(note, translate) for note in (*row["faults"], *row["hints"]))
            lines.append([*cells, translate(OUTCOMES[outcome(row, run)]), why])
        yield _piece(run, lines)


def _piece(run: Import, lines: list[list[str]]) -> bytes:
    text = StringIO()
    writer = csv.writer(text, delimiter=run.separator, lineterminator="\r\n")
    writer.writerows([safe_cell(cell) for cell in line] for line in lines)
    return text.getvalue().encode()


async def send_result(request: web.Request, imports: Imports, run: Import, translate: Translate) -> web.StreamResponse:
    """The result file, as it is read."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": f'attachment; filename="import-{run.created_at:%Y-%m-%d}.csv"',
        }
    )
    await response.prepare(request)
    async for piece in result_file(imports, run, translate):
        await response.write(piece)
    await response.write_eof()
    return response
