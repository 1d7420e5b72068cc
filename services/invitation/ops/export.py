"""Carrying a list out: every invitation of a filter as CSV or JSON lines, streamed as it is read."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from io import StringIO

from aiohttp import web

from convive_kit.http import parse_query
from convive_kit.routes import Route
from invitation.ops.auditing import Auditing
from invitation.ops.callers import CALLER
from invitation.ops.views import ExportQuery
from invitation.store.documents import COLUMNS
from invitation.store.protocol import Row, Store

_READERS_PATIENCE = 60.0
_FORMULA = frozenset("=+-@\t\r")
_WRITTEN_BY_PEOPLE = (
    "reason", "first_name", "last_name", "email", "phone", "member_id", "dossier", "dossier_id", "cabinet",
    "cabinet_id", "source",
)  # fmt: skip
_PHONE = re.compile(r"\+[0-9]+")
_KINDS = {"csv": "text/csv", "jsonl": "application/jsonl"}


class Export:
    """See the module."""

    def __init__(self, store: Store, auditing: Auditing, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._auditing = auditing
        self._now = now

    def routes(self) -> list[Route]:
        """The call. It comes before `/v1/invitations/{id}`, which would take its path for an id."""
        return [
            Route("GET", "/v1/invitations/export", self.carry_out, "All invitations of a filter, as a table",
                  query=ExportQuery, auth="ops_reader_or_cabinet", streams=tuple(_KINDS.values())),
        ]  # fmt: skip

    async def carry_out(self, request: web.Request) -> web.StreamResponse:
        """Newest first. An answer that is cut off ends without its last chunk: whoever reads it can tell."""
        query = parse_query(request, ExportQuery)
        which = query.chosen(request[CALLER], self._now())
        lines = _csv if query.format == "csv" else _json_lines
        async with self._auditing.witness(request, "invitations.export", "invitations") as record:
            record.before = {"filter": query.kept()}
            response = web.StreamResponse(
                headers={
                    "Content-Type": f"{_KINDS[query.format]}; charset=utf-8",
                    "Content-Disposition": f'attachment; filename="invitations.{query.format}"',
                    "Cache-Control": "no-store",
                }
            )
            await response.prepare(request)
            count = 0
            await _write(response, _head() if query.format == "csv" else "")
            if which is not None:
                async for rows in self._store.rows(which):
                    count += len(rows)
                    await _write(response, lines(rows))
            record.after = {"rows": count}
            async with asyncio.timeout(_READERS_PATIENCE):
                await response.write_eof()
        return response


async def _write(response: web.StreamResponse, text: str) -> None:
    # A reader that takes nothing any more is not waited for for ever.
    async with asyncio.timeout(_READERS_PATIENCE):
        await response.write(text.encode())


def _head() -> str:
    return ",".join(COLUMNS) + "\r\n"


def _csv(rows: Sequence[Row]) -> str:
    table = StringIO()
    csv.writer(table).writerows([_harmless(row).values() for row in rows])
    return table.getvalue()


def _harmless(row: Row) -> Row:
    """A row without what a spreadsheet would take for a formula (OWASP, CSV injection). A phone number it may."""
    found = [name for name in _WRITTEN_BY_PEOPLE if (text := row[name]) and text[0] in _FORMULA]
    marked = {name: f"'{row[name]}" for name in found if not _PHONE.fullmatch(row[name])}
    return {**row, **marked} if marked else row


def _json_lines(rows: Sequence[Row]) -> str:
    return "".join([f"{_encode(row)}\n" for row in rows])


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
