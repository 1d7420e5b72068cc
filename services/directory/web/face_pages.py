"""How a firm shows itself and when its people are written to: two forms, and a preview that stands beside the first.

The preview is a document of its own in a sandboxed frame, made by the invitation service. While that is away, the frame
says so and everything else works.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import BaseModel, Field, ValidationError

from convive_contracts.events import Policies
from convive_kit.http import form_body
from convive_kit.routes import Route
from directory.cabinet_requests import CabinetPatch
from directory.i18n import Language, msgid
from directory.invitation_service import InvitationService, InvitationServiceAway, Preview
from directory.model.cabinet import DEFAULTS, Cabinet
from directory.model.refusals import FieldRefused
from directory.store.protocol import Store, settle
from directory.web.desk import Desk
from directory.web.frame import Frame, page, see_other
from directory.web.language import language_of

Typed = Annotated[str, Field(max_length=320)]
Show = Literal["mail", "text", "page", "sms"]

# A document that people only look at: it runs nothing, loads nothing and belongs to nobody.
_PREVIEW_HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}

# Said beside the field, whatever it was that did not fit.
_WRONG = {
    "name": msgid("Give the firm’s name: 1 to 100 characters, on one line."),
    "phone": msgid("Give a telephone number of at most 200 characters, on one line."),
    "colour": msgid("Give a colour as # and six digits or letters from a to f, such as #17594a."),
    "reply_to": msgid("Give an e-mail address without accents, such as contact@example.com."),
    "sms_sender": msgid(
        "At most 11 letters or digits, without accents or spaces, and no word that any firm could use, such as INFO."
    ),
    "policies.link_days": msgid("Give a number of days from 1 to 90."),
    "policies.reminder_days": msgid(
        "Give at most 5 numbers of days, separated by commas, all before the link ends: for example 2, 5, 10."
    ),
    "policies.quiet_from": msgid("Give both times, such as 20:00 and 08:00."),
    "policies.quiet_until": msgid("Give both times, and leave at least one hour of the day that is not quiet."),
}


_AWAY = msgid("The preview is not available at the moment. Saving works all the same: please look again later.")


class FaceForm(BaseModel):
    name: Typed = ""
    phone: Typed = ""
    coloured: Literal["yes", ""] = ""
    colour: Typed = ""
    reply_to: Typed = ""
    sms_sender: Typed = ""
    # Of the preview.
    show: Show = "mail"
    locale: Language = "fr"
    reminder: Literal["yes", ""] = ""

    def fields(self) -> dict[str, Any]:
        """As a patch of the cabinet."""
        return {
            "name": self.name,
            "phone": self.phone.strip() or None,
            "colour": self.colour if self.coloured else None,
            "reply_to": self.reply_to.strip() or None,
            "sms_sender": self.sms_sender.strip() or None,
        }


class TimesForm(BaseModel):
    link_days: Typed = ""
    reminders: Literal["usual", "never", "own"] = "usual"
    reminder_days: Typed = ""
    quiet: Literal["usual", "never", "own"] = "usual"
    quiet_from: Typed = ""
    quiet_until: Typed = ""
    sms_after_bounce: Literal["yes", ""] = ""

    def fields(self) -> dict[str, Any]:
        """As a patch of the cabinet."""
        never: list[str] = []
        days = [day.strip() for day in self.reminder_days.replace(";", ",").split(",") if day.strip()]
        quiet = {
            "usual": (None, None),
            "never": ("00:00", "00:00"),  # the same time twice
            "own": (self.quiet_from, self.quiet_until),
        }[self.quiet]
        policies = {
            "link_days": self.link_days.strip() or None,
            "reminder_days": {"usual": None, "never": never, "own": days}[self.reminders],
            "quiet_from": quiet[0],
            "quiet_until": quiet[1],
            "sms_after_bounce": self.sms_after_bounce == "yes",
        }
        return {"policies": policies}

    @staticmethod
    def of(policies: Policies) -> TimesForm:
        return TimesForm(
            link_days=str(policies.link_days or ""),
            reminders="usual" if policies.reminder_days is None else "own" if policies.reminder_days else "never",
            reminder_days=", ".join(map(str, policies.reminder_days or ())),
            quiet="usual" if not policies.quiet_from else "never" if _is_never_quiet(policies) else "own",
            quiet_from=policies.quiet_from or "",
            quiet_until=policies.quiet_until or "",
            sms_after_bounce="yes" if policies.sms_after_bounce else "",
        )


def _is_never_quiet(policies: Policies) -> bool:
    return policies.quiet_from == policies.quiet_until


class FacePages:
    def __init__(self, frame: Frame, desk: Desk, store: Store, invitation: InvitationService) -> None:
        self._frame = frame
        self._desk = desk
        self._store = store
        self._invitation = invitation

    def routes(self) -> list[Route]:
        face, times = "/firms/{id}/face", "/firms/{id}/times"
        return [
            page("GET", face, self.face),
            page("POST", face, self.save_face),
            page("GET", f"{face}/preview", self.preview),
            page("POST", f"{face}/preview", self.preview),
            page("GET", times, self.times),
            page("POST", times, self.save_times),
        ]

    async def face(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        return self._face(request, cabinet, _face_of(cabinet))

    async def save_face(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        form = await form_body(request, FaceForm)
        if wrong := await self._save(cabinet, form.fields()):
            return self._face(request, cabinet, form, wrong)
        return see_other(f"{request.path}?saved=yes")

    def _face(
        self, request: web.Request, cabinet: Cabinet, form: FaceForm, wrong: Mapping[str, str] | None = None
    ) -> web.Response:
        return self._frame.page(
            request,
            "firm_face.html",
            status=422 if wrong else 200,
            cabinet=cabinet,
            form=form,
            wrong=wrong or {},
            saved="saved" in request.query,
        )

    async def times(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        return await self._times(request, cabinet, TimesForm.of(cabinet.policies))

    async def save_times(self, request: web.Request) -> web.Response:
        _, cabinet = await self._desk.firm(request)
        form = await form_body(request, TimesForm)
        if wrong := await self._save(cabinet, form.fields()):
            return await self._times(request, cabinet, form, wrong)
        return see_other(f"{request.path}?saved=yes")

    async def _times(
        self, request: web.Request, cabinet: Cabinet, form: TimesForm, wrong: Mapping[str, str] | None = None
    ) -> web.Response:
        try:
            usual = await self._invitation.policies()
        except InvitationServiceAway:
            usual = DEFAULTS
        return self._frame.page(
            request,
            "firm_times.html",
            status=422 if wrong else 200,
            cabinet=cabinet,
            form=form,
            wrong={field.removeprefix("policies."): words for field, words in (wrong or {}).items()},
            saved="saved" in request.query,
            usual=usual,
            never_quiet=_is_never_quiet(usual),
        )

    async def preview(self, request: web.Request) -> web.Response:
        """The saved face, or the one in the form: as a document for the frame."""
        _, cabinet = await self._desk.firm(request)
        form, fields = FaceForm(locale=language_of(request)), dict[str, Any]()
        if request.method == "POST":
            form = await form_body(request, FaceForm)
            fields = form.fields()
        try:
            shown = cabinet.edited(CabinetPatch.model_validate(fields).fields())
        except (ValidationError, FieldRefused) as error:
            return self._document(request, note=next(iter(_faults(error).values())))
        sample = {
            "cabinet": (shown.after if shown else cabinet).state,
            "dossier_name": "Boulangerie Martin",
            "first_name": "Jeanne",
            "last_name": "Martin",
            "locale": form.locale,
            "reminder": form.reminder == "yes",
        }
        try:
            made = await self._invitation.preview(sample)
        except InvitationServiceAway:
            return self._document(request, note=_AWAY)
        return self._document(request, made=made, show=form.show)

    def _document(
        self, request: web.Request, *, made: Preview | None = None, show: Show = "mail", note: str = ""
    ) -> web.Response:
        response = self._frame.page(request, "firm_preview.html", made=made, show=show, note=note)
        response.headers.update(_PREVIEW_HEADERS)
        if made and show == "page":
            response.text = _looked_at(made.page)
        elif made and show == "mail":
            # What a mail program shows above the mail.
            response.text = _looked_at(made.mail.html, above=response.text or "")
        return response

    async def _save(self, cabinet: Cabinet, fields: dict[str, Any]) -> dict[str, str]:
        """What does not fit, by field; empty when it is saved."""
        try:
            patch = CabinetPatch.model_validate(fields).fields()
            await settle(self._store, lambda: self._load(cabinet), lambda current: current.edited(patch))
        except (ValidationError, FieldRefused) as error:
            return _faults(error)
        return {}

    async def _load(self, cabinet: Cabinet) -> Cabinet:
        return await self._store.cabinet(cabinet.id) or cabinet


def _face_of(cabinet: Cabinet) -> FaceForm:
    return FaceForm(
        name=cabinet.name,
        phone=cabinet.phone or "",
        coloured="yes" if cabinet.colour else "",
        colour=cabinet.colour or "#17594a",
        reply_to=cabinet.reply_to or "",
        sms_sender=cabinet.sms_sender or "",
    )


def _looked_at(document: str, above: str = "") -> str:
    """Somebody else's document, for the frame: its links would lead out of it, which the sandbox does not allow."""
    head, body, rest = document.replace("<head>", '<head><base target="_blank">', 1).partition("<body")
    attributes, end, content = rest.partition(">")
    return f"{head}{body}{attributes}{end}{above}{content}"


def _faults(error: ValidationError | FieldRefused) -> dict[str, str]:
    """What to say, by field."""
    if isinstance(error, FieldRefused):
        fields = [error.about["field"]]
    else:
        fields = [".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False, include_url=False)]
    return {known: words for known, words in _WRONG.items() for field in fields if field.startswith(known)}
