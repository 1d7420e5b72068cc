"""`/ops/audit`: who did what, when and why. `/ops/tokens`: who may operate, and how far."""

from __future__ import annotations

from urllib.parse import urlencode

from aiohttp import web

from convive_kit.http import ListQuery, Problem, form_body, from_pairs
from convive_kit.routes import Route
from invitation.console.forms import Form
from invitation.console.frame import Frame, said, see_other
from invitation.ops.auditing import Auditing, AuditQuery
from invitation.ops.tokens_api import CreatedToken, Name, NewToken, TokensApi
from invitation.store.tokens import ROLES, Role

AUDIT, TOKENS = "/ops/audit", "/ops/tokens"
_FILTERS = ("actor", "action", "target")


class _NewToken(Form):
    name: Name
    role: Role


class Administration:
    """See the module."""

    def __init__(self, frame: Frame, auditing: Auditing, tokens: TokensApi) -> None:
        self._frame = frame
        self._auditing = auditing
        self._tokens = tokens

    def routes(self) -> list[Route]:
        """The audit, and the tokens."""
        rows = (
            ("GET", AUDIT, self._audit, "reader"),
            ("GET", TOKENS, self._list, "admin"),
            ("POST", TOKENS, self._create, "admin"),
            ("POST", f"{TOKENS}/{{id}}/revoke", self._revoke, "admin"),
        )
        return [
            Route(method, path, handler, query=None, auth=f"console_{role}", documented=False)
            for method, path, handler, role in rows
        ]

    async def _audit(self, request: web.Request) -> web.StreamResponse:
        asked = [pair for pair in request.query.items() if pair[1].strip()]
        page = await self._auditing.page(from_pairs(asked, AuditQuery))
        kept = [pair for pair in asked if pair[0] != "cursor"]
        more = urlencode([*kept, ("cursor", page.next_cursor)]) if page.next_cursor else ""
        return self._frame.page(
            request,
            "audit.html",
            items=page.items,
            filters=[(name, request.query.get(name, "")) for name in _FILTERS],
            goes_on=f"{AUDIT}?{more}" if more else None,
        )

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return await self._page(request)

    async def _page(
        self, request: web.Request, *, made: CreatedToken | None = None, problem: Problem | None = None
    ) -> web.Response:
        asked = [] if request.method == "POST" else [pair for pair in request.query.items() if pair[0] != "done"]
        page = await self._tokens.page(from_pairs(asked, ListQuery))
        more = urlencode({"cursor": page.next_cursor}) if page.next_cursor else ""
        return self._frame.page(
            request,
            "tokens.html",
            status=problem.status if problem else 200,
            items=page.items,
            made=made,
            roles=ROLES,
            done=request.query.get("done", ""),
            problem=problem,
            said=said(problem) if problem else "",
            goes_on=f"{TOKENS}?{more}" if more else None,
        )

    async def _create(self, request: web.Request) -> web.StreamResponse:
        try:
            form = await form_body(request, _NewToken)
        except Problem as problem:
            return await self._page(request, problem=problem)
        made = await self._tokens.create(request, NewToken(name=form.name, role=form.role))
        return await self._page(request, made=made)

    async def _revoke(self, request: web.Request) -> web.StreamResponse:
        await self._tokens.revoke(request)
        return see_other(f"{TOKENS}?done=token_revoked")
