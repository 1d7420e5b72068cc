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
from dataclasses import replace
from datetime import datetime

from aiohttp import web

from convive_kit.addresses import email_key
from convive_kit.auth import bearer_token
from convive_kit.http import Problem, client_address, invalid, json_response, problem_response
from convive_kit.passwords import judge
from convive_kit.rate_limit import FrugalLimiter, Limiter, LocalLimiter, too_many_requests
from convive_kit.routes import Route
from invitation.directory import Account, Directory, MemberGone, OtherPassword, Redeemed
from invitation.lifecycle.invitation import Cause, Change
from invitation.lifecycle.links import Links
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.pages import context as pages
from invitation.pages.bodies import (
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
from invitation.pages.redemptions import Redemptions
from invitation.pages.render import PageRenderer, security_headers
from invitation.pages.visits import (
    USED_UP,
    DeadLink,
    Found,
    UsedUp,
    Visit,
    conflict,
    guest_of,
    link_path,
    over,
    page_visit,
    wants_json,
)
from invitation.settings import InvitationSettings
from invitation.store.protocol import Decide, Store, decide_and_save_at_once

POSTS_PER_LINK = "30/minute"
RENEWALS_PER_LINK = "4/hour"
FORGERIES_PER_ADDRESS = "30/minute"
_HANDOFF_COOKIE = "convive_handoff"
_SESSION_COOKIE = "convive_session"


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
        self._redemptions = Redemptions(store, directory, now)
        self._limiter = limiter
        self._posts = FrugalLimiter(limiter, "link.post", POSTS_PER_LINK)
        self._forgeries = LocalLimiter(FORGERIES_PER_ADDRESS)
        self._settings = settings
        self._policy = policy
        self._now = now
        self._due_changed = due_changed
        self.renderer = PageRenderer()
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
        used_up = found.invitation.state in USED_UP
        if used_up or found.invitation.link_state(found.link_sequence, self._now()) != "alive":
            visit, account = await self._visit_of(request, found), Account(exists=True, verified=True)
            if not used_up:
                self._refuse_dead(visit)
        else:
            asking = self._directory.account(found.invitee.email)
            visit, account = await asyncio.gather(self._visit_of(request, found), asking)
        existing = account.keeps_its_password(visit.invitation.channel)
        if wants_json(request):
            others: Sequence[pages.Other] = ()
            if existing and not used_up and await self._who_is_signed_in(request, visit) is pages.SignedIn.GUEST:
                others = await self._redemptions.others(visit, account)
            known = "existing" if existing else "new"
            return json_response(InvitationView.of(visit.invitation, visit.invitee, visit.firm, known, others))
        if used_up:
            return self._page(pages.AlreadyActive(visit.firm, self._sign_in_url()), visit.page)
        if not existing:
            return self._page(pages.Invitation(visit.firm, guest_of(visit)), visit.page)
        signed_in = await self._who_is_signed_in(request, visit)
        others = await self._redemptions.others(visit, account) if signed_in is pages.SignedIn.GUEST else ()
        page = pages.ExistingAccount(visit.firm, guest_of(visit), signed_in, others=others)
        return self._page(page, visit.page)

    async def _ask_before_declining(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request)
        self._refuse_used_up(visit)
        self._refuse_dead(visit)
        return self._page(pages.ConfirmDecline(visit.firm, guest_of(visit)), visit.page)

    async def _back_to_the_page(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther(request.path.rpartition("/")[0])

    async def _static(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        file = self.renderer.static.get(name) or self.renderer.colours(name)
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
        if not visit.is_current or visit.invitation.state not in USED_UP:
            self._refuse_dead(visit)
        reasons = () if visit.invitation.state in USED_UP else self._judged(visit, password)
        if reasons:
            if wants_json(request):
                raise Problem(
                    422,
                    "weak_password",
                    errors=[{"field": "password", "message": explain(reason, visit.page.locale)} for reason in reasons],
                    reasons=[reason.value for reason in reasons],
                )
            return self._page(pages.Invitation(visit.firm, guest_of(visit), reasons), visit.page)
        await self._refuse_anybody_new(visit)
        try:
            redeemed = await self._directory.redeem(visit.invitation, visit.invitee, password)
        except OtherPassword as other:
            if wants_json(request):
                raise conflict(await self._state_now(visit)) from None
            if other.link_is_used:
                return self._page(pages.Taken(visit.firm, self._sign_in_url()), visit.page)
            return self._page(pages.ExistingAccount(visit.firm, guest_of(visit), wrong_password=True), visit.page)
        except MemberGone:
            raise DeadLink(visit, "revoked") from None
        return await self._redeemed(request, visit, redeemed)

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        body = await read(request, Accept)
        password = body.password
        if password is not None and body.also:
            raise invalid("also", "Sign in first: other invitations are accepted with the person's session alone.")
        if not visit.is_current or visit.invitation.state not in USED_UP:
            self._refuse_dead(visit)
        if password is None:
            signed_in = await self._who_is_signed_in(request, visit)
            if signed_in is not pages.SignedIn.GUEST:
                return self._not_signed_in(request, visit, signed_in)
        await self._refuse_anybody_new(visit)
        try:
            redeemed = await self._directory.redeem(visit.invitation, visit.invitee, password)
        except OtherPassword:
            if wants_json(request):
                raise conflict(await self._state_now(visit), "wrong_password") from None
            page = pages.ExistingAccount(visit.firm, guest_of(visit), wrong_password=True)
            return self._page(page, visit.page)
        except MemberGone:
            raise DeadLink(visit, "revoked") from None
        also = await self._redemptions.accept_others(visit, body.also)
        return await self._redeemed(request, visit, redeemed, also=also)

    async def _renew(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        proved = wants_json(request) or (await read(request, Nothing)).proof == "input"
        self._refuse_used_up(visit)
        if visit.invitation.link_state(visit.link_sequence, self._now()) == "over":
            raise DeadLink(visit, over(visit.invitation.state))
        if not proved:
            self._refuse_dead(visit)
            raise web.HTTPSeeOther(visit.page.path)
        if wait := await self._limiter.hit("link.renew", visit.invitation.id, RENEWALS_PER_LINK):
            raise too_many_requests(wait)
        cause = self._cause()
        change = await self._decide(visit, lambda i: i.renewed(cause, visit.policy))
        self._due_changed()
        if wants_json(request):
            return self._state(change, visit)
        return self._page(pages.Renewed(visit.firm), visit.page)

    async def _decline(self, request: web.Request) -> web.StreamResponse:
        visit = await self._visit(request, counted=True)
        answer = await read(request, Decline)
        self._refuse_used_up(visit)
        self._refuse_dead(visit)
        if answer.reason is None and not wants_json(request):
            return self._page(pages.ConfirmDecline(visit.firm, guest_of(visit), unanswered=True), visit.page)
        cause = replace(self._cause(), detail={"reason": answer.reason} if answer.reason else None)
        change = await self._decide(visit, lambda i: i.declined(cause))
        if wants_json(request):
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
            # The one does not wait for the other: to count may take as long as to read.
            wait, invitation = await asyncio.gather(self._posts.hit(link.invitation_id), loading)
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
        policy, page = self._policy.of(names.policies), page_visit(request, link_path(request), invitee)
        return Visit(found.invitation, invitee, found.link_sequence, firm, policy, page)

    def _refuse_dead(self, visit: Visit) -> None:
        """Raise `DeadLink` when the link itself opens nothing any more."""
        invitation = visit.invitation
        match invitation.link_state(visit.link_sequence, self._now()):
            case "alive":
                return
            case "over" if invitation.state in USED_UP:
                raise UsedUp(visit)
            case "over":
                raise DeadLink(visit, over(invitation.state))
            case "superseded" | "expired" as reason:
                raise DeadLink(visit, reason)

    @staticmethod
    def _refuse_used_up(visit: Visit) -> None:
        if visit.invitation.state in USED_UP:
            raise UsedUp(visit)

    async def _refuse_anybody_new(self, visit: Visit) -> None:
        """A link that was used up answers again to whoever used it, and makes no account: its publisher may have named
        another address since, and this link proves nothing of that one."""
        if visit.invitation.state in USED_UP:
            account = await self._directory.account(visit.invitee.email)
            if not account.exists:
                raise UsedUp(visit)

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
        if not wants_json(request):
            return self._page(pages.ExistingAccount(visit.firm, guest_of(visit), who), visit.page)
        if who is pages.SignedIn.SOMEBODY_ELSE:
            raise Problem(403, "signed_in_as_somebody_else", "Sign in with the e-mail address of the invitation.")
        detail = "Send the person's session as a bearer token, or `password`."
        raise Problem(401, "sign_in_first", detail, headers={"WWW-Authenticate": "Bearer"})

    async def _redeemed(
        self,
        request: web.Request,
        visit: Visit,
        redeemed: Redeemed,
        *,
        also: Sequence[tuple[pages.Other, pages.Outcome]] = (),
    ) -> web.StreamResponse:
        state = await self._redemptions.note(visit.invitation, redeemed)
        url = f"{self._settings.directory_url}/handoff?code={redeemed.handoff_code}"
        # The next screen goes on in the language of this one.
        location = f"{url}&lang={visit.page.locale}"
        if wants_json(request):
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
        html = self.renderer.render(page, where)
        return web.Response(text=html, status=page.status, content_type="text/html", headers=self._headers)

    def _page_of(self, dead: DeadLink) -> pages.Page:
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
        if wants_json(request):
            return problem_response(request, problem)
        match problem:
            case DeadLink():
                page, where = self._page_of(problem), problem.visit.page
            case UsedUp():
                page, where = pages.AlreadyActive(problem.visit.firm, self._sign_in_url()), problem.visit.page
            case Problem(status=404):
                # Nothing is known of who reads this, and the address is no link: it is not repeated in the page.
                page, where = pages.UnknownLink(), page_visit(request, "", None)
            case Problem(status=429):
                retry_after = int(problem.headers.get("Retry-After", 60))
                page, where = pages.TooMany(retry_after), page_visit(request, link_path(request), None)
            case Problem(status=status) if status >= 500:
                page, where = pages.TryAgain(), page_visit(request, link_path(request), None)
            case Problem(status=422) | Problem(status=415) | Problem(status=400):
                # A form that says nothing: back to the page it belongs to, which says what to do.
                return web.Response(status=303, headers={**self._headers, "Location": link_path(request)})
            case _:
                return problem_response(request, problem)
        response = self._page(page, where)
        response.headers.update(problem.headers)
        return response
