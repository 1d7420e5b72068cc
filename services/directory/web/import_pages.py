"""Many people from a table, in a browser: upload, look at the preview, start, watch, and take the result away.

Everything is done by what the API does (`directory.api.imports`). The pages work without the script, which only looks
again while an import runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from convive_contracts.events import InviteBy
from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import form_body, upload
from convive_kit.routes import Handler, Route
from directory.access import Caller, Ground, path_id
from directory.i18n import msgid, translations
from directory.imports.importing import Importing
from directory.imports.judging import Note
from directory.imports.reading import MOST_BYTES, MOST_ROWS, Unreadable
from directory.imports.results import outcome, send_result
from directory.imports.wording import OUTCOMES, UNREADABLE, sentence
from directory.model.cabinet import Cabinet
from directory.store.imports import Import, Imports
from directory.web import wording
from directory.web.desk import Desk
from directory.web.frame import Frame, page, see_other
from directory.web.language import Language, language_of

_PAGE = 100
_RECENT = 10
_FORM = 64 * 1024
"""What a form has around its file."""
_TIME_LIMIT = timedelta(minutes=2)
_COLUMNS = {
    "first_name": msgid("First name"),
    "last_name": msgid("Last name"),
    "email": msgid("E-mail address"),
    "phone": msgid("Mobile phone"),
    "employee_code": msgid("Employee code"),
    "role": msgid("Role"),
    "own_expense_reports": msgid("Own expense reports"),
    "locale": msgid("Language"),
    "invite_by": msgid("Invitation"),
    "dossier": msgid("Client file"),
}
# In the order in which they need somebody.
_VERDICTS = {
    "invalid": msgid("Cannot be added"),
    "check": msgid("Please look"),
    "differs": msgid("Known otherwise"),
    "repeated": msgid("Twice in the file"),
    "already_there": msgid("Already there"),
    "add": msgid("Ready"),
}
_STATES = {
    "paused": msgid("Not started"),
    "running": msgid("Running"),
    "done": msgid("Done"),
    "aborted": msgid("Stopped"),
    "failed": msgid("Interrupted"),
}
_AT_COLUMN = msgid("%(column)s: %(what)s")
_NOTHING_CHOSEN = msgid("Choose a file first.")
_SAMPLES: Mapping[Language, str] = {
    "fr": """\
Prénom;Nom;E-mail;Téléphone mobile;Code salarié;Rôle;Notes de frais;Invitation
Jeanne;Martin;jeanne.martin@example.com;;;approbateur;oui;e-mail
Samuel;Diallo;samuel.diallo@example.com;06 12 34 56 78;E-17;utilisateur standard;oui;SMS
""",
    "en": """\
First name,Last name,E-mail,Mobile phone,Employee code,Role,Expense reports,Invitation
Jeanne,Martin,jeanne.martin@example.com,,,approver,yes,e-mail
Samuel,Diallo,samuel.diallo@example.com,+33 6 12 34 56 78,E-17,standard user,yes,SMS
""",
}
_SAMPLE_DOSSIERS: Mapping[Language, Sequence[str]] = {
    "fr": (";Dossier", ";Boulangerie Martin", ";Boulangerie Martin"),
    "en": (",Client file", ",Boulangerie Martin", ",Boulangerie Martin"),
}


class StartForm(BaseModel):
    invite_by: InviteBy = "email"


class ImportPages:
    def __init__(
        self, frame: Frame, desk: Desk, imports: Imports, importing: Importing, started: Callable[[], None]
    ) -> None:
        """`started` is called when there is something to carry out."""
        self._frame = frame
        self._desk = desk
        self._imports = imports
        self._importing = importing
        self._started = started

    def routes(self) -> list[Route]:
        of_client, of_firm, one = "/clients/{id}/users/import", "/firms/{id}/clients/import", "/imports/{import_id}"
        return [
            page("GET", of_client, self.new_for_client),
            _upload(of_client, self.receive_for_client),
            page("GET", of_firm, self.new_for_firm),
            _upload(of_firm, self.receive_for_firm),
            page("GET", "/imports/sample.csv", self.sample),
            page("GET", one, self.show),
            page("GET", f"{one}/start", self.show),  # somebody's reloaded page
            page("POST", f"{one}/start", self.start),
            page("POST", f"{one}/abort", self.abort),
            Route("GET", f"{one}/result.csv", self.result, query=None, streams=("text/csv",), documented=False),
        ]

    async def new_for_client(self, request: web.Request) -> web.Response:
        return await self._form(request, await self._desk.client(request))

    async def new_for_firm(self, request: web.Request) -> web.Response:
        return await self._form(request, (await self._desk.firm(request))[1])

    async def receive_for_client(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request)
        return await self._receive(request, ground, ground.caller)

    async def receive_for_firm(self, request: web.Request) -> web.Response:
        account, cabinet = await self._desk.firm(request)
        return await self._receive(request, cabinet, Caller(account=account))

    async def _receive(self, request: web.Request, ground: Ground | Cabinet, caller: Caller) -> web.Response:
        content, name = await upload(request)
        if not content and not name:
            return await self._form(request, ground, wrong=self._say(request)(_NOTHING_CHOSEN))
        try:
            run = await self._importing.receive(self._importing.source(caller, ground, content, name))
        except Unreadable as why:
            return await self._form(request, ground, wrong=self._say(request)(UNREADABLE[why.slug]) % why.about)
        return see_other(f"/imports/{run.id}")

    async def _form(self, request: web.Request, ground: Ground | Cabinet, wrong: str = "") -> web.Response:
        dossier = ground.dossier if isinstance(ground, Ground) else None
        cabinet = ground.cabinet if isinstance(ground, Ground) else ground
        return self._frame.page(
            request,
            "import_new.html",
            status=422 if wrong else 200,
            dossier=dossier,
            back=f"/clients/{dossier.id}/users" if dossier else f"/firms/{cabinet.id}/clients",
            wrong=wrong,
            most_rows=MOST_ROWS,
            most_mib=MOST_BYTES // (1024 * 1024),
            recent=[
                (run, _STATES[run.status])
                for run in await self._imports.of_cabinet(cabinet.id, dossier and dossier.id, limit=_RECENT)
            ],
        )

    async def sample(self, request: web.Request) -> web.Response:
        """A table to fill in, as the spreadsheets of that language take it."""
        language = language_of(request)
        lines: Sequence[str] = _SAMPLES[language].splitlines()
        if "firm" in request.query:
            lines = [line + more for line, more in zip(lines, _SAMPLE_DOSSIERS[language], strict=True)]
        name = "utilisateurs.csv" if language == "fr" else "users.csv"
        return web.Response(
            body="\r\n".join((*lines, "")).encode("utf-8-sig"),
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{name}"',
            },
        )

    async def show(self, request: web.Request) -> web.Response:
        """The preview, then how far it has come, then what came of it."""
        run = await self._seen(request)
        chosen = [one for one in request.query.getall("verdict", []) if one in _VERDICTS]
        part, skipped = decode_cursor(cursor, int, int) if (cursor := request.query.get("cursor")) else (0, 0)
        found = await self._imports.rows(run.id, chosen, start=(part, skipped), limit=_PAGE)
        say = self._say(request)
        return self._frame.page(
            request,
            "import.html",
            run=run,
            state=_STATES[run.status],
            used=[heading for heading in run.headings if heading and heading not in run.ignored],
            back=f"/clients/{run.dossier_id}/users" if run.dossier_id else f"/firms/{run.cabinet_id}/clients",
            again=f"/clients/{run.dossier_id}/users/import"
            if run.dossier_id
            else f"/firms/{run.cabinet_id}/clients/import",
            already_there=sum(run.skipped.values()),
            verdicts=[(name, words, run.verdicts.get(name, 0)) for name, words in _VERDICTS.items()],
            chosen=chosen,
            rows=[_shown(row, run, say) for row in found.rows],
            first=not cursor,
            more=encode_cursor(*found.after) if found.after else None,
        )

    async def start(self, request: web.Request) -> web.Response:
        run = await self._seen(request)
        try:
            form = await form_body(request, StartForm)
        except ValidationError:
            return see_other(f"/imports/{run.id}")
        await self._imports.start(run.id, form.invite_by, self._desk.now())
        self._started()
        return see_other(f"/imports/{run.id}")

    async def abort(self, request: web.Request) -> web.Response:
        run = await self._seen(request)
        await self._imports.abort(run.id, self._desk.now())
        return see_other(f"/imports/{run.id}")

    async def result(self, request: web.Request) -> web.StreamResponse:
        return await send_result(request, self._imports, await self._seen(request), self._say(request))

    async def _seen(self, request: web.Request) -> Import:
        account = await self._desk.account(request)
        run = await self._importing.seen(Caller(account=account), path_id(request, "import"))
        await self._desk.beside(request, account, run.cabinet_id, run.dossier_id)
        return run

    @staticmethod
    def _say(request: web.Request) -> Callable[[str], str]:
        return translations(language_of(request)).gettext


def _upload(path: str, handler: Handler) -> Route:
    return Route(
        "POST",
        path,
        handler,
        query=None,
        uploads="multipart/form-data",
        body_limit=MOST_BYTES + _FORM,
        time_limit=_TIME_LIMIT,
        documented=False,
    )


def _shown(row: Mapping[str, Any], run: Import, say: Callable[[str], str]) -> dict[str, Any]:
    """A row as people read it: who, what becomes of it, and what to do."""
    fields = row["fields"]
    waits = run.status == "paused"
    words = _VERDICTS[row["verdict"]] if waits else OUTCOMES[outcome(row, run)]
    wrong = row["verdict"] == "invalid" or row["result"] == "refused"
    return {
        "number": row["number"],
        "name": f"{fields.get('first_name', '')} {fields.get('last_name', '')}".strip(),
        "email": fields.get("email", ""),
        "phone": fields.get("phone"),
        "role": wording.role_words(fields["role"]).label if "role" in fields else None,
        "dossier": None if run.dossier_id else row["dossier"],
        "kind": "wrong" if wrong else "done" if row["verdict"] == "add" or row["result"] == "added" else "going",
        "words": words,
        "notes": [_said(note, say) for note in (*row["faults"], *row["hints"])],
        "cells": " · ".join(cell for cell in row["cells"] if cell)[:200] if wrong else "",
    }


def _said(note: Note, say: Callable[[str], str]) -> str:
    column = _COLUMNS.get(note["column"])
    text = sentence(note, say)
    return say(_AT_COLUMN) % {"column": say(column), "what": text} if column else text
