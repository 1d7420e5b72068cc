"""`/v1/imports`: many members at once, from a table."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field

from convive_contracts.events import InviteBy
from convive_kit.cursors import decode_cursor, encode_cursor, key_in, page_of
from convive_kit.http import (
    Body,
    ListOf,
    ListQuery,
    Problem,
    Query,
    Timestamp,
    json_body,
    json_response,
    parse_query,
    upload,
)
from convive_kit.routes import Route
from directory.access import CABINET_HEADER, Ground
from directory.api.callers import CALLER, path_id
from directory.imports.importing import Importing
from directory.imports.judging import Note, Verdict
from directory.imports.reading import MOST_BYTES, Unreadable
from directory.imports.results import send_result
from directory.imports.wording import UNREADABLE, sentence
from directory.model.cabinet import Cabinet
from directory.store.imports import Import, Imports

UPLOAD_TAKES = timedelta(minutes=2)


class NewImport(Query):
    dossier_id: Annotated[
        UUID | None, Field(description="The dossier that everybody is for; without it, a column of the table says it.")
    ] = None
    file: Annotated[str, Field(max_length=200, description="What you call the file; only shown.")] = ""


class ImportsQuery(ListQuery):
    dossier_id: Annotated[UUID | None, Field(description="Only those into this dossier.")] = None


class RowsQuery(ListQuery):
    verdict: Annotated[list[Verdict], Field(description="Several mean OR.")] = []


class Start(Body):
    invite_by: Annotated[InviteBy, Field(description="For the rows that do not say; `none`: invite later.")] = "email"


class ImportOut(BaseModel):
    id: UUID
    state: Annotated[
        Literal["preview", "running", "done", "aborted", "failed"],
        Field(description="`preview`: nothing is added until it is started."),
    ]
    dossier_id: UUID | None
    file: str
    digest: Annotated[str, Field(description="SHA-256 of the file.")]
    encoding: str
    separator: str
    headings: list[str]
    ignored: Annotated[list[str], Field(description="Headings we make nothing of.")]
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    expires_at: Annotated[Timestamp, Field(description="When all of it is deleted.")]
    rows: int
    verdicts: Annotated[dict[str, int], Field(description="How many rows have each verdict.")]
    to_add: int
    opens: Annotated[int, Field(description="How many dossiers are opened for it.")]
    unsaid: Annotated[int, Field(description="Rows to add that do not say how to invite.")]
    phoneless: Annotated[int, Field(description="Those of them without a phone number.")]
    invite_by: InviteBy
    added: int
    already_there: Annotated[int, Field(description="Rows to add of people who were there when it came to it.")]
    refused: int

    @staticmethod
    def of(run: Import) -> ImportOut:
        fields = {name: getattr(run, name) for name in ImportOut.model_fields if hasattr(run, name)}
        counted = {"to_add": run.matched, "added": run.done, "refused": run.failed}
        state = "preview" if run.status == "paused" else run.status
        return ImportOut(state=state, already_there=sum(run.skipped.values()), **counted, **fields)  # pyright: ignore[reportArgumentType]


class NoteOut(BaseModel):
    column: str
    slug: str
    message: str

    @staticmethod
    def of(note: Note) -> NoteOut:
        return NoteOut(column=note["column"], slug=note["slug"], message=sentence(note))


class RowOut(BaseModel):
    number: Annotated[int, Field(description="As spreadsheets count: the headings are in row 1.")]
    verdict: Verdict
    result: Annotated[
        Literal["added", "already_there", "differs", "refused"] | None,
        Field(description="null: not carried out (yet)."),
    ]
    fields: Annotated[dict[str, Any], Field(description="What was read.")]
    dossier: str | None
    dossier_id: Annotated[UUID | None, Field(description="null: a dossier is opened.")]
    faults: list[NoteOut]
    hints: list[NoteOut]

    @staticmethod
    def of(row: dict[str, Any]) -> RowOut:
        notes = {name: [NoteOut.of(note) for note in row[name]] for name in ("faults", "hints")}
        return RowOut.model_validate({**row, **notes})


class ImportRoutes:
    def __init__(
        self,
        imports: Imports,
        importing: Importing,
        now: Callable[[], datetime],
        started: Callable[[], None],
    ) -> None:
        """`started` is called when there is something to carry out."""
        self._imports = imports
        self._importing = importing
        self._now = now
        self._started = started

    def routes(self) -> list[Route]:
        every, one = "/v1/imports", "/v1/imports/{id}"
        return [
            Route("POST", every, self.create, "Upload a table, and have each row judged", query=NewImport,
                  uploads="text/csv", response=ImportOut, status=201, auth="user", problems=(403, 404, 409),
                  body_limit=MOST_BYTES, time_limit=UPLOAD_TAKES),
            Route("GET", every, self.list, "The imports, newest first", query=ImportsQuery, response=ListOf[ImportOut],
                  auth="user", problems=(403, 404)),
            Route("GET", one, self.read, "One import, and how far it has come", response=ImportOut, auth="user",
                  problems=(403, 404)),
            Route("GET", f"{one}/rows", self.rows, "The rows, with their verdicts", query=RowsQuery,
                  response=ListOf[RowOut], auth="user", problems=(403, 404)),
            Route("POST", f"{one}/start", self.start, "Add the people of the rows that can be", Start,
                  response=ImportOut, status=202, auth="user", problems=(403, 404, 409)),
            Route("POST", f"{one}/abort", self.abort, "Add nobody more", response=ImportOut, status=202, auth="user",
                  problems=(403, 404)),
            Route("GET", f"{one}/result.csv", self.result, "The table, and what came of each row",
                  streams=("text/csv",), auth="user", problems=(403, 404)),
        ]  # fmt: skip

    async def create(self, request: web.Request) -> web.Response:
        """CSV of at most 16 MiB and 50,000 rows. Encoding, separator and columns are found out; `prénom` or
        `first name`, `nom` or `last name` and `e-mail` must be there. Nothing is added yet."""
        query = parse_query(request, NewImport)
        ground = await self._ground(request, query.dossier_id)
        content, _ = await upload(request)
        try:
            run = await self._importing.receive(self._importing.source(request[CALLER], ground, content, query.file))
        except Unreadable as why:
            raise Problem(422, "unreadable_table", UNREADABLE[why.slug] % why.about, reason=why.slug) from None
        return json_response(ImportOut.of(run), 201, {"Location": f"/v1/imports/{run.id}"})

    async def list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, ImportsQuery)
        ground = await self._ground(request, query.dossier_id)
        cabinet, dossier = (ground.cabinet, ground.dossier.id) if isinstance(ground, Ground) else (ground, None)
        found = await self._imports.of_cabinet(cabinet.id, dossier, limit=query.limit + 1, after=key_in(query.cursor))
        return page_of(
            ListOf[ImportOut], found, query.limit, view=ImportOut.of, key=lambda run: (run.created_at, run.id)
        )

    async def read(self, request: web.Request) -> BaseModel:
        return ImportOut.of(await self._load(request))

    async def rows(self, request: web.Request) -> BaseModel:
        run = await self._load(request)
        query = parse_query(request, RowsQuery)
        part, skipped = decode_cursor(query.cursor, int, int) if query.cursor else (0, 0)
        found = await self._imports.rows(run.id, query.verdict, start=(part, skipped), limit=query.limit)
        cursor = encode_cursor(*found.after) if found.after else None
        return ListOf[RowOut](items=[RowOut.of(row) for row in found.rows], next_cursor=cursor)

    async def start(self, request: web.Request) -> BaseModel:
        """Once: starting it again changes nothing, and the same file uploaded and started again adds nobody twice. 409
        when it was aborted."""
        run = await self._load(request)
        body = await json_body(request, Start)
        run = await self._imports.start(run.id, body.invite_by, self._now()) or run
        if run.status == "aborted":
            raise Problem(409, "import_aborted", "This import was aborted: upload the table again.", state=run.status)
        self._started()
        return ImportOut.of(run)

    async def abort(self, request: web.Request) -> BaseModel:
        """Whoever was added stays. One that has come to its end stays as it is."""
        run = await self._load(request)
        return ImportOut.of(await self._imports.abort(run.id, self._now()) or run)

    async def result(self, request: web.Request) -> web.StreamResponse:
        run = await self._load(request)
        return await send_result(request, self._imports, run, str)

    async def _load(self, request: web.Request) -> Import:
        return await self._importing.seen(request[CALLER], path_id(request, "import"))

    async def _ground(self, request: web.Request, dossier_id: UUID | None) -> Ground | Cabinet:
        id = str(dossier_id) if dossier_id else None
        return await self._importing.ground(request[CALLER], id, request.headers.get(CABINET_HEADER))
