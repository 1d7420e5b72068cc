"""The whole product, running: both services and the inbox as child processes on the run's broker and database.

    async def test_something(stack: Stack):
        cabinet = await stack.new_cabinet()
        dossier = await stack.new_dossier(cabinet)
        member = await stack.add_member(cabinet, dossier)
        mail = await stack.mail(member.email)
        answer = await stack.invitation.call("GET", mail.link)

The fixtures that start it are in `tests/stacks.py`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from pymongo import AsyncMongoClient, MongoClient
from yarl import URL

from convive_contracts import topology
from deploy.local import services
from deploy.local.addresses import free_port
from deploy.local.credentials import Credentials
from deploy.local.services import Service, Surroundings
from tests.nursery import ForkedService
from tests.speaking import (
    FIRST_NAME,
    FOREIGN_SOURCE,
    LAST_NAME,
    PASSWORD,
    Answer,
    Api,
    Cabinet,
    Dossier,
    Heard,
    Mail,
    Member,
    Sms,
    Wire,
    cloud_event,
    code_of,
    new_address,
    until,
    user_data,
)


class Stack:
    """Both services and the inbox, with everything a test says to them."""

    def __init__(
        self,
        folder: Path,
        *,
        amqp_url: str,
        mongo_url: str,
        settings: Mapping[str, str] | None = None,
        invitation_settings: Mapping[str, str] | None = None,
        directory_settings: Mapping[str, str] | None = None,
    ) -> None:
        """`settings` are environment variables for both services, the other two for one of them."""
        self.folder = folder
        self.amqp_url, self.mongo_url = amqp_url, mongo_url
        ports: list[int] = []
        for _ in range(5):
            ports.append(free_port(ports))
        tokens = Credentials.new()
        directory, invitation, inbox, smtp, bounce = ports
        self.around = Surroundings(amqp_url, mongo_url, directory, invitation, inbox, smtp, tokens, bounce)
        self.admin_token, self.ops_token = tokens.admin_token, tokens.ops_token
        self.service_token, self.link_key = tokens.service_token, tokens.link_key
        name = uuid4().hex[:12]
        self.directory_database = f"convive_test_{name}_directory"
        self.invitation_database = f"convive_test_{name}_invitation"
        self._environment = self.around.environment() | {
            "CONVIVE_DIRECTORY_DATABASE": self.directory_database,
            "CONVIVE_INVITATION_DATABASE": self.invitation_database,
            # So that each call can come from an address of its own, and no test uses up the limits of another.
            "CONVIVE_TRUSTED_PROXIES": "127.0.0.0/8",
            # Retries come while a test waits for them.
            "CONVIVE_FIRST_BACKOFF": "PT0.5S",
            "CONVIVE_DELIVERY_LEASE": "PT15S",
            **(settings or {}),
        }
        self._own = {"directory": dict(directory_settings or {}), "invitation": dict(invitation_settings or {})}
        self._log_seen: dict[Path, int] = {}
        self.private: set[str] = {getattr(tokens, kind.name) for kind in fields(tokens)}
        """What no log line may contain: secrets, names, addresses. The calls below add what they learn."""
        self.directory = Api(self.around.directory_url)
        self.invitation = Api(self.around.invitation_url)
        self.inbox = Api(self.around.inbox_url)
        self.inbox_service = services.inbox(self.around, folder / "inbox.log", ForkedService)
        self.directory_service = self.new_service("directory", self.around.directory_port)
        self.invitation_service = self.new_service("invitation", self.around.invitation_port)
        self._extra: list[Service] = []

    # --- processes ------------------------------------------------------------------------------------------------

    def environment(self, name: str) -> dict[str, str]:
        """The environment of `directory` or `invitation`."""
        return self._environment | self._own[name]

    def new_service(self, name: str, port: int, *, role: str | None = None, **settings: str) -> Service:
        """A process of `directory` or `invitation`, not started yet."""
        env = self.environment(name) | {f"CONVIVE_{name.upper()}_PORT": str(port)} | settings
        arguments = [name, *(["--role", role] if role else [])]
        log = self.folder / f"{name}-{port}.log"
        return ForkedService(f"The {name} service", arguments, url=f"http://127.0.0.1:{port}", env=env, log=log)

    def set(self, name: str, **settings: str) -> None:
        """Give `directory` or `invitation` further settings, from its next start on. Only while it is not running."""
        self._own[name] |= settings
        if name == "directory":
            self.directory_service = self.new_service(name, self.around.directory_port)
        else:
            self.invitation_service = self.new_service(name, self.around.invitation_port)

    @asynccontextmanager
    async def another(self, name: str, *, role: str | None = None, **settings: str) -> AsyncGenerator[Api]:
        """One more process of `directory` or `invitation` beside the first, for as long as this is open."""
        service = self.new_service(name, free_port(), role=role, **settings)
        self._extra.append(service)
        try:
            await service.start()
            yield Api(service.url)
            await service.stop()
        finally:
            service.process.kill()
            self._extra.remove(service)

    @property
    def services(self) -> Sequence[Service]:
        return (self.inbox_service, self.directory_service, self.invitation_service, *self._extra)

    async def start(self) -> Stack:
        """Start all three at the same time; returns when they are ready."""
        try:
            await asyncio.gather(*(service.start() for service in self.services))
        except BaseException:
            self.kill()
            raise
        return self

    async def stop(self) -> None:
        await asyncio.gather(*(service.stop() for service in reversed(self.services)))

    def kill(self) -> None:
        for service in self.services:
            service.process.kill()

    # --- directory ------------------------------------------------------------------------------------------------

    async def new_cabinet(self, name: str | None = None, phone: str | None = None) -> Cabinet:
        name = name or f"Cabinet {uuid4().hex[:8]}"
        made = (
            await self.directory.call(
                "POST", "/v1/cabinets", json={"name": name, "phone": phone}, token=self.admin_token
            )
        ).ok(201)
        self.private |= {made["api_key"], name}
        return Cabinet(made["id"], name, made["api_key"])

    async def new_ops_token(self, role: str, name: str = "") -> dict[str, Any]:
        """A token of this role, as it was answered."""
        wanted = {"name": name or f"{role}.{uuid4().hex[:8]}", "role": role}
        made = (await self.invitation.call("POST", "/v1/tokens", json=wanted, token=self.ops_token)).ok(201)
        self.private.add(made["token"])
        return made

    async def new_dossier(self, cabinet: Cabinet, name: str | None = None) -> Dossier:
        name = name or f"Boulangerie {uuid4().hex[:8]}"
        made = (await self.directory.call("POST", "/v1/dossiers", json={"name": name}, token=cabinet.key)).ok(201)
        self.private.add(name)
        return Dossier(made["id"], made["name"])

    async def add_member(
        self,
        cabinet: Cabinet,
        dossier: Dossier,
        email: str | None = None,
        *,
        request_id: str | None = None,
        **body: Any,
    ) -> Member:
        """Add a member through the API; invited by e-mail unless `invite_by` says otherwise."""
        person = {"first_name": FIRST_NAME, "last_name": LAST_NAME, "email": email or new_address(), **body}
        headers = {"X-Request-ID": request_id} if request_id else None
        answer = await self.directory.call(
            "POST", f"/v1/dossiers/{dossier.id}/members", json=person, token=cabinet.key, headers=headers
        )
        self._keep_private(person)
        return Member(answer.ok(201)["id"], person["email"])

    async def new_member(self, **body: Any) -> Member:
        """A member of a new dossier of a new cabinet."""
        cabinet = await self.new_cabinet()
        return await self.add_member(cabinet, await self.new_dossier(cabinet), **body)

    async def sign_in(self, email: str, password: str) -> Answer:
        self.private.add(password)
        answer = await self.directory.call("POST", "/v1/sessions", json={"email": email, "password": password})
        if answer.status == 201:
            self.private.add(answer.json()["token"])
        return answer

    async def session(self, *, password: str = PASSWORD, code: str | None = None, email: str = "") -> str:
        """A session token, from a handoff code or from e-mail and password."""
        if code is None:
            return (await self.sign_in(email, password)).ok(201)["token"]
        token = (await self.directory.call("POST", "/v1/sessions", json={"code": code})).ok(201)["token"]
        self.private |= {code, token}
        return token

    async def me(self, session: str) -> Any:
        return (await self.directory.call("GET", "/v1/me", token=session)).ok()

    # --- invitation -----------------------------------------------------------------------------------------------

    async def redeem(self, link: str, password: str = PASSWORD, step: str = "password") -> Answer:
        """Choose (or, with `step="accept"`, give) the password of a link, as a JSON client does."""
        self.private.add(password)
        answer = await self.invitation.call("POST", f"{link}/{step}", json={"password": password})
        if answer.status == 200:
            self.private.add(code_of(answer.json()["next"]))
        return answer

    async def come_in(self, member: Member, password: str = PASSWORD) -> str:
        """The whole way in for somebody without an account: mail, password, sign-in. Returns the session token."""
        mail = await self.mail(member.email)
        answer = (await self.redeem(mail.link, password)).ok()
        return await self.session(code=code_of(answer["next"]))

    async def detail(self, invitation: Member | str) -> Any:
        """The invitation with its history as operators see it, or None while there is none."""
        id = invitation if isinstance(invitation, str) else invitation.invitation_id
        answer = await self.invitation.call("GET", f"/v1/invitations/{id}", token=self.ops_token)
        return None if answer.status == 404 else answer.ok()

    async def until_state(self, invitation: Member | str, *states: str, within: float = 15.0) -> Any:
        """The invitation once it is in one of these states."""

        async def there() -> Any:
            seen = await self.detail(invitation)
            return seen if seen and seen["state"] in states else None

        try:
            return await until(there, within=within, what=f"{invitation} is {' or '.join(states)}")
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure}; it is {await self.detail(invitation)}")

    async def operate(self, invitation: Member | str, action: str, token: str | None = None, **body: Any) -> Answer:
        """`resend`, `revoke` or `extend`."""
        id = invitation if isinstance(invitation, str) else invitation.invitation_id
        path = f"/v1/invitations/{id}/{action}"
        return await self.invitation.call("POST", path, json=body, token=token or self.ops_token)

    async def parked(self) -> list[Any]:
        """Every parked message, newest first."""
        found: list[Any] = []
        cursor = ""
        while True:
            path = f"/v1/parked?limit=200{cursor}"
            page = (await self.invitation.call("GET", path, token=self.ops_token)).ok()
            found += page["items"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def parked_message(self, id: str) -> Any:
        """One of them with its body."""
        return (await self.invitation.call("GET", f"/v1/parked/{id}", token=self.ops_token)).ok()

    # --- mail -----------------------------------------------------------------------------------------------------

    async def mails(self, to: str) -> list[Mail]:
        """The mails to an address, newest first."""
        answer = await self.inbox.call("GET", str(URL("/api/messages").with_query(to=to)))
        return [await self._mail(message) for message in answer.ok() if message["channel"] == "email"]

    async def _mail(self, message: Any) -> Mail:
        source = await self.inbox.call("GET", f"/messages/{message['id']}/source")
        links = [link for link in message["links"] if "/i/" in link]
        mail = Mail(
            id=message["id"],
            to=message["to"],
            subject=message["subject"],
            text=message["text"],
            html=message["html"],
            link=links[0] if links else "",
            source=source.body.decode(errors="replace"),
        )
        self.private.add(mail.token)
        return mail

    async def mail(self, to: str, *, count: int = 1, within: float = 15.0) -> Mail:
        """The newest mail to an address, once there are at least `count`."""

        async def enough() -> list[Mail]:
            found = await self.mails(to)
            return found if len(found) >= count else []

        return (await until(enough, within=within, what=f"{count} mail(s) to {to}"))[0]

    async def texts(self, to: str) -> list[Sms]:
        """The text messages to a number (E.164), newest first."""
        answer = await self.inbox.call("GET", str(URL("/api/messages").with_query(to=to)))
        found: list[Sms] = []
        for message in answer.ok():
            if message["channel"] == "sms":
                [link] = message["links"]
                self.private.add(link.rpartition("/")[2])
                found.append(Sms(message["to"], message["from"], message["text"], link, message["segments"]))
        return found

    async def text(self, to: str, *, count: int = 1, within: float = 15.0) -> Sms:
        """The newest text message to a number (E.164), once there are at least `count`."""

        async def enough() -> list[Sms]:
            found = await self.texts(to)
            return found if len(found) >= count else []

        return (await until(enough, within=within, what=f"{count} text message(s)"))[0]

    async def misbehave(self, mode: str, *, channel: str = "email", match: str = "", rate: float = 1.0) -> None:
        """Make a provider misbehave towards addresses or numbers that contain `match` (`accept` ends it)."""
        body: dict[str, Any] = {channel: {"mode": mode, "match": match, "rate": rate}}
        (await self.inbox.call("PUT", "/api/behaviour", json=body)).ok()

    # --- bus ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def wire(self) -> AsyncGenerator[Wire]:
        """A connection to the bus to publish on."""
        async with await aio_pika.connect(self.amqp_url, timeout=10) as connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            yield Wire(channel, await channel.get_exchange(topology.EXCHANGE, ensure=False))

    async def publish(
        self, short: str, subject: str, data: Any, *, copies: int = 1, key: str | None = None, **attributes: Any
    ) -> dict[str, Any]:
        """Publish an event in structured mode, `copies` times at once; returns it once the broker has confirmed."""
        event = cloud_event(short, subject, data, **attributes)
        self._keep_private(data.get("member", {}) if isinstance(data, dict) else {})
        async with self.wire() as wire:
            await asyncio.gather(*(wire.send(event, key or short) for _ in range(copies)))
        return event

    async def invite(self, email: str | None = None, **options: Any) -> tuple[Member, dict[str, Any]]:
        """Have a foreign publisher invite somebody; returns the member and the event's data."""
        attributes = {name: options.pop(name) for name in ("sequence", "copies", "correlation_id") if name in options}
        member = Member(str(uuid4()), email or new_address(), FOREIGN_SOURCE)
        data = user_data(member.id, member.email, **options)
        await self.publish("user.created", member.id, data, **attributes)
        return member, data

    @asynccontextmanager
    async def listening(self, *keys: str) -> AsyncGenerator[Heard]:
        """Hear every event whose routing key matches one of `keys` (all families by default)."""
        heard = Heard()

        async def hear(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            heard.events.append(json.loads(message.body))

        async with await aio_pika.connect(self.amqp_url, timeout=10) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True, auto_delete=True)
            for key in keys or ("user.#", "account.#", "dossier.#", "cabinet.#", "invitation.#"):
                await queue.bind(topology.EXCHANGE, key)
            await queue.consume(hear, no_ack=True)
            yield heard

    # --- database -------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def documents(self, service: str = "invitation") -> AsyncGenerator[Any]:
        """The database of a service."""
        name = self.invitation_database if service == "invitation" else self.directory_database
        async with AsyncMongoClient[dict[str, Any]](self.mongo_url, tz_aware=True, timeoutMS=20_000) as client:
            yield client[name]

    def drop_databases(self) -> None:
        with MongoClient[dict[str, Any]](self.mongo_url, timeoutMS=20_000) as client:
            for name in (self.directory_database, self.invitation_database):
                client.drop_database(name)

    # --- logs -----------------------------------------------------------------------------------------------------

    @property
    def logs(self) -> list[Path]:
        return sorted(self.folder.glob("*.log"))

    def mark_logs(self) -> None:
        """What is in the logs by now is of no more interest."""
        self._log_seen = {log: log.stat().st_size for log in self.logs}

    def new_log_text(self, log: Path) -> str:
        with log.open("rb") as file:
            file.seek(self._log_seen.get(log, 0))
            return file.read().decode(errors="replace")

    def log_lines(self, service: str) -> list[dict[str, Any]]:
        """The log lines of `directory` or `invitation` since the test began."""
        lines: list[dict[str, Any]] = []
        for log in self.logs:
            if log.name.startswith(service):
                text = self.new_log_text(log)
                lines += [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
        return lines

    def leaks(self, *, of_the_whole_run: bool = False) -> list[str]:
        """The log lines since the test began, of both services, that tell what they must not."""
        found: list[str] = []
        for log in (log for log in self.logs if not log.name.startswith("inbox")):
            text = log.read_text(errors="replace") if of_the_whole_run else self.new_log_text(log)
            for secret in self.private:
                if len(secret) >= 4 and secret in text:
                    line = next(line for line in text.splitlines() if secret in line)
                    found.append(f"{log.name} tells {secret!r}: {line[:2000]}")
        return found

    def _keep_private(self, person: Mapping[str, Any]) -> None:
        # Pieces of names may be everyday words: only the distinctive ones are looked for.
        told = (person.get(name) for name in ("email", "first_name", "last_name", "phone"))
        self.private |= {value for value in told if isinstance(value, str) and len(value) >= 4}
