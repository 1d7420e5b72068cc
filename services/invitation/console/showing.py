"""`/ops/invitations/{id}`: all that is known of one invitation, and what may be done about it.

Nobody at the console sees a usable link, and nobody sees whom it concerns without saying why."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Literal

from aiohttp import web
from pydantic import Field

from convive_kit.addresses import Email, Phone
from convive_kit.http import Problem, form_body, invalid, not_found, rfc3339
from convive_kit.routes import Route
from invitation.console.forms import Form, Reason
from invitation.console.frame import HEADERS, Frame, initials, said, see_other
from invitation.console.listing import PATH
from invitation.console.picture import picture
from invitation.delivery.email import letter_to
from invitation.delivery.headers import UnusableAddress
from invitation.delivery.mail import Mail, MailRenderer, read_back
from invitation.lifecycle.invitation import Invitation
from invitation.lifecycle.states import Trigger, counts
from invitation.ops.acting import Acting
from invitation.store.protocol import Store

ONE = f"{PATH}/{{id}}"
HIDDEN_LINK = "/i/••••••••"
_A_FORTNIGHT = timedelta(days=14)
_END_OF_DAY = time(23, 59, 59)
_ATTEMPTS = ("accepted", "deferred", "refused", "gave_up")
_MAIL_HEADERS = HEADERS | {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
    " frame-ancestors 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}


class _Resend(Form):
    channel: Literal["email", "sms"] | None = None
    reason: Reason | None = None


class _Revoke(Form):
    reason: Reason | None = None


class _Extend(Form):
    until: date
    reason: Reason | None = None


class _Correct(Form):
    email: Email | None = None
    phone: Phone | None = None
    reason: Reason | None = None


class _Reveal(Form):
    reason: Annotated[Reason, Field(min_length=1)]


class Showing:
    """See the module."""

    def __init__(
        self,
        frame: Frame,
        store: Store,
        acting: Acting,
        renderer: MailRenderer,
        *,
        invitation_url: str,
        now: Callable[[], datetime],
    ) -> None:
        self._frame = frame
        self._store = store
        self._acting = acting
        self._renderer = renderer
        self._hidden_link = f"{invitation_url}{HIDDEN_LINK}"
        self._now = now

    def routes(self) -> list[Route]:
        """The page and its forms."""
        forms = (
            ("resend", self._resend),
            ("revoke", self._revoke),
            ("extend", self._extend),
            ("correct", self._correct),
        )
        looks = ((ONE, self._show), (f"{ONE}/mail", self._mail), (f"{ONE}/reveal", self._back),
                 *((f"{ONE}/{action}", self._back) for action, _ in forms))  # fmt: skip
        acts = ((f"{ONE}/reveal", self._reveal),
                *((f"{ONE}/{action}", self._act(action, act)) for action, act in forms))  # fmt: skip
        return [
            *(Route("GET", path, show, query=None, auth="console_reader", documented=False) for path, show in looks),
            *(Route("POST", path, act, query=None, auth="console_writer", documented=False) for path, act in acts),
        ]

    # --- looking ---------------------------------------------------------------------------------------------------

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request, await self._acting.theirs(request), done=request.query.get("done", ""))

    async def _mail(self, request: web.Request) -> web.StreamResponse:
        mail = await self._rendered(await self._acting.theirs(request))
        if mail is None:
            raise not_found("mail")
        return web.Response(text=mail.html, content_type="text/html", headers=_MAIL_HEADERS)

    async def _back(self, request: web.Request) -> web.StreamResponse:
        # A reload, or the language chosen, on the answer to a form.
        raise web.HTTPSeeOther(f"{PATH}/{request.match_info['id']}")

    async def _page(
        self,
        request: web.Request,
        invitation: Invitation,
        *,
        done: str = "",
        problem: Problem | None = None,
        revealed: bool = False,
    ) -> web.Response:
        history = await self._store.history(invitation.id)
        return self._frame.page(
            request,
            "invitation.html",
            status=problem.status if problem else 200,
            one=invitation,
            address=f"{PATH}/{invitation.id}",
            done=done,
            problem=problem,
            said=said(problem) if problem else "",
            revealed=revealed,
            history=history[::-1],
            attempts=[step for step in history if step.trigger in _ATTEMPTS],
            picture=picture(invitation.state, history),
            mail=await self._rendered(invitation),
            can=_possible(invitation),
            commands=_commands(invitation, self._now() + _A_FORTNIGHT),
            today=self._now().date(),
        )

    async def _rendered(self, invitation: Invitation) -> Mail | None:
        """The mail of the current send, made as it is made for sending, without the person's name and the link."""
        invitee = invitation.invitee
        if invitee is None or invitation.channel != "email" or invitation.expires_at is None:
            return None
        shown = replace(
            invitee,
            first_name=initials(invitee.first_name),
            last_name=initials(invitee.last_name),
            invited_by=invitee.invited_by and initials(invitee.invited_by),
        )
        letter = letter_to(shown, await self._store.names(invitee), invitation, self._hidden_link)
        try:
            message = self._renderer.render(letter, self._now())
        except UnusableAddress:
            return None
        return read_back(message)

    # --- acting ----------------------------------------------------------------------------------------------------

    def _act(
        self, action: str, act: Callable[[web.Request, Invitation], Awaitable[object]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def carry_out(request: web.Request) -> web.StreamResponse:
            invitation = await self._acting.theirs(request)
            try:
                await act(request, invitation)
            except Problem as problem:
                if problem.status not in (409, 422):
                    raise
                return await self._page(request, await self._acting.theirs(request), problem=problem)
            return see_other(f"{PATH}/{invitation.id}?done={action}")

        return carry_out

    async def _resend(self, request: web.Request, invitation: Invitation) -> None:
        form = await form_body(request, _Resend)
        await self._acting.resend(request, invitation, form.channel, form.reason)

    async def _revoke(self, request: web.Request, invitation: Invitation) -> None:
        await self._acting.revoke(request, invitation, (await form_body(request, _Revoke)).reason)

    async def _extend(self, request: web.Request, invitation: Invitation) -> None:
        form = await form_body(request, _Extend)
        await self._acting.extend(request, invitation, datetime.combine(form.until, _END_OF_DAY, UTC), form.reason)

    async def _correct(self, request: web.Request, invitation: Invitation) -> None:
        form = await form_body(request, _Correct)
        fields = {name: value for name, value in (("email", form.email), ("phone", form.phone)) if value}
        if not fields:
            raise invalid("email", "Give the right email, the right phone, or both.")
        await self._acting.correct(request, invitation, fields, form.reason)

    async def _reveal(self, request: web.Request) -> web.StreamResponse:
        invitation = await self._acting.theirs(request)
        try:
            form = await form_body(request, _Reveal)
        except Problem as problem:
            return await self._page(request, invitation, problem=problem)
        await self._acting.reveal(request, invitation, form.reason)
        return await self._page(request, invitation, revealed=True)


def _possible(invitation: Invitation) -> Sequence[str]:
    """The actions that the state allows."""
    state = invitation.state
    possible = {
        "resend": counts(Trigger.RESEND, state),
        "correct": counts(Trigger.ADDRESS_CHANGED, state),
        "extend": counts(Trigger.EXTENDED, state) and invitation.has_link,
        "revoke": counts(Trigger.REVOKED, state),
    }
    return [action for action, allowed in possible.items() if allowed]


def _commands(invitation: Invitation, later: datetime) -> dict[str, str]:
    """The same at a command line."""
    options = {"extend": f" --until {rfc3339(later)}", "correct": " --email new@example.com"}
    acts = {
        action: f"convive invitation {action} {invitation.id}{options.get(action, '')} --reason '…'"
        for action in _possible(invitation)
    }
    return {**{look: f"convive invitation {look} {invitation.id}" for look in ("show", "watch")}, **acts}
