"""A firm's team: the list, inviting a colleague, removing one."""

from __future__ import annotations

from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, ValidationError

from convive_kit.addresses import Email, Name
from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import Body, form_body, not_found
from convive_kit.routes import Route
from directory.access import path_id
from directory.i18n import Language, msgid
from directory.model.account import Account, StaffPlace
from directory.model.cabinet import Cabinet
from directory.staff import Staff
from directory.store.protocol import Store
from directory.web.desk import Desk
from directory.web.frame import Frame, page, see_other
from directory.web.language import language_of
from directory.web.refused_forms import Wrong, wrong_with
from directory.web.users import Typed

_PAGE = 200
_DONE = {
    "invited": msgid("Your colleague is invited: a message with a link is on its way."),
    "removed": msgid("Your colleague is removed and has no access any more."),
}


class ColleagueForm(BaseModel):
    key: Typed = ""
    first_name: Typed = ""
    last_name: Typed = ""
    email: Typed = ""
    locale: Typed = "fr"


class _Colleague(Body):
    first_name: Name
    last_name: Name
    email: Email
    locale: Language


class TeamPages:
    def __init__(self, frame: Frame, desk: Desk, store: Store, staff: Staff) -> None:
        self._frame = frame
        self._desk = desk
        self._store = store
        self._staff = staff

    def routes(self) -> list[Route]:
        every = "/firms/{id}/staff"
        return [
            page("GET", every, self.list),
            page("GET", f"{every}/new", self.new),
            page("POST", f"{every}/new", self.invite),
            page("GET", f"{every}/{{account_id}}/remove", self.ask_to_remove),
            page("POST", f"{every}/{{account_id}}/remove", self.remove),
        ]

    async def list(self, request: web.Request) -> web.Response:
        account, cabinet = await self._desk.firm(request)
        cursor = request.query.get("cursor")
        after = decode_cursor(cursor, str)[0] if cursor else ""
        found = await self._staff.of(cabinet.id, after=after, limit=_PAGE + 1)
        return self._frame.page(
            request,
            "team.html",
            cabinet=cabinet,
            colleagues=[(one, place) for one in found[:_PAGE] if (place := one.place_at(cabinet.id))],
            myself=account.account_id,
            more=encode_cursor(found[_PAGE - 1].id) if len(found) > _PAGE else None,
            done=_DONE.get(request.query.get("done", "")),
        )

    async def new(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        return self._form(request, cabinet, ColleagueForm(key=str(uuid4()), locale=language_of(request)))

    async def invite(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        form = await form_body(request, ColleagueForm)
        try:
            who = _Colleague.model_validate(form.model_dump(exclude={"key"}))
        except ValidationError as error:
            return self._form(request, cabinet, form, wrong_with(error))
        await self._staff.invite(
            cabinet.id, who.email, who.first_name, who.last_name, language=who.locale, key=form.key or None
        )
        return see_other(f"/firms/{cabinet.id}/staff?done=invited")

    def _form(
        self, request: web.Request, cabinet: Cabinet, form: ColleagueForm, wrong: Wrong | None = None
    ) -> web.Response:
        status = 422 if wrong else 200
        return self._frame.page(request, "team_new.html", status=status, cabinet=cabinet, form=form, wrong=wrong or {})

    async def ask_to_remove(self, request: web.Request) -> web.Response:
        account, cabinet = await self._desk.firm(request)
        place = await self._place(request, cabinet)
        if place is None:
            raise not_found("colleague")
        return self._frame.page(
            request, "team_remove.html", cabinet=cabinet, place=place[1], myself=self._is_of(request, account)
        )

    async def remove(self, request: web.Request) -> web.Response:
        account, cabinet = await self._desk.firm(request)
        if self._is_of(request, account):
            return await self.ask_to_remove(request)
        # Removed before: a second click on the same button.
        await self._staff.remove(cabinet.id, path_id(request, "account"))
        return see_other(f"/firms/{cabinet.id}/staff?done=removed")

    async def _place(self, request: web.Request, cabinet: Cabinet) -> tuple[Account, StaffPlace] | None:
        account = await self._store.account_with_id(path_id(request, "account"))
        place = account.place_at(cabinet.id) if account else None
        return (account, place) if account and place else None

    @staticmethod
    def _is_of(request: web.Request, account: Account) -> bool:
        return path_id(request, "account") == account.account_id
