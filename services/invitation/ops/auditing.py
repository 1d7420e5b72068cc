"""Every action leaves a record of who did it and why: begun before anything is done, ended with what came of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.cursors import key_in, page_of
from convive_kit.edge import REQUEST_ID
from convive_kit.errors import ConviveError, Retry
from convive_kit.http import ListOf, ListQuery, Moment, Problem, Timestamp, parse_query
from convive_kit.routes import Route
from invitation.lifecycle.invitation import Invitation
from invitation.ops.callers import CALLER
from invitation.store.audit import Audit, AuditRecord

Text = Annotated[str, Field(min_length=1, max_length=200)]


class AuditQuery(ListQuery):
    target: list[Text] = Field(default=[], max_length=100, description="What was acted on, e.g. invitation:<id>.")
    actor: list[Text] = Field(default=[], max_length=100)
    action: list[Text] = Field(default=[], max_length=100, description="Such as invitation.resend.")
    after: Moment | None = None
    before: Moment | None = None


class AuditView(BaseModel):
    id: str
    at: Timestamp
    actor: str
    action: str
    target: str
    reason: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    outcome: str = Field(description="begun (and cut off), done, refused or failed")
    error: str | None
    request_id: str | None


class Auditing:
    """Keeps the audit and shows it."""

    def __init__(self, audit: Audit, *, now: Callable[[], datetime]) -> None:
        self._audit = audit
        self._now = now

    @asynccontextmanager
    async def witness(
        self, request: web.Request, action: str, target: str, reason: str | None = None
    ) -> AsyncGenerator[AuditRecord]:
        """Around an action: its record, to be given `before` and `after`. Raises `DatabaseAway` before anything is
        done when the record cannot be written."""
        record = AuditRecord(
            at=self._now(),
            actor=request[CALLER].actor,
            action=action,
            target=target,
            reason=reason,
            request_id=request[REQUEST_ID],
        )
        await self._audit.begin(record)
        try:
            yield record
            record.outcome = "done"
        except Problem as refused:
            record.outcome, record.error = "refused", refused.slug
            raise
        except ConviveError as error:
            record.outcome, record.error = "failed", error.slug
            raise
        except BaseException as error:
            record.outcome, record.error = "failed", type(error).__name__
            raise
        finally:
            # It is done, whether or not that can be written down: then the record says that it was begun.
            with suppress(Retry):
                await self._audit.end(record)

    def routes(self) -> list[Route]:
        """The calls under `/v1/audit`."""
        return [
            Route("GET", "/v1/audit", self._list, "Who did what, newest first", query=AuditQuery,
                  response=ListOf[AuditView], auth="ops_reader"),
        ]  # fmt: skip

    async def page(self, query: AuditQuery) -> ListOf[AuditView]:
        """A page of records, newest first. Raises a `Problem` for a cursor that is none."""
        found = await self._audit.latest(
            limit=query.limit + 1,
            after=key_in(query.cursor),
            targets=query.target,
            actors=query.actor,
            actions=query.action,
            since=query.after,
            until=query.before,
        )
        return page_of(ListOf[AuditView], found, query.limit, view=_view, key=lambda record: (record.at, record.id))

    async def _list(self, request: web.Request) -> BaseModel:
        return await self.page(parse_query(request, AuditQuery))


def standing(invitation: Invitation) -> dict[str, Any]:
    """What the audit keeps of an invitation before and after: no name, no address."""
    return {
        "state": invitation.state.value,
        "version": invitation.version,
        "channel": invitation.channel,
        "link_sequence": invitation.link_sequence,
        "expires_at": invitation.expires_at,
        "reason": invitation.reason,
    }


def _view(record: AuditRecord) -> AuditView:
    return AuditView.model_validate({name: getattr(record, name) for name in AuditView.model_fields})
