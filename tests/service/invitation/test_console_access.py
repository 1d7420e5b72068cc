"""Who may do what at the console: every page and form against every role."""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

from invitation.console.administration import Administration
from invitation.console.bulk import BulkPages
from invitation.console.failures import Failures
from invitation.console.frame import Frame
from invitation.console.listing import Listing
from invitation.console.live import Live
from invitation.console.overview import Overview
from invitation.console.showing import Showing
from invitation.console.surroundings import Surroundings
from invitation.ops.export import Export
from invitation.store.tokens import ROLES
from tests.running import Stack
from tests.service.invitation.console import Operator, is_on_the_way_to_signing_in, operator

# A new page belongs here: the test fails until somebody has decided who may see it.
PAGES = {
    "GET /ops/static/{name}": None,
    "GET /ops/sign-in": None,
    "POST /ops/sign-in": None,
    "GET /ops/language/{locale}": None,
    "GET /ops": "reader",
    "POST /ops/sign-out": "reader",
    "GET /ops/live": "reader",
    "GET /ops/invitations": "reader",
    "GET /ops/invitations/export": "reader",
    "POST /ops/views": "reader",
    "POST /ops/views/remove": "reader",
    "GET /ops/invitations/{id}": "reader",
    "GET /ops/invitations/{id}/mail": "reader",
    "GET /ops/invitations/{id}/reveal": "reader",
    "GET /ops/invitations/{id}/resend": "reader",
    "GET /ops/invitations/{id}/revoke": "reader",
    "GET /ops/invitations/{id}/extend": "reader",
    "GET /ops/invitations/{id}/correct": "reader",
    "GET /ops/failures": "reader",
    "GET /ops/failures/messages": "reader",
    "GET /ops/failures/messages/{id}": "reader",
    "GET /ops/failures/messages/{id}/show": "reader",
    "GET /ops/failures/messages/{id}/replay": "reader",
    "GET /ops/failures/messages/{id}/edit": "reader",
    "GET /ops/failures/messages/{id}/discard": "reader",
    "GET /ops/replays/{id}": "reader",
    "GET /ops/audit": "reader",
    "GET /ops/surroundings": "reader",
    "GET /ops/tokens": "admin",
    "POST /ops/tokens": "admin",
    "POST /ops/tokens/{id}/revoke": "admin",
    "GET /ops/bulk": "reader",
    "GET /ops/bulk/new": "writer",
    "GET /ops/bulk/{id}": "reader",
    "POST /ops/bulk": "writer",
    "POST /ops/bulk/{id}/pause": "writer",
    "POST /ops/bulk/{id}/resume": "writer",
    "POST /ops/bulk/{id}/abort": "writer",
    "POST /ops/failures/messages/{id}/show": "writer",
    "POST /ops/failures/messages/{id}/replay": "writer",
    "POST /ops/failures/messages/{id}/edit": "writer",
    "POST /ops/failures/messages/{id}/discard": "writer",
    "POST /ops/failures/replay": "writer",
    "POST /ops/replays/{id}/abort": "writer",
    "POST /ops/invitations/{id}/reveal": "writer",
    "POST /ops/invitations/{id}/resend": "writer",
    "POST /ops/invitations/{id}/revoke": "writer",
    "POST /ops/invitations/{id}/extend": "writer",
    "POST /ops/invitations/{id}/correct": "writer",
}


def test_the_table_of_pages_is_complete() -> None:
    nothing = cast("Any", None)
    frame = Frame(nothing)
    pages = (
        frame,
        Live(nothing, nothing),
        Listing(frame, nothing, Export(nothing, nothing, now=nothing), nothing, now=nothing),
        Overview(frame, nothing, nothing, now=nothing),
        Administration(frame, nothing, nothing),
        Surroundings(frame, nothing),
        BulkPages(frame, nothing),
        Failures(frame, nothing, nothing, nothing, nothing, now=nothing),
        Showing(frame, nothing, nothing, nothing, invitation_url="", now=nothing),
    )
    served = {f"{route.method} {route.path}": route.auth for page in pages for route in page.routes()}
    assert served == {page: role and f"console_{role}" for page, role in PAGES.items()}


async def test_every_page_lets_in_its_own_roles_and_nobody_else(stack: Stack) -> None:
    """With ids of nobody, so that whoever is let in learns that there is nothing."""
    operators = {role: await operator(stack, role) for role in ROLES}
    for page, least in PAGES.items():
        if least is None or page == "POST /ops/sign-out":
            continue
        method, _, path = page.partition(" ")
        path = path.replace("{id}", str(uuid4()))
        stranger = Operator(stack)
        answer = await (stranger.get(path) if method == "GET" else stranger.post(path))
        assert is_on_the_way_to_signing_in(answer), page
        # The token of the API opens no page: a page is for whoever is there.
        by_token = await stack.invitation.call(method, path, token=stack.ops_token)
        assert is_on_the_way_to_signing_in(by_token), page
        for role, one in operators.items():
            if page == "GET /ops/live":
                answer = await one.get(path, **{"Last-Event-ID": "none"})
            else:
                answer = await (one.get(path) if method == "GET" else one.post(path))
            allowed = ROLES.index(role) >= ROLES.index(least)
            assert (answer.status == 403) == (not allowed), f"{page} by {role}: {answer.status}"
            assert not is_on_the_way_to_signing_in(answer), f"{page} by {role}"
            if method == "POST" and allowed:
                forged = await one.post(path, form_token="forged")
                assert (forged.status, "foreign_form" in forged.text) == (403, True), page
