"""The link: one page for a person, and the same as JSON for a program.

A GET changes nothing, nor does a form that nobody filled in: mail scanners fetch links, follow redirects and submit
empty forms. What shows a person is a typed password, an answer that was picked, or the proof that the page's script
adds at the first input the browser vouches for (a heuristic). Only a redemption uses the link up.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import structlog
from aiohttp import web

from convive_kit.addresses import email_key
from convive_kit.auth import bearer_token
from convive_kit.errors import Retry
from convive_kit.http import Problem, client_address, invalid, json_response, problem_response
from convive_kit.passwords import judge
from convive_kit.rate_limit import Limiter, LocalLimiter, too_many_requests
from convive_kit.routes import Route
from invitation.directory import Account, Directory, MemberGone, OtherPassword, Redeemed
from invitation.i18n import choose_locale
from invitation.lifecycle.invitation import Cause, Change, Invitation, Invitee
from invitation.lifecycle.links import Links
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.pages import context as pages
from invitation.pages.bodies import (
    MOST_OTHERS,
    Accept,
    Accepted,
    AlsoAccepted,
    Decline,
    InvitationView,
    Nothing,
    Open,
    Password,
    Redirect,
    StateView,
    read,
)
from invitation.pages.passwords import explain
from invitation.pages.render import PageRenderer, security_headers
from invitation.settings import InvitationSettings
from invitation.store.protocol import Decide, Filter, Store, decide_and_save_at_once

log = structlog.stdlib.get_logger(__name__)

POSTS_PER_LINK = "30/minute"
RENEWALS_PER_LINK = "4/hour"
FORGERIES_PER_ADDRESS = "30/minute"
_NOTING = 3.0
"""Seconds for which somebody who has chosen a password waits until it is noted here too."""
_HANDOFF_COOKIE = "convive_handoff"
_SESSION_COOKIE = "convive_session"
_USED_UP = (State.PASSWORD_SET, State.ACTIVE)
_OPEN = (State.PENDING, State.SENT, State.OPENED, State.FAILED)

GoneReason = Literal["expired", "superseded", "revoked", "declined"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a genuine link leads to."""

    invitation: Invitation
    invitee: Invitee
    link_sequence: int


@dataclass(frozen=True, slots=True)
class Visit:
    """A genuine link and where its invitation stands."""

    invitation: Invitation
    invitee: Invitee
    firm: pages.Firm
    policy: Policy
    link_sequence: int
    page: pages.Visit

    @property
    def is_current(self) -> bool:
        return self.link_sequence == self.invitation.link_sequence


class LinkPages:
    """Serves `/i/{token}` and its steps."""

    def __init__(
        self,
        store: Store,
        links: Links,
        directory: Directory,
        limiter: Limiter,
        settings: InvitationSettings,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        due_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._links = links
        self._directory = directory
        self._limiter = limiter
        self._forgeries = LocalLimiter(FORGERIES_PER_ADDRESS)
        self._settings = settings
        self._policy = policy
        self._now = now
        self._due_changed = due_changed
        self._renderer = PageRenderer()
        self._headers = security_headers(settings.directory_url)
        self._secure = settings.invitation_url.startswith("https://")

    def routes(self) -> list[Route]:
        """The calls of a link; `problem` answers people with a page."""
        gone = (404, 410, 429, 503)
        steps = (
            ("open", self._open, "A person acted on the page", Open, StateView, (409,)),
            ("password", self._password, "Choose the password of a new account", Password, Redirect, (409, 422)),
            ("accept", self._accept, "Accept with an account that exists", Accept, Accepted, (401, 403, 409, 422)),
            ("renew", self._renew, "Send the link again to the address on record", Nothing, StateView, (409,)),
            ("decline", self._decline, "“This isn't me”", Decline, StateView, (409,)),
        )
        page = "/i/{token}"
        return [
            Route("GET", "/i/static/{name}", self._static, query=None, documented=False),
            Route("GET", page, self._show, "What a link opens", query=None, response=InvitationView, problems=gone),
            Route("GET", f"{page}/decline", self._ask_before_declining, query=None, documented=False),
            # Back, reload or a bookmark on the answer to a form must not lead nowhere.
            *(
                Route("GET", f"{page}/{step}", self._back_to_the_page, query=None, documented=False)
                for step in ("open", "password", "accept", "renew")
            ),
            *(
                Route("POST", f"{page}/{step}", handler, summary, body, None, view, problems=(*gone, *problems))
                for step, handler, summary, body, view, problems in steps
            ),
        ]

    # --- reading ---------------------------------------------------------------------------------------------------

    async def _show(self, request: web.Request) -> web.StreamResponse:
        found = await self._found(request)
        used_up = found.invitation.state in _USED_UP
        if used_up or found.invitation.link_state(found.link_sequence, self._now()) != "alive":
            visit, account = await self._visit_of(request, found), Account(exists=True, verified=True)
            if not used_up:
                self._refuse_dead(visit)
        else:
            asking = self._directory.account(found.invitee.email)
            visit, account = await asyncio.gather(self._visit_of(request, found), asking)
        existing = account.keeps_its_password(visit.invitation.channel)
        if _wants_json(request):
            others: Sequence[pages.Other] = ()
            if existing and not used_up and await self._who_is_signed_in(request, visit) is pages.SignedIn.GUEST:
                others = await self._others(visit, account)
            known = "existing" if existing else "new"
            return json_response(InvitationView.of(visit.invitation, visit.invitee, visit.firm, known, others))
        if used_up:
            return self._page(pages.AlreadyActive(visit.firm, self._sign_in_url()), visit.page)
        if not existing:
            return self._page(pages.Invitation(visit.firm, _guest(visit)), visit.page)
        signed_in = await self._who_is_signed_in(request, visit)
        others = await self._others(visit, account) if signed_in is pages.SignedIn.GUEST else ()
        page = pages.ExistingAccount(visit.firm, _guest(visit), signed_in, others=others)
        return self._page(page, visit.page)

    async def _ask_before_declining(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request)
        self._refuse_used_up(visit)
        self._refuse_dead(visit)
        return self._page(pages.ConfirmDecline(visit.firm, _guest(visit)), visit.page)

    async def _back_to_the_page(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther(request.path.rpartition("/")[0])

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        file = self._renderer.static.get(name) or self._renderer.colours(name)
        if file is None:
            raise Problem(404)
        return file.response()

    # --- steps -----------------------------------------------------------------------------------------------------

    async def _open(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        await read(request, Open)
        self._refuse_used_up(visit)
        self._refuse_dead(visit)
        cause = self._cause()
        change = await self._decide(visit, lambda i: i.opened(cause, visit.policy))
        return self._state(change, visit)

    async def _password(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        password = (await read(request, Password)).password
        if not visit.is_current or visit.invitation.state not in _USED_UP:
            self._refuse_dead(visit)
        reasons = () if visit.invitation.state in _USED_UP else self._judged(visit, password)
        if reasons:
            if _wants_json(request):
                raise Problem(
                    422,
                    "weak_password",
                    errors=[{"field": "password", "message": explain(reason, visit.page.locale)} for reason in reasons],
                    reasons=[reason.value for reason in reasons],
                )
            return self._page(pages.Invitation(visit.firm, _guest(visit), reasons), visit.page)
        await self._refuse_anybody_new(visit)
        try:
            redeemed = await self._directory.redeem(visit.invitation, visit.invitee, password)
        except OtherPassword as other:
            if _wants_json(request):
                raise _conflict(await self._state_now(visit)) from None
            if other.link_is_used:
                return self._page(pages.Taken(visit.firm, self._sign_in_url()), visit.page)
            return self._page(pages.ExistingAccount(visit.firm, _guest(visit), wrong_password=True), visit.page)
        except MemberGone:
            raise _DeadLink(visit, "revoked") from None
        return await self._redeemed(request, visit, redeemed)

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        body = await read(request, Accept)
        password = body.password
        if password is not None and body.also:
            raise invalid("also", "Sign in first: other invitations are accepted with the person's session alone.")
        if not visit.is_current or visit.invitation.state not in _USED_UP:
            self._refuse_dead(visit)
        if password is None:
            signed_in = await self._who_is_signed_in(request, visit)
            if signed_in is not pages.SignedIn.GUEST:
                return self._not_signed_in(request, visit, signed_in)
        await self._refuse_anybody_new(visit)
        try:
            redeemed = await self._directory.redeem(visit.invitation, visit.invitee, password)
        except OtherPassword:
            if _wants_json(request):
                raise _conflict(await self._state_now(visit), "wrong_password") from None
            page = pages.ExistingAccount(visit.firm, _guest(visit), wrong_password=True)
            return self._page(page, visit.page)
        except MemberGone:
            raise _DeadLink(visit, "revoked") from None
        return await self._redeemed(request, visit, redeemed, also=await self._accept_others(visit, body.also))

    async def _renew(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        proved = _wants_json(request) or (await read(request, Nothing)).proof == "input"
        self._refuse_used_up(visit)
        if visit.invitation.state in (State.REVOKED, State.DECLINED):
            raise _DeadLink(visit, _over(visit.invitation.state))
        if not proved:
            self._refuse_dead(visit)
            raise web.HTTPSeeOther(visit.page.path)
        if wait := await self._limiter.hit("link.renew", visit.invitation.id, RENEWALS_PER_LINK):
            raise too_many_requests(wait)
        cause = self._cause()
        change = await self._decide(visit, lambda i: i.renewed(cause, visit.policy))
        self._due_changed()
        if _wants_json(request):
            return self._state(change, visit)
        return self._page(pages.Renewed(visit.firm), visit.page)

    async def _decline(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        answer = await read(request, Decline)
        self._refuse_used_up(visit)
        self._refuse_dead(visit)
        if answer.reason is None and not _wants_json(request):
            return self._page(pages.ConfirmDecline(visit.firm, _guest(visit), unanswered=True), visit.page)
        cause = replace(self._cause(), detail={"reason": answer.reason} if answer.reason else None)
        change = await self._decide(visit, lambda i: i.declined(cause))
        if _wants_json(request):
            return self._state(change, visit)
        return self._page(pages.Declined(visit.firm, just_now=True), visit.page)

    # --- inside ----------------------------------------------------------------------------------------------------

    async def _visit(self, request: web.Request, *, counted: bool = False) -> Visit:
        return await self._visit_of(request, await self._found(request, counted=counted))

    async def _found(self, request: web.Request, *, counted: bool = False) -> Found:
        """The invitation of a genuine link. A wrong token costs no database call and tells nothing."""
        token = request.match_info["token"]
        link = self._links.read(token)
        if link is None:
            if wait := self._forgeries.hit(client_address(request, self._settings.trusted_proxies)):
                raise too_many_requests(wait)
            raise Problem(404, "unknown_link")
        loading = self._store.load(link.invitation_id)
        if counted:
            hit = self._limiter.hit("link.post", link.invitation_id, POSTS_PER_LINK)
            # The one does not wait for the other: to count takes as long as to read.
            wait, invitation = await asyncio.gather(hit, loading)
            if wait:
                raise too_many_requests(wait)
        else:
            invitation = await loading
        invitee = invitation.invitee if invitation else None
        if invitation is None or invitee is None:
            raise Problem(404, "unknown_link")
        return Found(invitation, invitee, link.link_sequence)

    async def _visit_of(self, request: web.Request, found: Found) -> Visit:
        invitee = found.invitee
        names = await self._store.names(invitee)
        firm = pages.Firm(names.cabinet, names.dossier, names.cabinet_phone, invitee.invited_by, names.colour)
        policy, page = self._policy.of(names.policies), _where(request, f"/i/{request.match_info['token']}", invitee)
        return Visit(found.invitation, invitee, firm, policy, found.link_sequence, page)

    def _refuse_dead(self, visit: Visit) -> None:
        """Raise `DeadLink` when the link itself opens nothing any more."""
        invitation = visit.invitation
        match invitation.link_state(visit.link_sequence, self._now()):
            case "alive":
                return
            case "over" if invitation.state in _USED_UP:
                raise _UsedUp(visit)
            case "over":
                raise _DeadLink(visit, _over(invitation.state))
            case "superseded" | "expired" as reason:
                raise _DeadLink(visit, reason)

    @staticmethod
    def _refuse_used_up(visit: Visit) -> None:
        if visit.invitation.state in _USED_UP:
            raise _UsedUp(visit)

    async def _refuse_anybody_new(self, visit: Visit) -> None:
        """A link that was used up answers again to whoever used it, and makes no account: its publisher may have named
        another address since, and this link proves nothing of that one."""
        if visit.invitation.state in _USED_UP:
            account = await self._directory.account(visit.invitee.email)
            if not account.exists:
                raise _UsedUp(visit)

    def _judged(self, visit: Visit, password: str) -> tuple[pages.Reason, ...]:
        invitee = visit.invitee
        names = (invitee.first_name, invitee.last_name, invitee.email, visit.firm.cabinet)
        return tuple(judge(password, names=names))

    async def _who_is_signed_in(self, request: web.Request, visit: Visit) -> pages.SignedIn:
        token = bearer_token(request) or request.cookies.get(_SESSION_COOKIE)
        email = await self._directory.email_of_session(token) if token else None
        if email is None:
            return pages.SignedIn.NOBODY
        same = email_key(email) == visit.invitee.email_key
        return pages.SignedIn.GUEST if same else pages.SignedIn.SOMEBODY_ELSE

    def _not_signed_in(self, request: web.Request, visit: Visit, who: pages.SignedIn) -> web.StreamResponse:
        if not _wants_json(request):
            return self._page(pages.ExistingAccount(visit.firm, _guest(visit), who), visit.page)
        if who is pages.SignedIn.SOMEBODY_ELSE:
            raise Problem(403, "signed_in_as_somebody_else", "Sign in with the e-mail address of the invitation.")
        detail = "Send the person's session as a bearer token, or `password`."
        raise Problem(401, "sign_in_first", detail, headers={"WWW-Authenticate": "Bearer"})

    async def _others(self, visit: Visit, account: Account) -> tuple[pages.Other, ...]:
        """The other open invitations of the person, who is signed in. Where nobody has proved that the address is
        theirs there are none to be told of: they may be another's."""
        if not account.verified:
            return ()
        open_ones = await self._open_invitations(visit)
        return tuple(await asyncio.gather(*(self._shown(one, invitee) for one, invitee in open_ones)))

    async def _open_invitations(self, visit: Visit) -> list[tuple[Invitation, Invitee]]:
        which = Filter(states=_OPEN, email_keys=[visit.invitee.email_key])
        found = (await self._store.find(which, limit=MOST_OTHERS + 1)).items
        now = self._now()
        return [
            (one, one.invitee)
            for one in found
            if one.id != visit.invitation.id
            and one.invitee is not None
            # Without an expiry nobody has been sent a link yet: the firm has not invited them.
            and one.expires_at is not None
            and one.link_state(one.link_sequence, now) == "alive"
        ]

    async def _shown(self, other: Invitation, invitee: Invitee) -> pages.Other:
        names = await self._store.names(invitee)
        return pages.Other(other.id, names.cabinet, names.dossier, invitee.role)

    async def _accept_others(self, visit: Visit, ids: Sequence[str]) -> list[tuple[pages.Other, pages.Outcome]]:
        """Accept these invitations of the same person too, each by itself: what becomes of one is nothing to another.
        What is not theirs, or not open, is told apart from nothing else that is gone."""
        if not ids or not (await self._directory.account(visit.invitee.email)).verified:
            return [(pages.Other(id, "", "", ""), "gone") for id in ids]
        open_ones = {one.id: (one, invitee) for one, invitee in await self._open_invitations(visit)}
        outcomes: list[tuple[pages.Other, pages.Outcome]] = []
        for id in dict.fromkeys(ids):
            if id not in open_ones:
                outcomes.append(await self._accepted_before(visit, id) or (pages.Other(id, "", "", ""), "gone"))
                continue
            one, invitee = open_ones[id]
            other = await self._shown(one, invitee)
            try:
                redeemed = await self._directory.redeem(one, invitee, None)
            except (MemberGone, OtherPassword):
                outcomes.append((other, "gone"))
            except (Retry, Problem) as trouble:
                log.warning("invitation.not_accepted", invitation=id, cause=trouble.slug)
                outcomes.append((other, "try_again"))
            else:
                await self._note_redemption(one, redeemed)
                outcomes.append((other, "accepted"))
        return outcomes

    async def _accepted_before(self, visit: Visit, id: str) -> tuple[pages.Other, pages.Outcome] | None:
        """For whoever asks again because they had no answer."""
        one = await self._store.load(id)
        if one is None or one.invitee is None or one.state not in _USED_UP:
            return None
        if one.invitee.email_key != visit.invitee.email_key:
            return None
        return await self._shown(one, one.invitee), "accepted"

    async def _note_redemption(self, invitation: Invitation, redeemed: Redeemed) -> State:
        existing = redeemed.credential == "existing"
        cause = self._cause()
        try:
            async with asyncio.timeout(_NOTING):
                change = await decide_and_save_at_once(
                    self._store,
                    invitation,
                    lambda i: i.redeemed(None, redeemed.credential, cause, signed_in=existing),
                )
        except (Retry, TimeoutError) as away:
            # The directory has decided, and its event will tell us again: the person need not wait for our database.
            why = away.slug if isinstance(away, Retry) else "timed_out"
            log.warning("invitation.redemption_not_noted", invitation=invitation.id, cause=why)
        else:
            if change is not None:
                log.info("invitation.redeemed", invitation=invitation.id, account=redeemed.credential)
                return change.after.state
        # Redeemed once more by somebody who has been in for long: they are no step behind.
        return State.ACTIVE if existing or invitation.state is State.ACTIVE else State.PASSWORD_SET

    async def _redeemed(
        self,
        request: web.Request,
        visit: Visit,
        redeemed: Redeemed,
        *,
        also: Sequence[tuple[pages.Other, pages.Outcome]] = (),
    ) -> web.StreamResponse:
        state = await self._note_redemption(visit.invitation, redeemed)
        url = f"{self._settings.directory_url}/handoff?code={redeemed.handoff_code}"
        # The next screen goes on in the language of this one.
        location = f"{url}&lang={visit.page.locale}"
        if _wants_json(request):
            told = [AlsoAccepted(id=other.id, outcome=outcome) for other, outcome in also]
            response = json_response(Accepted(state=state, next=url, also=told))
        elif all(outcome == "accepted" for _, outcome in also):
            response = web.Response(status=303, headers={**self._headers, "Location": location})
        else:
            response = self._page(pages.AcceptedInPart(visit.firm, tuple(also), location), visit.page)
        self._bind_to_browser(response, redeemed.handoff_code)
        return response

    def _bind_to_browser(self, response: web.Response, code: str) -> None:
        """The code works only where this answer went: a link with somebody else's code signs nobody in."""
        secret = self._settings.service_token.get_secret_value().encode()
        nonce = hmac.new(secret, f"handoff:{code}".encode(), hashlib.sha256).hexdigest()
        response.set_cookie(
            _HANDOFF_COOKIE,
            nonce,
            max_age=120,
            path="/",
            domain=self._settings.cookie_domain or None,
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )

    async def _decide(self, visit: Visit, decide: Decide) -> Change | None:
        return await decide_and_save_at_once(self._store, visit.invitation, decide)

    async def _state_now(self, visit: Visit) -> State:
        current = await self._store.load(visit.invitation.id)
        return (current or visit.invitation).state

    def _state(self, change: Change | None, visit: Visit) -> web.Response:
        return json_response(StateView(state=(change.after if change else visit.invitation).state))

    def _cause(self) -> Cause:
        return Cause(self._now(), "person")

    def _sign_in_url(self) -> str:
        return f"{self._settings.directory_url}/sign-in"

    # --- answers ---------------------------------------------------------------------------------------------------

    def _page(self, page: pages.Page, where: pages.Visit) -> web.Response:
        html = self._renderer.render(page, where)
        return web.Response(text=html, status=page.status, content_type="text/html", headers=self._headers)

    def _page_of(self, dead: _DeadLink) -> pages.Page:
        visit = dead.visit
        match dead.reason:
            case "expired":
                expired_at = visit.invitation.expires_at or visit.invitation.updated_at
                return pages.Expired(visit.firm, expired_at, visit.invitee.time_zone)
            case "superseded":
                return pages.Superseded(visit.firm)
            case "declined":
                return pages.Declined(visit.firm)
            case "revoked":
                return pages.Revoked(visit.firm)

    def problem(self, request: web.Request, problem: Problem) -> web.StreamResponse:
        """The answer to a problem on a link route: a page for people, a problem document for programs."""
        if _wants_json(request):
            return problem_response(request, problem)
        match problem:
            case _DeadLink():
                page, where = self._page_of(problem), problem.visit.page
            case _UsedUp():
                page, where = pages.AlreadyActive(problem.visit.firm, self._sign_in_url()), problem.visit.page
            case Problem(status=404):
                # Nothing is known of who reads this, and the address is no link: it is not repeated in the page.
                page, where = pages.UnknownLink(), _where(request, "", None)
            case Problem(status=429):
                retry_after = int(problem.headers.get("Retry-After", 60))
                page, where = pages.TooMany(retry_after), _where(request, _link_path(request), None)
            case Problem(status=status) if status >= 500:
                page, where = pages.TryAgain(), _where(request, _link_path(request), None)
            case Problem(status=422) | Problem(status=415) | Problem(status=400):
                # A form that says nothing: back to the page it belongs to, which says what to do.
                return web.Response(status=303, headers={**self._headers, "Location": _link_path(request)})
            case _:
                return problem_response(request, problem)
        response = self._page(page, where)
        response.headers.update(problem.headers)
        return response


class _DeadLink(Problem):
    def __init__(self, visit: Visit, reason: GoneReason) -> None:
        super().__init__(410, f"link_{reason}", reason=reason)
        self.visit = visit
        self.reason: GoneReason = reason


class _UsedUp(Problem):
    def __init__(self, visit: Visit) -> None:
        super().__init__(409, "already_done", state=visit.invitation.state.value)
        self.visit = visit


def _over(state: State) -> GoneReason:
    return "declined" if state is State.DECLINED else "revoked"


def _conflict(state: State, slug: str = "other_password") -> Problem:
    return Problem(409, slug, state=state.value)


def _wants_json(request: web.Request) -> bool:
    accepted = request.headers.get("Accept", "")
    return "json" in request.content_type or ("application/json" in accepted and "text/html" not in accepted)


def _link_path(request: web.Request) -> str:
    return f"/i/{request.match_info.get('token', '')}"


def _where(request: web.Request, path: str, invitee: Invitee | None) -> pages.Visit:
    asked = request.query.get("lang")
    locale = choose_locale(
        asked=asked,
        invitation=invitee.locale if invitee else None,
        accept_language=request.headers.get("Accept-Language"),
    )
    return pages.Visit(path, locale, switched=asked == locale)


def _guest(visit: Visit) -> pages.Guest:
    invitee = visit.invitee
    return pages.Guest(
        first_name=invitee.first_name,
        last_name=invitee.last_name,
        email=invitee.email,
        role=invitee.role,
        own_expense_reports=invitee.own_expense_reports,
        expires_at=visit.invitation.expires_at or visit.invitation.updated_at,
        time_zone=invitee.time_zone,
    )
