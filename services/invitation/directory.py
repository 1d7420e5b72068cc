"""What this service asks of the directory, which alone decides a redemption."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, cast

import aiohttp
import structlog

from convive_contracts.events import UserCreated
from convive_kit import tracing
from convive_kit.errors import Retry
from convive_kit.http import Problem
from invitation.lifecycle.invitation import Invitation, Invitee

_TIME_LIMIT = 8.0
_AT_ONCE = 100
"""Accounts asked about in one call."""


class DirectoryAway(Retry):
    """The directory does not answer."""

    slug: ClassVar[str] = "directory_away"


class OtherPassword(Exception):
    """The account has another password."""

    def __init__(self, *, link_is_used: bool) -> None:
        """`link_is_used`: somebody set that password with this very link."""
        super().__init__()
        self.link_is_used = link_is_used


class MemberGone(Exception):
    """The person is no longer a member of the dossier."""


@dataclass(frozen=True, slots=True)
class Account:
    """What may be known of an e-mail address before its owner is here."""

    exists: bool
    verified: bool

    def keeps_its_password(self, channel: str) -> bool:
        """Whether a link through that channel asks for the account's password instead of setting a new one. An address
        that nobody has proved to own is proved by the first link mailed to it; a link by SMS proves nothing."""
        return self.exists and (self.verified or channel == "sms")


@dataclass(frozen=True, slots=True)
class Redeemed:
    """The directory used the link up. `handoff_code` signs the person in, once, within a minute."""

    credential: str
    handoff_code: str


class Directory:
    """Calls to the directory, each with a time limit; an outage is `DirectoryAway`."""

    def __init__(self, url: str, service_token: str) -> None:
        self._url = url
        self._service = {"Authorization": f"Bearer {service_token}"}
        self._session: aiohttp.ClientSession | None = None
        self._asked: dict[str, asyncio.Future[Account]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()

    async def account(self, email: str) -> Account:
        """Whether there is an account for an e-mail address. Those asked about in the same moment travel together."""
        answer = self._asked.get(email)
        if answer is None:
            if not self._asked:
                task = asyncio.create_task(self._ask(), name="accounts")
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            answer = self._asked[email] = asyncio.get_running_loop().create_future()
        return await asyncio.shield(answer)

    async def _ask(self) -> None:
        await asyncio.sleep(0)  # whoever is about to ask comes along
        asked, self._asked = self._asked, {}
        try:
            emails = list(asked)
            pieces = (emails[start : start + _AT_ONCE] for start in range(0, len(emails), _AT_ONCE))
            found = [one for piece in await asyncio.gather(*map(self._accounts, pieces)) for one in piece]
            for answer, account in zip(asked.values(), found, strict=True):
                answer.set_result(account)
        except Exception as error:
            for answer in asked.values():
                if not answer.done():
                    answer.set_exception(error)
                    answer.exception()  # a caller may have been cancelled: nobody else need hear of it

    async def _accounts(self, emails: Sequence[str]) -> list[Account]:
        path, unknown = "/internal/v1/accounts", (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
        if len(emails) > 1:
            body = {"emails": list(emails)}
            status, answer = await self._call("POST", path, self._service, body=body, expected=unknown)
            if status == HTTPStatus.OK:
                return [Account(one["exists"], one["verified"]) for one in answer["accounts"]]
        # One alone, or a directory of a version before: it answers about one at a time.
        calls = [self._call("GET", path, self._service, query=[("email", email)]) for email in emails]
        return [Account(one["exists"], one["verified"]) for _, one in await asyncio.gather(*calls)]

    async def email_of_session(self, token: str) -> str | None:
        """The e-mail address of whoever is signed in with that session, or None."""
        headers = {"Authorization": f"Bearer {token}"}
        # An API key is nobody's session: the directory knows it and forbids the call.
        strangers = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
        status, answer = await self._call("GET", "/v1/me", headers, expected=strangers)
        return answer["email"] if status == HTTPStatus.OK else None

    async def cabinet_of_key(self, key: str) -> str | None:
        """The cabinet that an API key belongs to, or None."""
        _, answer = await self._call("POST", "/internal/v1/keys/introspect", self._service, body={"key": key})
        return answer["cabinet_id"] if answer["active"] else None

    async def parked(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] | None = None,
        body: dict[str, Any] | None = None,
    ) -> tuple[int, dict[str, Any]]:
        """A call about the directory's parked messages: the status (200, 404, 409 or 422) and the answer."""
        told = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY)
        url = f"/internal/v1/parked{path}"
        return await self._call(method, url, self._service, query=query, body=body, expected=told)

    async def redeem(self, invitation: Invitation, invitee: Invitee, password: str | None) -> Redeemed:
        """Use the link up; the same call again answers the same. Without a password this service vouches that the
        person is signed in. Raises `OtherPassword`, `MemberGone`, `DirectoryAway`, or a `Problem` to pass on."""
        body = {
            "invitation_id": invitation.id,
            "link_sequence": invitation.link_sequence,
            "source": invitation.source,
            "member": {
                "id": invitee.member_id,
                "first_name": invitee.first_name,
                "last_name": invitee.last_name,
                "employee_code": invitee.employee_code,
                "email": invitee.email,
                "phone": invitee.phone,
                "locale": invitee.locale,
                "time_zone": invitee.time_zone,
                "role": invitee.role,
                "own_expense_reports": invitee.own_expense_reports,
            },
            "dossier": {"id": invitee.dossier_id, "name": invitee.dossier_name},
            "cabinet": {"id": invitee.cabinet_id, "name": invitee.cabinet_name},
            "channel": "sms" if invitation.channel == "sms" else "email",
        }
        if password is not None:
            body["password"] = password
        told = (HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS)
        status, answer = await self._call("POST", "/internal/v1/redemptions", self._service, body=body, expected=told)
        match status:
            case HTTPStatus.CONFLICT:
                raise OtherPassword(link_is_used=answer.get("link") == "used")
            case HTTPStatus.GONE:
                raise MemberGone
            case HTTPStatus.TOO_MANY_REQUESTS:
                raise Problem(429, "too_many_requests", "Too many attempts; wait a little.", retry_after=answer["wait"])
            case HTTPStatus.UNPROCESSABLE_ENTITY:
                raise Problem(422, "invalid_fields", errors=answer.get("errors", ()))
            case _:
                return Redeemed(answer["credential"], answer["handoff_code"])

    async def correct(self, member_id: str, fields: Mapping[str, str]) -> tuple[int, UserCreated]:
        """Give a member another `email` or `phone`: the member's version, and what `user.updated` says of them. May be
        repeated. Raises `DirectoryAway`, or a `Problem` to pass on."""
        told = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY)
        path = f"/internal/v1/members/{member_id}/address"
        status, answer = await self._call("PATCH", path, self._service, body=dict(fields), expected=told)
        if status != HTTPStatus.OK:
            raise Problem(status, answer["slug"], answer.get("detail", ""), errors=answer.get("errors", ()))
        return answer["sequence"], UserCreated.model_validate(answer["user"])

    async def personal_data(self, email: str | None, member_ids: Sequence[str]) -> dict[str, Any]:
        """All that the directory keeps of an address and of these members."""
        body = {"email": email, "member_ids": list(member_ids)}
        _, answer = await self._call("POST", "/internal/v1/personal-data", self._service, body=body)
        del answer["wait"]
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        *,
        query: Sequence[tuple[str, str]] | None = None,
        body: dict[str, Any] | None = None,
        expected: tuple[int, ...] = (),
    ) -> tuple[int, dict[str, Any]]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIME_LIMIT))
        # So that what the directory does and tells on behalf of a request is found by that request's id.
        request_id: str | None = structlog.contextvars.get_contextvars().get("request_id")
        headers = {**headers, "X-Request-ID": request_id} if request_id else headers
        try:
            with tracing.span(f"{method} directory", "client") as span:
                headers = headers | tracing.carrier()
                async with self._session.request(
                    method, self._url + path, headers=headers, params=query, json=body, allow_redirects=False
                ) as response:
                    span.set("http.response.status_code", response.status)
                    wait = float(response.headers.get("Retry-After", 5))
                    if response.status != HTTPStatus.OK and response.status not in expected:
                        raise DirectoryAway(f"The directory answered {response.status}.", after=wait)
                    answer = cast("dict[str, Any]", await response.json(content_type=None))
                    answer["wait"] = wait
                    return response.status, answer
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise DirectoryAway from error
