"""`/internal/v1`: what the invitation service asks of the directory, with the token the two share."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from convive_contracts.events import Channel, Id
from convive_kit.addresses import Email, Phone, email_key
from convive_kit.http import Query, json_body, parse_query
from convive_kit.routes import Route
from directory.api.callers import Callers, path_id
from directory.entrance import Entrance, login_key
from directory.erasure import Erasure
from directory.membership import Membership
from directory.model.account import Account, Claim
from directory.store.protocol import Store


class _Lenient(BaseModel):
    """The other service may be a version ahead."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ClaimedMember(_Lenient):
    id: Id
    email: Email
    role: str = "standard_user"
    own_expense_reports: bool = False


class ClaimedName(_Lenient):
    id: Id
    name: str


class Redemption(_Lenient):
    invitation_id: Id
    link_sequence: int
    source: Annotated[str, Field(min_length=1, max_length=512)]
    member: ClaimedMember
    dossier: ClaimedName
    cabinet: ClaimedName
    channel: Channel
    password: Annotated[str, Field(max_length=4096)] | None = None

    def claim(self) -> Claim:
        return Claim(
            invitation_id=self.invitation_id,
            link_sequence=self.link_sequence,
            source=self.source,
            channel=self.channel,
            email=self.member.email,
            email_key=email_key(self.member.email),
            member_id=self.member.id,
            dossier_id=self.dossier.id,
            dossier_name=self.dossier.name,
            cabinet_id=self.cabinet.id,
            cabinet_name=self.cabinet.name,
            role=self.member.role,
            own_expense_reports=self.member.own_expense_reports,
        )


class Redeemed(BaseModel):
    credential: Literal["new", "existing"]
    handoff_code: str


class Key(_Lenient):
    key: Annotated[str, Field(max_length=512)]


class KeyOwner(BaseModel):
    active: bool
    cabinet_id: UUID | None = None


class AccountQuery(Query):
    email: Annotated[str, Field(max_length=320)]


class Addresses(_Lenient):
    emails: Annotated[list[Annotated[str, Field(max_length=320)]], Field(max_length=500)]


class AccountState(BaseModel):
    exists: bool
    verified: bool

    @staticmethod
    def of(account: Account | None) -> AccountState:
        return AccountState(exists=account is not None, verified=bool(account and account.verified))


class AccountStates(BaseModel):
    """In the order in which they were asked for."""

    accounts: list[AccountState]


class Address(_Lenient):
    email: Email | None = None
    phone: Phone | None = None


class CorrectedMember(BaseModel):
    """What `user.updated` says of the member, and the version of the member it holds for."""

    sequence: int
    user: dict[str, Any]


class Whose(_Lenient):
    email: Email | None = None
    member_ids: Annotated[list[Id], Field(max_length=1000)] = []


class KeptData(BaseModel):
    """What is kept of a person, as it is kept; of passwords and codes only that there are any."""

    account: dict[str, Any] | None
    sessions: list[dict[str, Any]]
    members: list[dict[str, Any]]
    parked_messages: list[dict[str, Any]]


class Internal:
    def __init__(
        self, store: Store, entrance: Entrance, membership: Membership, erasure: Erasure, callers: Callers
    ) -> None:
        self._store = store
        self._entrance = entrance
        self._membership = membership
        self._erasure = erasure
        self._callers = callers

    def routes(self) -> list[Route]:
        return [
            Route("POST", "/internal/v1/redemptions", self.redeem, "Use up a link", Redemption, response=Redeemed,
                  auth="service", problems=(409, 410, 429)),
            Route("POST", "/internal/v1/keys/introspect", self.introspect, "Whose API key is this", Key,
                  response=KeyOwner, auth="service"),
            Route("GET", "/internal/v1/accounts", self.account, "Is there an account", query=AccountQuery,
                  response=AccountState, auth="service"),
            Route("POST", "/internal/v1/accounts", self.accounts, "Are there accounts", Addresses,
                  response=AccountStates, auth="service"),
            Route("PATCH", "/internal/v1/members/{member_id}/address", self.correct, "Another e-mail or phone", Address,
                  response=CorrectedMember, auth="service", problems=(404, 409, 410)),
            Route("POST", "/internal/v1/personal-data", self.personal_data, "All that is kept of a person", Whose,
                  response=KeptData, auth="service"),
        ]  # fmt: skip

    async def redeem(self, request: web.Request) -> BaseModel:
        """The same call again answers the same, with a fresh code. Without a password, the caller vouches that the
        person is signed in with this e-mail address. 409: the account has another password. 410: no member any more."""
        body = await json_body(request, Redemption)
        redeemed = await self._entrance.redeem(body.claim(), body.password)
        return Redeemed(
            credential="new" if redeemed.credential == "new" else "existing", handoff_code=redeemed.handoff_code
        )

    async def introspect(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Key)
        cabinet = await self._callers.cabinet_of(body.key)
        return KeyOwner(active=cabinet is not None, cabinet_id=UUID(cabinet.id) if cabinet else None)

    async def account(self, request: web.Request) -> BaseModel:
        query = parse_query(request, AccountQuery)
        return AccountState.of(await self._store.account(login_key(query.email)))

    async def accounts(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Addresses)
        found = await asyncio.gather(*(self._store.account(login_key(email)) for email in body.emails))
        return AccountStates(accounts=[AccountState.of(account) for account in found])

    async def correct(self, request: web.Request) -> BaseModel:
        """As a PATCH of the member by their firm, on behalf of whoever operates. May be repeated."""
        member, dossier, cabinet = await self._callers.place(path_id(request, "member"))
        body = await json_body(request, Address)
        dossier.refuse_archived()
        fields = body.model_dump(exclude_unset=True)
        if body.email is None:
            fields.pop("email", None)
        else:
            fields["email_key"] = email_key(body.email)
        edited = await self._membership.edit(member, fields, dossier, cabinet)
        return CorrectedMember(
            sequence=edited.version, user=dict(edited.announced("user.updated", dossier, cabinet).data)
        )

    async def personal_data(self, request: web.Request) -> BaseModel:
        body = await json_body(request, Whose)
        return KeptData.model_validate(await self._erasure.kept_of(body.email, body.member_ids))
