"""Traces: the whole way in on real services that export to a collector of the test's own."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.running import Stack
from tests.speaking import FIRST_NAME, LAST_NAME, PASSWORD, code_of, until
from tests.stacks import OwnStack

_SOON = {"OTEL_BSP_SCHEDULE_DELAY": "100"}
# What the way in of one person is made of, in order, when the directory added them.
_STEPS = (
    ("convive-directory", "POST /v1/dossiers/{id}/members"),
    ("convive-directory", "publish user.created"),
    ("convive-invitation", "handle user.created"),
    ("convive-invitation", "delivery attempt"),
    ("convive-invitation", "smtp"),
    ("convive-invitation", "publish invitation.sent"),
    ("convive-directory", "handle invitation.sent"),
)


@dataclass
class Collector:
    """Keeps what is exported to it, decoded and as it came."""

    url: str = ""
    raw: bytes = b""
    spans: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
            body = gzip.decompress(body)
        self.raw += body
        for of_service in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in of_service.resource.attributes}
            for scope in of_service.scope_spans:
                self.spans += [(named["service.name"], span) for span in scope.spans]
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )

    def named(self, service: str, name: str, trace: bytes | None = None) -> list[Any]:
        """The spans of that name, of one trace or of any."""
        return [s for of, s in self.spans if (of, s.name) == (service, name) and trace in (None, s.trace_id)]


@asynccontextmanager
async def collecting() -> AsyncGenerator[Collector]:
    """A collector that listens."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield collector
    finally:
        await runner.cleanup()


async def test_one_trace_leads_from_the_call_over_the_event_and_the_mail_to_the_event_and_tells_nothing_private(
    own_stack: OwnStack,
) -> None:
    async with collecting() as collector:
        stack = await own_stack(settings={"CONVIVE_OTLP_ENDPOINT": collector.url, **_SOON})
        cabinet = await stack.new_cabinet()
        dossier = await stack.new_dossier(cabinet)
        member = await stack.add_member(cabinet, dossier)
        mail = await stack.mail(member.email)
        await trouble(stack, mail.link)
        code = await redeem(stack, mail.link)
        await stack.session(code=code)
        await stack.until_state(member, "active")

        async def whole() -> bytes:
            for added in collector.named(*_STEPS[0]):
                if all(collector.named(*step, added.trace_id) for step in _STEPS):
                    return added.trace_id
            return b""

        trace = await until(whole, what="the whole trace")
        await stack.stop()  # what is left is exported at an orderly end

    spans = {step: collector.named(*step, trace)[0] for step in _STEPS}
    by_id = {span.span_id: span for _, span in collector.spans}
    call, *_, heard = (spans[step] for step in _STEPS)
    above = [heard]
    while above[-1].parent_span_id:
        above.append(by_id[above[-1].parent_span_id])
    assert [span.name for span in reversed(above)] == [
        call.name,
        "handle user.created",
        "delivery attempt",
        "handle invitation.sent",
    ]
    assert spans[_STEPS[4]].parent_span_id == spans[_STEPS[3]].span_id

    # Using the link up is a trace of its own, through both services.
    (redeemed,) = (s for s in collector.named("convive-invitation", "POST /i/{token}/password") if status_of(s) == 200)
    assert collector.named("convive-directory", "POST /internal/v1/redemptions", redeemed.trace_id)
    assert collector.named("convive-invitation", "handle account.redeemed", redeemed.trace_id)

    # A group of writes names whoever waited for it.
    linked = {link.span_id for _, span in collector.spans if span.name == "group commit" for link in span.links}
    assert {span.span_id for span in collector.named("convive-invitation", "save", trace)} <= linked

    told = collector.raw
    private = {*stack.private, mail.token, code, PASSWORD, FIRST_NAME, LAST_NAME, member.email, dossier.name}
    for secret in private | {part for part in mail.token.split(".") if len(part) > 8}:
        assert secret.encode() not in told, secret
    # Ids are bytes of any kind; what is text has no address in it.
    texts = [text for _, span in collector.spans for text in texts_of(span)]
    assert not [text for text in texts if "@" in text or "example.com" in text]
    assert b"/i/{token}" in told, "this check would not find anything"
    assert not [span for _, span in collector.spans if span.events], "exceptions are told by their kind alone"

    lines = [line for name in ("directory", "invitation") for line in stack.log_lines(name)]
    attempted = [line for line in lines if line["event"] == "delivery.attempted"]
    assert [line["trace_id"] for line in attempted] == [trace.hex()]
    assert all("trace_id" in line for line in lines if line["event"] == "http.request" and line["route"] != "/readyz")


async def trouble(stack: Stack, link: str) -> None:
    """Calls that fail, each in another way."""
    await stack.invitation.call("GET", f"{link}x")
    await stack.invitation.call("GET", f"/v1/invitations?email={stack.around.inbox_port}", token="wrong")
    await stack.redeem(link, "court")
    await stack.invitation.call("PUT", link)
    await stack.directory.call("GET", "/v1/nowhere/jeannette?email=jeannette%40example.com")


async def redeem(stack: Stack, link: str) -> str:
    await stack.invitation.page(link)
    return code_of((await stack.redeem(link)).ok()["next"])


def texts_of(span: Any) -> list[str]:
    """Everything that a span says in words."""
    return [span.name, span.trace_state, span.status.message, *(one.value.string_value for one in span.attributes)]


def status_of(span: Any) -> int:
    return next(one.value.int_value for one in span.attributes if one.key == "http.response.status_code")


async def test_what_a_sweeper_publishes_later_still_joins_its_trace_and_a_foreign_trace_is_gone_on_with(
    own_stack: OwnStack,
) -> None:
    """The entry in the outbox carries the trace, and so does the event."""
    foreign = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with collecting() as collector:
        stack = await own_stack(settings={"CONVIVE_OTLP_ENDPOINT": collector.url, **_SOON})
        async with stack.listening("invitation.sent") as heard, stack.wire() as wire:
            member, data = await stack.invite(invite_by="none")
            event = {
                **await stack.publish("user.updated", member.id, data, sequence=1),
                "id": "another",
                "type": "convive.invitation.resend_requested.v1",
                "data": {"invitation_id": member.invitation_id, "channel": "email"},
                "traceparent": f"00-{foreign}-00f067aa0ba902b7-01",
                "tracestate": "theirs=1",
            }
            await wire.send(event, "invitation.resend_requested")
            sent = await heard.until("invitation.sent", member.id)
        assert sent["traceparent"].split("-")[1] == foreign

        async def joined() -> bool:
            names = {span.name for _, span in collector.spans if span.trace_id.hex() == foreign}
            return names >= {"handle invitation.resend_requested", "delivery attempt", "publish invitation.sent"}

        await until(joined)

        # What a crash between commit and publish leaves: an entry that is old.
        later = "0af7651916cd43dd8448eb211c80319c"
        left = {"traceparent": f"00-{later}-b7ad6b7169203331-01"}
        entry = {
            "id": sent["id"],
            "at": datetime.now(UTC) - timedelta(minutes=1),
            "key": "invitation.sent",
            "body": json.dumps(sent | left).encode(),
            "trace": left,
        }
        async with stack.documents() as database:

            async def cleared() -> bool:
                return await database["invitations"].find_one({"_id": member.invitation_id, "outbox": []}) is not None

            await until(cleared)
            await database["invitations"].update_one({"_id": member.invitation_id}, {"$push": {"outbox": entry}})

        async def swept() -> bool:
            return bool(collector.named("convive-invitation", "publish invitation.sent", bytes.fromhex(later)))

        await until(swept, within=40)


async def test_a_collector_that_is_away_holds_nothing_up(own_stack: OwnStack) -> None:
    stack = await own_stack(settings={"CONVIVE_OTLP_ENDPOINT": "http://127.0.0.1:9", **_SOON})
    member = await stack.new_member()
    await stack.come_in(member)
    await stack.until_state(member, "active")
    await stack.invitation_service.stop(grace=12)
    assert stack.invitation_service.process.exit_code == 0


async def test_without_an_endpoint_nothing_carries_a_trace(stack: Stack) -> None:
    async with stack.listening("invitation.sent") as heard:
        member, _ = await stack.invite()
        sent = await heard.until("invitation.sent", member.id)
    assert "traceparent" not in sent
    async with stack.documents() as database:
        kept = await database["invitations"].find_one({"_id": member.invitation_id})
    assert "trace" not in json.dumps(kept, default=str)
    assert not [line for line in stack.log_lines("invitation") if "trace_id" in line]
