"""Nonsense over HTTP is refused with the field's name; from the bus it is parked with the reason. Nothing crashes."""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from typing import Any, cast
from uuid import uuid4

import pytest

from convive_contracts.envelope import STRUCTURED
from convive_kit.http import rfc3339
from tests.running import Stack
from tests.speaking import Member, Wire, cloud_event, new_address, until, user_data

DEEP = b'{"a":' * 20_000 + b"1" + b"}" * 20_000


# --- over HTTP ----------------------------------------------------------------------------------------------------

PERSON = {"first_name": "Zoé", "last_name": "Ångström", "email": "zoe@example.com"}

BAD_MEMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "no e-mail": ({"email": None}, "email"),
    "header injection": ({"email": "zoe@example.com\r\nBcc: all@example.com"}, "email"),
    "line break in the local part": ({"email": "zoe\n@example.com"}, "email"),
    "nul in the address": ({"email": "zoe\x00@example.com"}, "email"),
    "two addresses": ({"email": "zoe@example.com, max@example.com"}, "email"),
    "a name with an address": ({"email": "Zoé <zoe@example.com>"}, "email"),
    "sms without a phone": ({"invite_by": "sms"}, "phone"),
    "a phone that is none": ({"phone": "12"}, "phone"),
    "line break in a name": ({"first_name": "Zoé\r\nBcc: all@example.com"}, "first_name"),
    "nul in a name": ({"last_name": "Å\x00"}, "last_name"),
    "blank name": ({"first_name": "   "}, "first_name"),
    "invisible name": ({"first_name": "\u200b\u200d"}, "first_name"),
    "name that turns the text around": ({"first_name": "Zo\u202eé"}, "first_name"),
    "long name": ({"last_name": "å" * 101}, "last_name"),
    "name that is a number": ({"first_name": 7}, "first_name"),
    "unknown role": ({"role": "king"}, "role"),
    "unknown channel": ({"invite_by": "pigeon"}, "invite_by"),
    "unknown field": ({"is_admin": True}, "is_admin"),
    "unknown time zone": ({"time_zone": "Europe/Atlantis"}, "time_zone"),
    "flag that is a text": ({"own_expense_reports": "yes"}, "own_expense_reports"),
}


async def test_a_member_that_does_not_fit_is_422_and_names_the_field(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    for name, (change, field_name) in BAD_MEMBERS.items():
        body = {key: value for key, value in {**PERSON, **change}.items() if value is not None}
        path = f"/v1/dossiers/{dossier.id}/members"
        answer = await stack.directory.call("POST", path, json=body, token=cabinet.key)
        assert answer.status == 422, f"{name}: {answer.status} {answer.text}"
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        assert field_name in [error["field"] for error in answer.json()["errors"]], f"{name}: {answer.text}"
        # What was sent is not repeated.
        assert "Bcc" not in answer.text
    members = (await stack.directory.call("GET", f"/v1/dossiers/{dossier.id}/members", token=cabinet.key)).ok()
    assert members["items"] == []


BAD_BODIES: dict[str, tuple[bytes, str, int]] = {
    "not JSON": (b"hello", "application/json", 400),
    "cut JSON": (b'{"password": "abc', "application/json", 400),
    "invalid UTF-8": (b'{"password": "\xff\xfe"}', "application/json", 400),
    "deeply nested": (DEEP, "application/json", 400),
    "an array": (b"[1, 2]", "application/json", 422),
    "null": (b"null", "application/json", 422),
    "nothing": (b"{}", "application/json", 422),
    "a number": (b'{"password": 5}', "application/json", 422),
    "plain text": (b"password=x", "text/plain", 415),
    "multipart": (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x", 415),
    "XML": (b"<password/>", "application/xml", 415),
    "two megabytes": (b'{"password": "' + b"a" * 2**21 + b'"}', "application/json", 413),
}


async def test_bodies_that_cannot_be_read_get_a_clear_answer_everywhere(stack: Stack) -> None:
    member, _ = await stack.invite()
    link = (await stack.mail(member.email)).link
    before = await stack.until_state(member, "sent")
    for name, (body, content_type, status) in BAD_BODIES.items():
        headers = {"Content-Type": content_type}
        for step in ("password", "open"):
            answer = await stack.invitation.call("POST", f"{link}/{step}", data=body, headers=headers)
            assert answer.status == status, f"{name}: {answer.status} {answer.text}"
            assert answer.json()["status"] == status
        answer = await stack.directory.call("POST", "/v1/sessions", data=body, headers=headers)
        assert answer.status == status, f"{name}: {answer.status} {answer.text}"
        extend = f"/v1/invitations/{member.invitation_id}/extend"
        answer = await stack.invitation.call("POST", extend, data=body, headers=headers, token=stack.ops_token)
        assert answer.status == status, f"{name}: {answer.status} {answer.text}"
    assert await stack.detail(member) == before


async def test_an_empty_field_is_named(stack: Stack) -> None:
    member, _ = await stack.invite()
    link = (await stack.mail(member.email)).link
    for step, body, field_name in (
        ("open", {}, "proof"),
        ("password", {}, "password"),
        ("decline", {"reason": "x"}, "reason"),
    ):
        answer = await stack.invitation.call("POST", f"{link}/{step}", json=body)
        assert (answer.status, answer.json()["errors"][0]["field"]) == (422, field_name)


async def test_what_operators_send_is_checked(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")
    past = rfc3339(datetime.now(UTC) - timedelta(minutes=1))
    far = rfc3339(datetime.now(UTC) + timedelta(days=4000))
    bad: list[tuple[str, dict[str, Any], str]] = [
        ("extend", {"until": past}, "until"),
        ("extend", {"until": far}, "until"),
        ("extend", {"until": "tomorrow"}, "until"),
        ("extend", {"until": "2030-01-01T00:00:00"}, "until"),
        ("extend", {}, "until"),
        ("resend", {"channel": "sms"}, "channel"),
        ("resend", {"channel": "pigeon"}, "channel"),
        ("resend", {"reason": "x" * 501}, "reason"),
        ("revoke", {"why": "x"}, "why"),
    ]
    for action, body, field_name in bad:
        answer = await stack.operate(member, action, **body)
        assert answer.status == 422, f"{action} {body}: {answer.status}"
        assert answer.json()["errors"][0]["field"] == field_name
    for query in (
        "state=lost",
        "limit=0",
        "limit=201",
        "stuck_for=x",
        "cabinet_id=x",
        "unknown=1",
        "email=no",
        "sort=q",
    ):
        answer = await stack.invitation.call("GET", f"/v1/invitations?{query}", token=stack.ops_token)
        assert answer.status == 422, f"{query}: {answer.status}"
        assert answer.json()["errors"][0]["field"].partition(".")[0] == query.partition("=")[0]
    for path in ("invitations", "parked"):
        for cursor in ("x", "AAAA", "%00", "e30"):
            answer = await stack.invitation.call("GET", f"/v1/{path}?cursor={cursor}", token=stack.ops_token)
            assert answer.status in (400, 422), f"{path} {cursor}: {answer.status}"
    for id in ("x", str(uuid4()), "%00", "a" * 3000):
        assert (await stack.invitation.call("GET", f"/v1/invitations/{id}", token=stack.ops_token)).status == 404
        assert (await stack.invitation.call("GET", f"/v1/parked/{id}", token=stack.ops_token)).status == 404
    assert (await stack.detail(member))["state"] == "sent"


# --- from the bus -------------------------------------------------------------------------------------------------


@dataclass
class Bad:
    """A message that nobody can handle, and how it is parked."""

    body: bytes
    slug: str
    reason: str = ""
    key: str = "user.created"
    content_type: str | None = STRUCTURED
    headers: Mapping[str, Any] = field(default_factory=dict[str, Any])


def event(short: str = "user.created", change: Mapping[str, Any] | None = None, **attributes: Any) -> bytes:
    """A `user.created` that is right but for a change of the member's fields, or of the event's attributes."""
    member = str(uuid4())
    data = user_data(member, new_address())
    data["member"] |= change or {}
    return json.dumps({**cloud_event(short, member, data), **attributes}).encode()


def missing(name: str) -> bytes:
    made = json.loads(event())
    del made[name]
    return json.dumps(made).encode()


def bad_messages() -> dict[str, Bad]:
    huge = event(change={"employee_code": "x"})[:-1] + b',"filler":"' + b"x" * (10 * 1024 * 1024) + b'"}'
    late = cloud_event(
        "invitation.resend_requested",
        str(uuid4()),
        {"invitation_id": str(uuid4())},
        time=datetime.now(UTC) - timedelta(minutes=11),
    )
    without_dossier = json.loads(event())
    del without_dossier["data"]["dossier"]["name"]
    sms = json.loads(event())
    sms["data"]["invite_by"] = "sms"
    return {
        "not JSON": Bad(b"hello", "malformed", "not JSON"),
        "empty": Bad(b"", "malformed", "not JSON"),
        "an array": Bad(b"[]", "malformed", "JSON object"),
        "null": Bad(b"null", "malformed", "JSON object"),
        "invalid UTF-8": Bad(event().replace(b"Jeannette", b"Jean\xff\xfe"), "malformed", "UTF-8"),
        "half a surrogate pair": Bad(event().replace(b"Jeannette", b"\\ud800"), "malformed"),
        "deeply nested": Bad(DEEP, "malformed", "not JSON"),
        "NaN": Bad(event().replace(b'"email"', b'"x": NaN, "email"', 1), "malformed"),
        "no data": Bad(missing("data"), "malformed", "data must be a JSON object"),
        "data is a text": Bad(event(data="x"), "malformed", "data must be a JSON object"),
        "data in base64": Bad(event(data=None, data_base64="eA=="), "malformed", "data_base64"),
        "no id": Bad(missing("id"), "malformed", "id must be"),
        "no source": Bad(missing("source"), "malformed", "source must be"),
        "no subject": Bad(missing("subject"), "malformed", "subject must be"),
        "no specversion": Bad(missing("specversion"), "malformed", "specversion"),
        "other specversion": Bad(event(specversion="0.3"), "malformed", "specversion"),
        "another subject": Bad(event(subject=str(uuid4())), "malformed", "subject must be"),
        "an id that is a number": Bad(event(id=5), "malformed", "id must be"),
        "an endless id": Bad(event(id="x" * 600), "malformed", "id must be"),
        "a time that is none": Bad(event(time="yesterday"), "malformed", "time must be"),
        "a time without zone": Bad(event(time="2026-01-31T08:00:00"), "malformed", "time must be"),
        "a sequence below zero": Bad(event(sequence=-1), "malformed", "sequence must be"),
        "a sequence that is a text": Bad(event(sequence="first"), "malformed", "sequence must be"),
        "a sequence beyond measure": Bad(event(sequence="9" * 40), "malformed", "sequence must be"),
        "unknown type": Bad(event(type="convive.user.exploded.v1"), "unknown_type", "exploded", key="user.exploded"),
        "next version": Bad(event(type="convive.user.created.v2"), "unknown_type", "v2"),
        "not for this service": Bad(event("invitation.sent", type="convive.invitation.opened.v1"), "malformed"),
        "no dossier name": Bad(json.dumps(without_dossier).encode(), "malformed", "data.dossier.name"),
        "no e-mail": Bad(event(change={"email": None}), "malformed", "data.member.email"),
        "sms without a phone": Bad(json.dumps(sms).encode(), "malformed", "phone"),
        "a phone that is none": Bad(event(change={"phone": "0612345678"}), "malformed", "data.member.phone"),
        "header injection": Bad(
            event(change={"email": "a@example.com\nBcc: b@example.com"}), "malformed", "line breaks"
        ),
        "nul in the address": Bad(event(change={"email": "a\x00b@example.com"}), "malformed", "data.member.email"),
        "an address nobody can have": Bad(event(change={"email": "a@b@example.com"}), "malformed"),
        "an address without a domain": Bad(event(change={"email": "jeanne@localhost"}), "bad_email"),
        "line break in a name": Bad(event(change={"first_name": "J\nBcc: x"}), "malformed", "data.member.first_name"),
        "nul in a name": Bad(event(change={"last_name": "J\x00"}), "malformed", "data.member.last_name"),
        "blank name": Bad(event(change={"first_name": " "}), "malformed", "data.member.first_name"),
        "long name": Bad(event(change={"first_name": "é" * 101}), "malformed", "data.member.first_name"),
        "unknown role": Bad(event(change={"role": "king"}), "malformed", "data.member.role"),
        "an id that is none": Bad(event(change={"id": "7"}, subject="7"), "malformed", "data.member.id"),
        "10 MB": Bad(huge, "oversize", "bytes"),
        "a little too big": Bad(event().replace(b"Jeannette", b"J" * 256 * 1024), "oversize"),
        "mistyped key": Bad(event(), "unroutable", "", key="usr.created"),
        "binary without attributes": Bad(b"{}", "malformed", "specversion", content_type="application/json"),
        "binary with numbers": Bad(
            b'{"binary": 1}',
            "malformed",
            "id must be",
            content_type="application/json",
            headers={"ce-specversion": "1.0", "ce-id": 5, "ce-source": "/x", "ce-type": "convive.user.created.v1"},
        ),
        "binary with bytes": Bad(
            b'{"binary": 2}',
            "malformed",
            "",
            content_type="application/json",
            headers={"ce-specversion": bytearray(b"\xff\xfe")},
        ),
        "unknown invitation": Bad(
            json.dumps(late).encode(), "unknown_invitation", "", key="invitation.resend_requested"
        ),
    }


async def test_bad_messages_are_parked_with_the_reason_and_hold_up_nobody(stack: Stack) -> None:
    messages = bad_messages()
    healthy: list[Member] = []
    async with stack.wire() as wire:
        for message in messages.values():
            await wire.send(message.body, message.key, content_type=message.content_type, headers=message.headers)
            healthy.append(await healthy_one(wire))
    for member in healthy:
        await stack.until_state(member, "sent")
    digests = {name: hashlib.sha256(message.body).hexdigest() for name, message in messages.items()}

    async def all_there() -> dict[str, Any]:
        parked = {one["sha256"]: one for one in await stack.parked()}
        return parked if set(digests.values()) <= set(parked) else {}

    parked = await until(all_there)
    for name, message in messages.items():
        one = parked[digests[name]]
        assert (one["slug"], one["status"], one["size"]) == (message.slug, "parked", len(message.body)), name
        assert message.reason in one["reason"], f"{name}: {one['reason']}"
        assert one["fingerprint"].endswith(message.slug)
    whole = await stack.parked_message(parked[digests["10 MB"]]["id"])
    assert len(whole["body"]) == 64 * 1024
    assert messages["10 MB"].body.startswith(whole["body"].encode())
    injected = await stack.parked_message(parked[digests["header injection"]]["id"])
    assert injected["body"].encode() == messages["header injection"].body
    # Personal data stay in the record's body, out of the reason.
    reasons = " ".join(one["reason"] for one in parked.values())
    assert "jeannette." not in reasons
    assert "Bcc" not in reasons
    assert (await stack.invitation.call("GET", "/readyz")).status == 200


async def healthy_one(wire: Wire) -> Member:
    member = Member(str(uuid4()), new_address())
    await wire.send(
        cloud_event("user.created", member.id, user_data(member.id, member.email), source="x"), "user.created"
    )
    return Member(member.id, member.email, "x")


async def test_the_same_bad_message_again_counts_up(stack: Stack) -> None:
    body = event(change={"role": "emperor"})
    async with stack.wire() as wire:
        for _ in range(3):
            await wire.send(body, "user.created")
    digest = hashlib.sha256(body).hexdigest()

    async def thrice() -> Any:
        return next((one for one in await stack.parked() if one["sha256"] == digest and one["count"] == 3), None)

    parked = await until(thrice)
    assert parked["first_seen"] <= parked["last_seen"]


# --- names --------------------------------------------------------------------------------------------------------

HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "quotes": 'O\'Brien "Bob" <bob@evil.example>, x@evil.example;',
    "emoji": "Zoë 🧑‍🚀🏴‍☠️",
    "right to left": "مريم בת־שבע",
    "template": "{{ 7*7 }}${7*7}%(x)s{% raw %}",
    "encoded word": "=?utf-8?q?Bcc=3A_x=40evil=2Eexample?=",
    "entity": "&lt;b&gt;&#x41;",
    "long": "Ā" * 100,
    "dots": "..\\n.",
}


async def letters(stack: Stack, name: str) -> tuple[Member, str, Any]:
    cabinet = {"id": str(uuid4()), "name": name, "phone": name[:60]}
    dossier = {"id": str(uuid4()), "name": name}
    member, _ = await stack.invite(first_name=name, last_name=name, cabinet=cabinet, dossier=dossier)
    mail = await stack.mail(member.email)
    return member, mail.link, mail


def headers_of(source: str) -> EmailMessage:
    return cast("EmailMessage", email.message_from_string(source, policy=email.policy.default))


@pytest.mark.parametrize("kind", HOSTILE)
async def test_names_are_never_markup_nor_headers(stack: Stack, kind: str) -> None:
    name = HOSTILE[kind]
    member, link, mail = await letters(stack, name)
    _, plain_link, plain = await letters(stack, "Jeanne Martin")

    told, usual = headers_of(mail.source), headers_of(plain.source)
    assert told.keys() == usual.keys()
    sender, recipient = told["From"], told["To"]
    assert isinstance(sender, AddressHeader)
    assert [address.addr_spec for address in sender.addresses] == ["noreply@convive.example"]
    assert [address.addr_spec for address in recipient.addresses] == [member.email]
    assert all(len(line.encode()) <= 998 for line in mail.source.splitlines())
    pages = [await stack.invitation.page(path) for path in (link, f"{link}/decline")]
    usual_pages = [await stack.invitation.page(path) for path in (plain_link, f"{plain_link}/decline")]
    documents = [mail.html, *(page.text for page in pages)]
    for written, benign in zip(documents, [plain.html, *(page.text for page in usual_pages)], strict=True):
        for tag in ("<script", "<img", "<b>", "<"):
            assert written.count(tag) == benign.count(tag), tag
    assert all(page.status == 200 for page in pages)
    program = (await stack.invitation.call("GET", link)).ok()
    assert program["cabinet"]["name"] == name
    assert program["first_name"] == name
    if kind in ("emoji", "right to left", "template"):
        assert name in mail.text
    # And the page of somebody who is in.
    for used in (link, plain_link):
        assert (await stack.redeem(used)).status == 200
    done, usual_done = await stack.invitation.page(link), await stack.invitation.page(plain_link)
    assert done.text.count("<") == usual_done.text.count("<")
