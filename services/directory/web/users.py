"""The users of a client file: the list, adding, managing, inviting again and removing."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import form_body
from convive_kit.routes import Route
from directory.access import Access, Ground, path_id
from directory.admission import Admission
from directory.i18n import msgid
from directory.member_requests import InvitationRequest, MemberPatch, NewMember
from directory.membership import Membership
from directory.model.member import Member
from directory.model.refusals import Refusal
from directory.standing import standing
from directory.store.protocol import Store
from directory.web import wording
from directory.web.desk import Desk
from directory.web.frame import Frame, page, see_other
from directory.web.language import language_of
from directory.web.refused_forms import Wrong, wrong_with

_PAGE = 200
DONE = {
    "added": msgid("The user is added."),
    "invited": msgid("The invitation is on its way. A link sent before no longer works."),
    "saved": msgid("The changes are saved."),
    "removed": msgid("The user is removed: their links no longer work, and they have no access any more."),
    "created": msgid("The client file is created."),
}
Typed = Annotated[str, Field(max_length=320)]


class UserForm(BaseModel):
    """As it was typed."""

    key: Typed = ""
    first_name: Typed = ""
    last_name: Typed = ""
    employee_code: Typed = ""
    email: Typed = ""
    phone: Typed = ""
    role: Typed = ""
    own_expense_reports: Typed = ""
    invite_by: Typed = "email"
    locale: Typed = "fr"

    def values(self) -> dict[str, Any]:
        """As the API takes them."""
        return {
            "first_name": self.first_name,
            "last_name": self.last_name,
            "employee_code": self.employee_code.strip() or None,
            "email": self.email,
            "phone": self.phone.strip() or None,
            "role": self.role,
            "own_expense_reports": self.own_expense_reports == "yes",
            "locale": self.locale,
        }

    @staticmethod
    def of(member: Member) -> UserForm:
        known = member.model_dump(include=set(UserForm.model_fields) - {"own_expense_reports"}, exclude_none=True)
        return UserForm(**known, own_expense_reports="yes" if member.own_expense_reports else "")


class InviteForm(BaseModel):
    key: Typed = ""
    invite_by: Typed = "email"


class UserPages:
    def __init__(self, frame: Frame, desk: Desk, store: Store, membership: Membership, admission: Admission) -> None:
        self._frame = frame
        self._desk = desk
        self._store = store
        self._access = Access(store)
        self._membership = membership
        self._admission = admission

    def routes(self) -> list[Route]:
        every = "/clients/{id}/users"
        new, one = f"{every}/new", f"{every}/{{member_id}}"
        return [
            page("GET", every, self.list),
            page("GET", new, self.new),
            page("POST", new, self.add),
            page("GET", one, self.manage),
            page("POST", one, self.save),
            page("GET", f"{one}/invitation", self.manage),  # somebody's reloaded page
            page("POST", f"{one}/invitation", self.invite),
            page("GET", f"{one}/remove", self.ask_to_remove),
            page("POST", f"{one}/remove", self.remove),
        ]

    async def list(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request)
        after = None
        if cursor := request.query.get("cursor"):
            at, id = decode_cursor(cursor, datetime, str)
            after = (at, id)
        found = await self._store.members_of(ground.dossier.id, after=after, limit=_PAGE + 1)
        shown = found[:_PAGE]
        return self._frame.page(
            request,
            "users.html",
            dossier=ground.dossier,
            rows=[(member, wording.role_words(member.role), standing(member)) for member in shown],
            more=encode_cursor(shown[-1].created_at, shown[-1].id) if len(found) > _PAGE else None,
            key=str(uuid4()),
            done=DONE.get(request.query.get("done", "")),
        )

    async def new(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request)
        return self._form(request, ground, UserForm(key=str(uuid4()), locale=language_of(request)))

    async def add(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request)
        form = await form_body(request, UserForm)
        try:
            wanted = NewMember.model_validate({**form.values(), "invite_by": form.invite_by})
            await self._admission.add_member(ground, wanted, key=form.key or None)
        except (ValidationError, Refusal) as error:
            # A key that was used for something else is of no more use.
            again = form.model_copy(update={"key": str(uuid4())}) if isinstance(error, Refusal) else form
            return self._form(request, ground, again, wrong_with(error))
        return see_other(_list_of(ground, "added"))

    def _form(self, request: web.Request, ground: Ground, form: UserForm, wrong: Wrong | None = None) -> web.Response:
        return self._frame.page(
            request,
            "user_new.html",
            status=422 if wrong else 200,
            dossier=ground.dossier,
            form=form,
            wrong=wrong or {},
            roles=self._roles(),
        )

    def _roles(self, kept: str | None = None) -> dict[str, wording.RoleWords]:
        """Those that may be chosen: a retired one by nobody but who has it."""
        offered = {role: words for role, words in wording.ROLES.items() if self._membership.may_be_given(role)}
        return {**offered, kept: wording.role_words(kept)} if kept else offered

    async def manage(self, request: web.Request) -> web.Response:
        ground, member = await self._found(request)
        return self._managed(request, ground, member, UserForm.of(member))

    async def save(self, request: web.Request) -> web.Response:
        ground, member = await self._found(request)
        form = await form_body(request, UserForm)
        values = form.values()
        if member.accepted and not form.email:
            values.pop("email")  # shown, and not to be changed
        try:
            patch = MemberPatch.model_validate(values)
            await self._membership.edit(member, patch.fields(), ground.dossier, ground.cabinet)
        except (ValidationError, Refusal) as error:
            return self._managed(request, ground, member, form, wrong_with(error))
        return see_other(_list_of(ground, "saved"))

    async def invite(self, request: web.Request) -> web.Response:
        ground, member = await self._found(request)
        form = await form_body(request, InviteForm)
        try:
            channel = InvitationRequest.model_validate({"invite_by": form.invite_by}).invite_by
            await self._membership.invite(member.id, channel, ground.named, key=form.key or None)
        except (ValidationError, Refusal) as error:
            return self._managed(request, ground, member, UserForm.of(member), wrong_with(error))
        return see_other(_list_of(ground, "invited"))

    def _managed(
        self, request: web.Request, ground: Ground, member: Member, form: UserForm, wrong: Wrong | None = None
    ) -> web.Response:
        return self._frame.page(
            request,
            "user.html",
            status=422 if wrong else 200,
            dossier=ground.dossier,
            member=member,
            standing=standing(member),
            form=form.model_copy(update={"email": form.email or member.email, "key": str(uuid4())}),
            wrong=wrong or {},
            roles=self._roles(member.role),
            myself=ground.member is not None and ground.member.id == member.id,
        )

    async def ask_to_remove(self, request: web.Request) -> web.Response:
        ground, member = await self._found(request)
        return self._frame.page(request, "user_remove.html", dossier=ground.dossier, member=member)

    async def remove(self, request: web.Request) -> web.Response:
        ground = await self._desk.client(request)
        member = await self._store.member(path_id(request, "member"))
        # Removed before: a second click on the same button.
        if member is None or member.dossier_id != ground.dossier.id or not member.removed_at:
            await self._membership.remove((await self._access.member(ground, path_id(request, "member"))).id)
        return see_other(_list_of(ground, "removed"))

    async def _found(self, request: web.Request) -> tuple[Ground, Member]:
        ground = await self._desk.client(request)
        return ground, await self._access.member(ground, path_id(request, "member"))


def _list_of(ground: Ground, done: str) -> str:
    return f"/clients/{ground.dossier.id}/users?{urlencode({'done': done})}"
