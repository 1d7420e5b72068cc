"""What each role may do, and whether somebody may do something: asked by other services before they let anybody."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Self

from aiohttp import web
from pydantic import BaseModel, Field, model_validator

from convive_contracts import DIRECTORY_SOURCE
from convive_contracts.events import Id
from convive_kit.http import Body, json_body, not_found
from convive_kit.routes import Route
from directory.api.callers import CALLER
from directory.entrance import Entrance, login_key
from directory.model.account import Account
from directory.model.roles import CAPABILITIES, ROLES, Capability, capabilities
from directory.store.protocol import Store


class RoleOut(BaseModel):
    name: str
    labels: Annotated[dict[str, str], Field(description="By language.")]
    capabilities: dict[str, bool]
    retired: Annotated[bool, Field(description="Kept by those who have it, given to nobody new.")]


class RolesOut(BaseModel):
    items: list[RoleOut]
    switched_on_by_member: Annotated[list[str], Field(description="Capabilities that are in no role.")]


class CapabilityCheck(Body):
    """Who asks, named in exactly one way, for what, where."""

    session: Annotated[str | None, Field(max_length=512, description="The token of a session.")] = None
    account_id: Id | None = None
    email: Annotated[str | None, Field(max_length=320)] = None
    dossier_id: Id
    capability: Capability

    @model_validator(mode="after")
    def _one_person(self) -> Self:
        if [self.session, self.account_id, self.email].count(None) != 2:
            raise ValueError("Name the person in one way: session, account_id or email.")
        return self


class Verdict(BaseModel):
    allowed: bool
    role: Annotated[str | None, Field(description="Their role in that dossier; null: they have no place in it.")]


class Capabilities:
    def __init__(
        self,
        store: Store,
        entrance: Entrance,
        *,
        retired: Collection[str],
        labels: Mapping[str, Mapping[str, str]],
    ) -> None:
        """`labels`: of each role by language."""
        self._store = store
        self._entrance = entrance
        self._roles = RolesOut(
            items=[
                RoleOut(
                    name=role,
                    labels=dict(labels[role]),
                    capabilities=capabilities(role, own_expense_reports=False),
                    retired=role in retired,
                )
                for role in ROLES
            ],
            switched_on_by_member=[name for name in CAPABILITIES if not any(name in has for has in ROLES.values())],
        )

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/v1/roles", self.roles, "The roles, and what each may do", response=RolesOut),
            Route("POST", "/v1/capability-checks", self.check, "May this person do this in this dossier",
                  CapabilityCheck, response=Verdict, auth="asker", problems=(403, 404)),
        ]  # fmt: skip

    async def roles(self, _: web.Request) -> BaseModel:
        return self._roles

    async def check(self, request: web.Request) -> BaseModel:
        """A session that has ended, an unknown person and one without a place there are all answered alike: no. So is
        whoever was removed, or whose dossier is archived."""
        body = await json_body(request, CapabilityCheck)
        caller = request.get(CALLER)
        cabinet_id = caller.cabinet.id if caller and caller.cabinet else None
        place = await self._place(await self._account(body), body.dossier_id, cabinet_id)
        if place is None:
            return Verdict(allowed=False, role=None)
        role, own_expense_reports = place
        granted = capabilities(role, own_expense_reports=own_expense_reports)
        return Verdict(allowed=granted[body.capability], role=role)

    async def _account(self, body: CapabilityCheck) -> Account | None:
        if body.session is not None:
            return await self._entrance.who(body.session)
        if body.account_id is not None:
            return await self._store.account_with_id(body.account_id)
        return await self._store.account(login_key(body.email or ""))

    async def _place(self, account: Account | None, dossier_id: str, cabinet_id: str | None) -> tuple[str, bool] | None:
        """Their role there with its option. `cabinet_id`: whose dossiers the caller may ask about; None for any."""
        dossier = await self._store.dossier(dossier_id)
        if dossier is None:
            # Perhaps another publisher's. Where the dossier is ours, its members alone have a place in it.
            return self._granted(account, dossier_id, cabinet_id)
        if cabinet_id not in (None, dossier.cabinet_id):
            raise not_found("dossier")
        member = await self._store.member_with_email(dossier.id, account.id) if account else None
        if account is None or member is None or dossier.archived_at or not account.holds(member):
            return None
        return member.role, member.own_expense_reports

    def _granted(self, account: Account | None, dossier_id: str, cabinet_id: str | None) -> tuple[str, bool] | None:
        for grant in account.redemptions.values() if account else ():
            theirs = grant.source != DIRECTORY_SOURCE and grant.dossier_id == dossier_id
            if theirs and cabinet_id in (None, grant.cabinet_id):
                return grant.role, grant.own_expense_reports
        if cabinet_id is not None:
            raise not_found("dossier")
        return None
