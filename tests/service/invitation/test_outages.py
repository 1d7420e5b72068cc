"""Something is away: people are asked to try again, nothing is used up, and work goes on by itself afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from aiohttp import ClientError, ClientSession, web

from deploy.local.addresses import LOOPBACK, free_port
from deploy.local.broker import Broker
from deploy.local.database import Database
from tests.running import Stack
from tests.speaking import PASSWORD, Answer, Api, Member, code_of, new_address, until, user_data
from tests.stacks import OwnStack

SOON = {"CONVIVE_DELIVERY_LEASE": "PT3S"}
"""After an outage claims wait for as long as one attempt may take, a third of the lease."""


async def failing(api: Api) -> set[str]:
    """The parts that /readyz calls unusable; it answers 503 exactly when there are any."""
    answer = await api.call("GET", "/readyz")
    checks = answer.json()["checks"]
    failed = {name for name, check in checks.items() if not check["ok"]}
    assert answer.status == (503 if failed else 200)
    return failed


async def until_failing(stack: Stack, *parts: str) -> None:
    for api in (stack.directory, stack.invitation):

        async def noticed(api: Api = api) -> bool:
            return await failing(api) == set(parts)

        await until(noticed, within=40, what=f"{api.url} says that {parts or 'nothing'} fails")
        assert (await api.call("GET", "/livez")).status == 200


def asks_to_try_again(answer: Answer, link: str = "") -> None:
    assert answer.status == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    if link:
        assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f'href="/i/{link.rpartition("/")[2]}"' in answer.text
        assert PASSWORD not in answer.text


async def test_without_the_broker_people_come_in_and_events_wait(own_stack: OwnStack, own_broker: Broker) -> None:
    stack = await own_stack(broker=own_broker)
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    before = await stack.add_member(cabinet, dossier)
    mail = await stack.mail(before.email)
    await stack.until_state(before, "sent")
    await own_broker.stop()
    await until_failing(stack, "bus")
    # An accepted call is never lost, and a person with a link notices nothing.
    during = await stack.add_member(cabinet, dossier)
    answer = (await stack.redeem(mail.link)).ok()
    await stack.session(code=code_of(answer["next"]))
    assert (await stack.detail(before))["state"] == "password_set"
    await own_broker.start()
    await until_failing(stack)
    await as_if_half_a_minute_had_passed(stack)
    await stack.mail(during.email, within=40)
    await stack.until_state(before, "active", within=40)

    async def shown() -> bool:
        path = f"/v1/dossiers/{dossier.id}/members"
        members = (await stack.directory.call("GET", path, token=cabinet.key)).ok()["items"]
        return [member["invitation"]["state"] for member in members] == ["active", "sent"]

    await until(shown, within=40)


async def as_if_half_a_minute_had_passed(stack: Stack) -> None:
    """The sweeper leaves young events to whoever wrote them: make what waits older."""
    then = datetime.now(UTC) - timedelta(minutes=1)
    for service, collections in (("directory", ("members", "accounts")), ("invitation", ("invitations",))):
        async with stack.documents(service) as database:
            for name in collections:
                waiting = {"outbox.at": {"$exists": True}}
                await database[name].update_many(waiting, {"$set": {"outbox.$[].at": then}})


async def test_without_the_database_nothing_is_used_up_and_events_are_held(
    own_stack: OwnStack, own_database: Database
) -> None:
    stack = await own_stack(database=own_database, settings=SOON)
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    before = await stack.until_state(member, "sent")
    own_database.kill()
    await until_failing(stack, "database")
    late = Member(str(uuid4()), new_address(), "x")
    await stack.publish("user.created", late.id, user_data(late.id, late.email), source="x")
    *programs, page, form = await asyncio.gather(
        stack.invitation.call("GET", mail.link),
        stack.redeem(mail.link),
        stack.invitation.call("GET", f"/v1/invitations/{member.invitation_id}", token=stack.ops_token),
        stack.sign_in(member.email, PASSWORD),
        stack.directory.call("POST", "/v1/cabinets", json={"name": "Cabinet"}, token=stack.admin_token),
        stack.invitation.page(mail.link),
        stack.invitation.post_form(f"{mail.link}/password", {"password": PASSWORD}),
    )
    for answer in programs:
        asks_to_try_again(answer)
    for answer in (page, form):
        asks_to_try_again(answer, mail.link)
    # A forged link needs no database to be refused.
    assert (await stack.invitation.call("GET", f"{mail.link}x")).status == 404
    await own_database.start()
    await until_failing(stack)
    assert await stack.detail(member) == before
    assert (await stack.redeem(mail.link)).status == 200
    await stack.until_state(late, "sent", within=30)
    assert len(await stack.mails(late.email)) == 1


async def test_while_the_directory_is_away_links_wait_for_it(own_stack: OwnStack) -> None:
    stack = await own_stack()
    fresh, _ = await stack.invite()
    mail = await stack.mail(fresh.email)
    before = await stack.until_state(fresh, "sent")
    known = await stack.new_member()
    cabinet = await stack.new_cabinet()
    session = await stack.come_in(known)
    again, _ = await stack.invite(known.email)
    second = await stack.mail(known.email, count=2)
    before_again = await stack.until_state(again, "sent")

    async def everything_waits() -> None:
        link, other = mail.link, second.link
        cookies = {"convive_session": session}
        answers = await asyncio.gather(
            stack.invitation.call("GET", link),
            stack.redeem(link),
            stack.redeem(other, step="accept"),
            stack.invitation.call("POST", f"{other}/accept", json={}, token=session),
            stack.invitation.call("GET", "/v1/invitations", token=cabinet.key),
            stack.invitation.page(link),
            stack.invitation.page(f"{link}/password", follow=True),
            stack.invitation.post_form(f"{link}/password", {"password": PASSWORD}),
            stack.invitation.post_form(f"{other}/accept", {"proof": "input"}, cookies=cookies),
        )
        for answer in answers[:5]:
            asks_to_try_again(answer)
        for answer in answers[5:8]:
            asks_to_try_again(answer, link)
        asks_to_try_again(answers[8], other)
        assert await stack.detail(fresh) == before
        assert await stack.detail(again) == before_again
        # What needs no directory goes on.
        assert (await stack.invitation.call("GET", "/readyz")).status == 200
        (await stack.invitation.call("GET", "/v1/invitations", token=stack.ops_token)).ok()

    stack.directory_service.process.kill()
    await everything_waits()
    # Invited meanwhile, sent meanwhile: mail does not wait for the directory.
    meanwhile, _ = await stack.invite()
    opened = await stack.mail(meanwhile.email)
    (await stack.invitation.call("POST", f"{opened.link}/open", json={"proof": "input"})).ok()
    await stack.directory_service.start()

    stack.directory_service.process.pause()
    try:
        await everything_waits()
    finally:
        stack.directory_service.process.resume()
    for link, step in ((mail.link, "password"), (second.link, "accept"), (opened.link, "password")):

        async def works(link: str = link, step: str = step) -> bool:
            return (await stack.redeem(link, step=step)).status == 200

        await until(works)
    await stack.until_state(again, "active")


async def test_what_the_directory_did_while_we_were_away_is_learned_from_its_events(own_stack: OwnStack) -> None:
    stack = await own_stack()
    member, data = await stack.invite()
    other, other_data = await stack.invite()
    for one in (member, other):
        await stack.mail(one.email)
        await stack.until_state(one, "sent")
    stack.invitation_service.process.kill()
    for one, told in ((member, data), (other, other_data)):
        claim = {
            "invitation_id": one.invitation_id,
            "link_sequence": 1,
            "source": one.source,
            **{name: told[name] for name in ("member", "dossier", "cabinet")},
            "channel": "email",
            "password": PASSWORD,
        }
        path = "/internal/v1/redemptions"
        (await stack.directory.call("POST", path, json=claim, token=stack.service_token)).ok()
    await stack.session(email=member.email)
    await stack.invitation_service.start()
    await stack.until_state(member, "active")
    await stack.until_state(other, "password_set")
    # And the directory hears of it in turn, having been away itself.
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    added = await stack.add_member(cabinet, dossier)
    mail = await stack.mail(added.email)
    stack.directory_service.process.kill()
    (await stack.invitation.call("POST", f"{mail.link}/open", json={"proof": "input"})).ok()
    await stack.directory_service.start()

    async def shown() -> bool:
        path = f"/v1/dossiers/{dossier.id}/members/{added.id}"
        told = (await stack.directory.call("GET", path, token=cabinet.key)).ok()
        return told["invitation"]["state"] == "opened"

    await until(shown)


# --- in the worst moment ------------------------------------------------------------------------------------------


class Between:
    """A way to the directory that does something in the moment when a redemption's answer is on its way back."""

    def __init__(self, directory_url: str) -> None:
        self.directory_url = directory_url
        self.port = free_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.then: Callable[[], Awaitable[None]] | None = None

    async def pass_on(self, request: web.Request) -> web.Response:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name in ("Authorization", "Content-Type", "X-Request-ID")
        }
        async with ClientSession() as session:
            url = f"{self.directory_url}{request.path_qs}"
            async with session.request(request.method, url, data=await request.read(), headers=headers) as answer:
                body = await answer.read()
                if request.path.endswith("/redemptions") and self.then is not None:
                    then, self.then = self.then, None
                    await then()
                return web.Response(body=body, status=answer.status, content_type=answer.content_type)


@asynccontextmanager
async def between(stack: Stack) -> AsyncGenerator[Between]:
    """Put it between a stack's services; the stack is started by this."""
    way = Between(stack.directory.url)
    stack.set("invitation", CONVIVE_DIRECTORY_INTERNAL_URL=way.url)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", way.pass_on)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, way.port).start()
    try:
        await stack.start()
        yield way
    finally:
        await runner.cleanup()


async def test_killed_between_the_directorys_answer_and_our_write_the_same_password_succeeds(
    own_stack: OwnStack,
) -> None:
    stack = await own_stack(start=False)
    async with between(stack) as way:
        member, _ = await stack.invite()
        mail = await stack.mail(member.email)
        await stack.until_state(member, "sent")

        async def power_cut() -> None:
            stack.invitation_service.process.kill()

        way.then = power_cut
        try:
            lost: Any = await stack.redeem(mail.link)
        except ClientError as error:
            lost = error
        assert not isinstance(lost, Answer)
        await stack.invitation_service.start()
        assert (await stack.redeem(mail.link, "quatre lapins bleus au grenier")).status == 409
        again = (await stack.redeem(mail.link)).ok()
        await stack.session(code=code_of(again["next"]))
        detail = await stack.until_state(member, "active")
        assert [step["to"] for step in detail["history"]].count("password_set") == 1


async def test_the_database_dies_after_the_directorys_answer_and_the_person_is_let_in(
    own_stack: OwnStack, own_database: Database
) -> None:
    stack = await own_stack(start=False, invitation_settings={**SOON, "CONVIVE_MONGO_URL": own_database.url})
    async with between(stack) as way:
        member, _ = await stack.invite()
        mail = await stack.mail(member.email)
        await stack.until_state(member, "sent")

        async def power_cut() -> None:
            own_database.kill()

        way.then = power_cut
        answer = (await stack.redeem(mail.link)).ok()
        await stack.session(code=code_of(answer["next"]))
        await own_database.start()
        # Told by the directory's events, which waited.
        await stack.until_state(member, "active", within=30)
