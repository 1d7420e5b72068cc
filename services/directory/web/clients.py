"""A firm's client files: the list, a new one with people to invite at once, another name, and the archive."""

from __future__ import annotations

from itertools import zip_longest
from typing import Annotated
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import form_body
from convive_kit.routes import Route
from directory.access import Caller
from directory.admission import Admission, DossierPatch, NewDossier
from directory.i18n import msgid
from directory.membership import Membership
from directory.model.cabinet import Cabinet
from directory.model.dossier import Dossier, search_key
from directory.model.refusals import Refusal
from directory.store.protocol import Store, settle
from directory.web import wording
from directory.web.desk import Desk
from directory.web.frame import Frame, page, see_other
from directory.web.language import language_of
from directory.web.refused_forms import Wrong, wrong_with
from directory.web.users import Typed, UserForm

_PAGE = 50
_MOST_PEOPLE = 50
_DONE = {"archived": msgid("The client file is archived: nobody has access any more.")}
_COLUMNS = ("first_name", "last_name", "employee_code", "email", "phone", "role", "invite_by")

Column = Annotated[list[Typed], Field(max_length=_MOST_PEOPLE)]


class ClientForm(BaseModel):
    """A name, and a row of fields for each person; rows in which nobody is named are nobody's."""

    key: Typed = ""
    name: Typed = ""
    locale: Typed = "fr"
    act: Typed = "create"
    first_name: Column = []
    last_name: Column = []
    employee_code: Column = []
    email: Column = []
    phone: Column = []
    role: Column = []
    invite_by: Column = []
    # The numbers of the rows in which it is ticked.
    own_expense_reports: Column = []

    def people(self) -> list[UserForm]:
        columns = [getattr(self, name) for name in _COLUMNS]
        people: list[UserForm] = []
        for number, row in enumerate(zip_longest(*columns, fillvalue="")):
            ticked = "yes" if str(number) in self.own_expense_reports else ""
            fields = dict(zip(_COLUMNS, row, strict=True))
            people.append(UserForm(**fields, own_expense_reports=ticked, locale=self.locale))
        return people


def _is_somebody(person: UserForm) -> bool:
    return bool((person.first_name + person.last_name + person.email + person.phone + person.employee_code).strip())


class NameForm(BaseModel):
    name: Typed = ""


class ClientPages:
    def __init__(self, frame: Frame, desk: Desk, store: Store, membership: Membership, admission: Admission) -> None:
        self._frame = frame
        self._desk = desk
        self._store = store
        self._membership = membership
        self._admission = admission

    def routes(self) -> list[Route]:
        every, one = "/firms/{id}/clients", "/clients/{id}"
        return [
            page("GET", every, self.list),
            page("GET", f"{every}/new", self.new),
            page("POST", f"{every}/new", self.create),
            page("GET", one, self.open),
            page("GET", f"{one}/settings", self.settings),
            page("POST", f"{one}/settings", self.rename),
            page("GET", f"{one}/archive", self.ask_to_archive),
            page("POST", f"{one}/archive", self.archive),
        ]

    async def list(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        q = request.query.get("q", "")[:100]
        after = None
        if cursor := request.query.get("cursor"):
            key, id = decode_cursor(cursor, str, str)
            after = (key, id)
        found = await self._store.dossiers_of(cabinet.id, prefix=search_key(q), after=after, limit=_PAGE + 1)
        shown = found[:_PAGE]
        return self._frame.page(
            request,
            "clients.html",
            cabinet=cabinet,
            dossiers=shown,
            q=q,
            first=after is None,
            more=encode_cursor(shown[-1].name_key, shown[-1].id) if len(found) > _PAGE else None,
            done=_DONE.get(request.query.get("done", "")),
        )

    async def new(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        return self._form(request, cabinet, ClientForm(key=str(uuid4()), locale=language_of(request)), [UserForm()])

    async def create(self, request: web.Request) -> web.Response:
        account, cabinet = await self._desk.firm(request)
        form = await form_body(request, ClientForm)
        people = form.people()
        if form.act == "more":
            return self._form(request, cabinet, form, [*people, UserForm()][:_MOST_PEOPLE])
        named = [person for person in people if _is_somebody(person)]
        members = [{**person.values(), "invite_by": person.invite_by} for person in named]
        try:
            wanted = NewDossier.model_validate({"name": form.name, "members": members})
            invited_by = Caller(account=account).full_name(cabinet.id)
            dossier, _ = await self._admission.open_dossier(
                cabinet, wanted, key=form.key or None, invited_by=invited_by
            )
        except (ValidationError, Refusal) as error:
            again = form.model_copy(update={"key": str(uuid4())}) if isinstance(error, Refusal) else form
            return self._form(request, cabinet, again, named or [UserForm()], wrong_with(error))
        return see_other(f"/clients/{dossier.id}/users?done=created")

    def _form(
        self,
        request: web.Request,
        cabinet: Cabinet,
        form: ClientForm,
        people: list[UserForm],
        wrong: Wrong | None = None,
    ) -> web.Response:
        return self._frame.page(
            request,
            "client_new.html",
            status=422 if wrong else 200,
            cabinet=cabinet,
            form=form,
            people=people,
            wrong=wrong or {},
            roles={role: words for role, words in wording.ROLES.items() if self._membership.may_be_given(role)},
            room=len(people) < _MOST_PEOPLE,
        )

    async def open(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request)
        return see_other(f"/clients/{ground.dossier.id}/users")

    async def settings(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request, firm_alone=True)
        return self._settings(request, ground.dossier, ground.dossier.name)

    async def rename(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request, firm_alone=True)
        form = await form_body(request, NameForm)

        async def load() -> Dossier:
            return await self._store.dossier(ground.dossier.id) or ground.dossier

        try:
            name = DossierPatch.model_validate({"name": form.name}).name
            await settle(self._store, load, lambda dossier: dossier.edited(name=name))
        except (ValidationError, Refusal) as error:
            return self._settings(request, ground.dossier, form.name, wrong_with(error))
        return see_other(f"{request.path}?done=renamed")

    def _settings(self, request: web.Request, dossier: Dossier, name: str, wrong: Wrong | None = None) -> web.Response:
        return self._frame.page(
            request,
            "client_settings.html",
            status=422 if wrong else 200,
            dossier=dossier,
            name=name,
            wrong=wrong or {},
            renamed=request.query.get("done") == "renamed",
        )

    async def ask_to_archive(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request, firm_alone=True)
        return self._frame.page(request, "client_archive.html", dossier=ground.dossier)

    async def archive(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request, firm_alone=True, archived=True)
        await self._membership.archive(ground.dossier)
        return see_other(f"/firms/{ground.cabinet.id}/clients?done=archived")
