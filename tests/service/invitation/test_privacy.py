"""What is told to nobody: secrets and personal data in logs, events and lists. And what is told: who caused what."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any
from uuid import uuid4

import aio_pika
import bson

from convive_contracts import topology
from tests.running import Stack
from tests.speaking import FIRST_NAME, LAST_NAME, PASSWORD, code_of, new_address, until
from tests.stacks import OwnStack


async def test_no_secret_and_no_personal_data_in_any_log_line(stack: Stack) -> None:
    """A way in with everything that can go wrong on it; the logs of the whole run are read, this test's included."""
    cabinet = await stack.new_cabinet(f"Cabinet {secrets.token_hex(6)}", phone="+33140000017")
    dossier = await stack.new_dossier(cabinet)
    address = new_address("secret")
    stack.private |= {"+33140000017", "0140000017"}
    await stack.misbehave("refuse_temporarily", match=address)
    member = await stack.add_member(cabinet, dossier, address, phone="+33612345678")

    async def refused() -> bool:
        detail = await stack.detail(member)
        return bool(detail and detail["reason"])

    await until(refused)
    await stack.misbehave("accept")
    mail = await stack.mail(address, within=20)
    await stack.redeem(mail.link[:-1])
    await stack.redeem(mail.link, "trop court")
    await stack.invitation.post_form(f"{mail.link}/password", {"password": f"{FIRST_NAME}{LAST_NAME}"})
    await stack.invitation.call("POST", f"{mail.link}/password", data=b"{" + PASSWORD.encode())
    await stack.invitation.call("GET", f"{mail.link}/nowhere?email={address}")
    await stack.invitation.call("PUT", mail.link)
    session = await stack.come_in(member)
    await stack.redeem(mail.link, "quatre lapins bleus au grenier")
    await stack.directory.page(f"/sign-in?email={address}")
    await stack.directory.post_form("/sign-in", {"email": address, "password": "quatre lapins bleus au grenier"})
    await stack.directory.call("GET", f"/v1/nowhere/{address}?token={session}", token=session)
    await stack.directory.call("POST", "/v1/sessions", data=f'{{"email": "{address}"'.encode())
    await stack.invitation.call("GET", f"/v1/invitations?email={address}", token=cabinet.key)
    bad = {"member": {"id": str(uuid4()), "email": address, "first_name": f"{FIRST_NAME}\n"}}
    await stack.publish("user.created", bad["member"]["id"], bad)
    await asyncio.sleep(0.3)
    # Of the whole run, not only of this test.
    assert stack.leaks(of_the_whole_run=True) == []
    stack.private.add("http.request")
    try:
        assert stack.leaks(), "this check would not find anything"
    finally:
        stack.private.remove("http.request")


async def test_lists_events_and_databases_hold_no_link_and_no_secret(own_stack: OwnStack) -> None:
    stack = await own_stack()
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    mail = await stack.mail(member.email)
    answer = (await stack.redeem(mail.link)).ok()
    code = code_of(answer["next"])
    session = await stack.session(code=code)
    await stack.until_state(member, "active")
    secret = {
        mail.token,
        code,
        session,
        PASSWORD,
        cabinet.key,
        cabinet.key.split("_", 3)[3],
        mail.token.split(".")[1],
    }

    seen = [
        await stack.invitation.call("GET", "/v1/invitations?limit=200", token=stack.ops_token),
        await stack.invitation.call("GET", f"/v1/invitations/{member.invitation_id}", token=cabinet.key),
        await stack.directory.call("GET", f"/v1/dossiers/{dossier.id}/members", token=cabinet.key),
        await stack.directory.call("GET", "/v1/me", token=session),
    ]
    for read in seen:
        assert read.status == 200
        assert not any(one in read.text for one in secret)

    events = await everything_in_the_log(stack)
    ours = [event for event in events if member.id in json.dumps(event)]
    assert {event["type"] for event in ours} >= {"convive.user.created.v1", "convive.invitation.sent.v1"}
    for event in events:
        text = json.dumps(event, ensure_ascii=False)
        assert not any(one in text for one in secret), event["type"]
        if not event["type"].startswith("convive.user."):
            assert not any(one in text for one in (member.email, FIRST_NAME, LAST_NAME)), event["type"]

    for service in ("invitation", "directory"):
        async with stack.documents(service) as database:
            for name in await database.list_collection_names():
                async for document in database[name].find():
                    raw = bson.encode(document)
                    assert not any(one.encode() in raw for one in secret), f"{service}.{name}"


async def everything_in_the_log(stack: Stack) -> list[dict[str, Any]]:
    """Every event of the stream `convive.log`, up to one published now."""
    events: list[dict[str, Any]] = []
    marker, _ = await stack.invite()
    seen = asyncio.Event()

    async def read(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        await message.ack()
        try:
            events.append(json.loads(message.body))
        except ValueError:
            return  # what other tests sent on purpose
        if events[-1].get("subject") == marker.id:
            seen.set()

    async with await aio_pika.connect(stack.amqp_url, timeout=10) as connection:
        channel = await connection.channel()
        await channel.set_qos(100)
        queue = await channel.get_queue(topology.LOG, ensure=False)
        await queue.consume(read, arguments={"x-stream-offset": "first"})
        async with asyncio.timeout(20):
            await seen.wait()
    return [event for event in events if isinstance(event, dict) and event.get("source", "").startswith("/convive/")]


async def test_a_request_id_travels_from_the_call_to_the_event_the_mail_and_both_logs(stack: Stack) -> None:
    request_id = f"test-{secrets.token_hex(8)}"
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    async with stack.listening("user.*", "invitation.*") as heard:
        member = await stack.add_member(cabinet, dossier, request_id=request_id)
        created = await heard.until("user.created", member.id)
        sent = await heard.until("invitation.sent", member.id)
    assert (created["correlationid"], sent["correlationid"]) == (request_id, request_id)

    async def logged() -> bool:
        lines = {name: stack.log_lines(name) for name in ("directory", "invitation")}
        told = {
            name: {line["event"] for line in of if line.get("correlation_id") == request_id}
            for name, of in lines.items()
        }
        return "http.request" in told["directory"] and "delivery.attempted" in told["invitation"]

    await until(logged)


async def test_what_a_person_does_carries_the_id_of_their_request(stack: Stack) -> None:
    request_id = f"test-{secrets.token_hex(8)}"
    async with stack.listening("account.*", "invitation.*") as heard:
        member, _ = await stack.invite()
        mail = await stack.mail(member.email)
        headers = {"X-Request-ID": request_id}
        path = f"{mail.link}/password"
        answer = await stack.invitation.call("POST", path, json={"password": PASSWORD}, headers=headers)
        assert answer.headers["X-Request-ID"] == request_id
        told = await heard.until("invitation.password_set", member.id)
        redeemed = await heard.until("account.redeemed")
    assert told["correlationid"] == request_id
    assert redeemed["data"]["invitation_id"] == member.invitation_id
    assert redeemed["correlationid"] == request_id


async def test_every_answer_carries_a_request_id_and_refuses_a_strange_one(stack: Stack) -> None:
    for api in (stack.directory, stack.invitation):
        paths = (
            "/livez",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/docs",
            "/nowhere",
            "/v1/me",
            "/i/x",
            "/v1/invitations",
        )
        for path in paths:
            for given in (None, "x" * 65, "a b", "abc\u00e9", "<script>"):
                headers = {"X-Request-ID": given} if given else None
                answer = await api.call("GET", path, headers=headers)
                assert answer.headers["X-Request-ID"] not in ("", given)
                assert "Server" not in answer.headers
        chosen = await api.call("GET", "/livez", headers={"X-Request-ID": "my-own.id_7"})
        assert chosen.headers["X-Request-ID"] == "my-own.id_7"


async def test_metrics_count_without_telling_of_anybody(stack: Stack) -> None:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    assert (await stack.invitation.page(mail.link)).status == 200
    for api, names in (
        (stack.directory, ["convive_http_request_seconds"]),
        (
            stack.invitation,
            ["convive_http_request_seconds", "convive_events_total", "convive_delivery_attempt_seconds"],
        ),
    ):
        metrics = (await api.call("GET", "/metrics", accept="text/plain")).text
        assert all(name in metrics for name in names)
        assert mail.token not in metrics
        assert "@" not in metrics
