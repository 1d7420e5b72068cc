"""Whoever comes by a link: what it leads to, where they stand, and why it may open nothing any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from convive_kit.http import Problem
from invitation.i18n import choose_locale
from invitation.lifecycle.invitation import Invitation, Invitee
from invitation.lifecycle.schedule import Policy
from invitation.lifecycle.states import State
from invitation.pages import context as pages

USED_UP = (State.PASSWORD_SET, State.ACTIVE)
GoneReason = Literal["expired", "superseded", "revoked", "declined"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a genuine link leads to."""

    invitation: Invitation
    invitee: Invitee
    link_sequence: int

    @property
    def is_current(self) -> bool:
        return self.link_sequence == self.invitation.link_sequence


@dataclass(frozen=True, slots=True)
class Visit(Found):
    """The same with the firm around it, and the page it is shown on."""

    firm: pages.Firm
    policy: Policy
    page: pages.Visit


class DeadLink(Problem):
    def __init__(self, visit: Visit, reason: GoneReason) -> None:
        super().__init__(410, f"link_{reason}", reason=reason)
        self.visit = visit
        self.reason: GoneReason = reason


class UsedUp(Problem):
    def __init__(self, visit: Visit) -> None:
        super().__init__(409, "already_done", state=visit.invitation.state.value)
        self.visit = visit


def over(state: State) -> GoneReason:
    return "declined" if state is State.DECLINED else "revoked"


def conflict(state: State, slug: str = "other_password") -> Problem:
    return Problem(409, slug, state=state.value)


def wants_json(request: web.Request) -> bool:
    accepted = request.headers.get("Accept", "")
    return "json" in request.content_type or ("application/json" in accepted and "text/html" not in accepted)


def link_path(request: web.Request) -> str:
    return f"/i/{request.match_info.get('token', '')}"


def page_visit(request: web.Request, path: str, invitee: Invitee | None) -> pages.Visit:
    asked = request.query.get("lang")
    locale = choose_locale(
        asked=asked,
        invitation=invitee.locale if invitee else None,
        accept_language=request.headers.get("Accept-Language"),
    )
    return pages.Visit(path, locale, switched=asked == locale)


def guest_of(visit: Visit) -> pages.Guest:
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
