"""A person's right to be forgotten (GDPR, article 17), and to know what is kept of them (article 15)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from aiohttp import web
from pydantic import BaseModel, Field

from convive_kit.addresses import Email, email_key
from convive_kit.cursors import key_in, page_of
from convive_kit.http import Body, ListOf, ListQuery, Timestamp, invalid, json_body, not_found, parse_query
from convive_kit.parked import ParkedMessages
from convive_kit.routes import Route
from convive_kit.runner import Runner
from convive_kit.runs import Status
from invitation.directory import Directory
from invitation.lifecycle.erasure import erase
from invitation.lifecycle.invitation import Cause
from invitation.ops.auditing import Auditing
from invitation.ops.callers import CALLER
from invitation.store.audit import Audit
from invitation.store.personal_data import Erasure, Erasures, People
from invitation.store.protocol import Store, decide_and_save

_MOST = 1000
"""Invitations of one person: more means that the address is no person's."""


class Person(Body):
    """Whom it is about: everything of an e-mail address, or one member's place."""

    email: Email | None = None
    member_id: UUID | None = None
    reason: Annotated[str, Field(min_length=1, max_length=500, description="Why. Do not name the person.")]

    def key(self) -> tuple[str | None, str | None]:
        """The e-mail's key or the member's id; raises a 422 unless it is one of the two."""
        if bool(self.email) == (self.member_id is not None):
            raise invalid("email", "Give either an email or a member_id.")
        return email_key(self.email) if self.email else None, str(self.member_id) if self.member_id else None


class NewErasure(Person):
    dry_run: bool = Field(default=False, description="Count, and erase nothing.")


class ErasureView(BaseModel):
    id: str
    status: Status
    dry_run: bool
    reason: str
    actor: str
    matched: int = Field(description="Invitations of the person when it was asked for.")
    done: int
    failed: int
    skipped: dict[str, int]
    parked: int = Field(description="Parked messages of this service that were emptied.")
    created_at: Timestamp
    finished_at: Timestamp | None


class PersonalData(BaseModel):
    """All that the two services keep of a person, as they keep it."""

    invitations: list[dict[str, Any]]
    parked_messages: list[dict[str, Any]]
    audit: list[dict[str, Any]]
    directory: dict[str, Any]


class ErasureApi:
    """Begins erasures and carries out what is kept; the workers erase."""

    def __init__(
        self,
        erasures: Erasures,
        people: People,
        parked: ParkedMessages,
        audit: Audit,
        directory: Directory,
        auditing: Auditing,
        *,
        now: Callable[[], datetime],
        begun: Callable[[], None],
    ) -> None:
        self._erasures = erasures
        self._people = people
        self._parked = parked
        self._audit = audit
        self._directory = directory
        self._auditing = auditing
        self._now = now
        self._begun = begun

    def routes(self) -> list[Route]:
        """The calls under `/v1/erasures`, and `/v1/personal-data`."""
        return [
            Route("POST", "/v1/erasures", self._begin, "Erase a person, in both services", body=NewErasure,
                  response=ErasureView, status=202, auth="ops_admin"),
            Route("GET", "/v1/erasures", self._list, "Erasures, newest first", query=ListQuery,
                  response=ListOf[ErasureView], auth="ops_admin"),
            Route("GET", "/v1/erasures/{id}", self._read, "How far an erasure has come", response=ErasureView,
                  auth="ops_admin", problems=(404,)),
            Route("POST", "/v1/personal-data", self._export, "All that is kept of a person", body=Person,
                  response=PersonalData, auth="ops_admin"),
        ]  # fmt: skip

    async def _begin(self, request: web.Request) -> BaseModel:
        """The invitations are named here, so that a crash leaves nothing to be looked for by a name."""
        wanted = await json_body(request, NewErasure)
        email, member_id = wanted.key()
        found = list(await self._people.invitations_of(email_key=email, member_id=member_id))
        if len(found) > _MOST:
            raise invalid("email", f"More than {_MOST} invitations went to this address: erase them by member_id.")
        erasure = Erasure(
            id=str(uuid4()),
            filter={},
            dry_run=wanted.dry_run,
            rate=None,
            reason=wanted.reason,
            actor=request[CALLER].actor,
            created_at=self._now(),
            matched=len(found),
            invitations=found,
            email=wanted.email,
            member_id=member_id,
        )
        async with self._auditing.witness(request, "person.erase", f"erasure:{erasure.id}", wanted.reason) as record:
            record.after = {"dry_run": wanted.dry_run, "matched": len(found)}
            await self._erasures.begin(erasure)
        self._begun()
        return _view(erasure)

    async def _list(self, request: web.Request) -> BaseModel:
        query = parse_query(request, ListQuery)
        found = await self._erasures.list(limit=query.limit + 1, after=key_in(query.cursor))
        return page_of(ListOf[ErasureView], found, query.limit, view=_view, key=lambda run: (run.created_at, run.id))

    async def _read(self, request: web.Request) -> BaseModel:
        erasure = await self._erasures.load(request.match_info["id"])
        if erasure is None:
            raise not_found("erasure")
        return _view(erasure)

    async def _export(self, request: web.Request) -> BaseModel:
        wanted = await json_body(request, Person)
        email, member_id = wanted.key()
        async with self._auditing.witness(request, "person.export", "person", wanted.reason) as record:
            ids = list(await self._people.invitations_of(email_key=email, member_id=member_id))
            record.after = {"invitations": ids}
            documents = await self._people.documents(ids)
            members = {str(document["member"]["id"]) for document in documents} | (
                {member_id} if member_id else set[str]()
            )
            # By address, unless it is about one place: other places are somebody else's matter then.
            words = [*members, *([wanted.email] if wanted.email else [])]
            parked = [{"id": message.id, **message.fields} async for message in self._parked.mentioning(*words)]
            return PersonalData(
                invitations=_plain(documents),
                parked_messages=_plain(parked),
                audit=_plain(await self._audit.of([f"invitation:{id}" for id in ids])),
                directory=await self._directory.personal_data(wanted.email, sorted(members)),
            )


class Eraser(Runner[Erasure]):
    """Carries out erasures, one at a time; all of it may be done twice."""

    kind = "erasure"

    def __init__(
        self,
        erasures: Erasures,
        store: Store,
        people: People,
        parked: ParkedMessages,
        audit: Audit,
        *,
        owner: str,
        now: Callable[[], datetime],
    ) -> None:
        super().__init__(erasures, owner=owner, now=now)
        self._store = store
        self._people = people
        self._parked = parked
        self._audit = audit

    async def work(self, run: Erasure) -> bool:
        if run.dry_run:
            run.email = None
            return True
        for id in run.invitations[run.position :]:
            await decide_and_save(self._store, id, lambda i: erase(i, Cause(self._now(), run.actor)))
            await self._people.drop_details(id)
            run.count(["done"])
            run.position += 1
            if not await self.record(run):
                return False
        members = {document["member"]["id"] for document in await self._people.documents(run.invitations)}
        words = {*members, *run.invitations, *(word for word in (run.email, run.member_id) if word)}
        async for message in self._parked.mentioning(*words):
            await self._parked.erased(message.id, run.actor, self._now())
            run.parked += 1
        await self._audit.drop_reasons([f"invitation:{id}" for id in run.invitations])
        run.email = None
        return True


def _view(erasure: Erasure) -> ErasureView:
    return ErasureView.model_validate({name: getattr(erasure, name) for name in ErasureView.model_fields})


def _plain(documents: Any) -> list[dict[str, Any]]:
    """As JSON can say it: bytes as text."""
    return [{name: _said(value) for name, value in document.items()} for document in documents]


def _said(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
