"""The local inbox: what it keeps, how it shows it safely, and the trouble it makes on request."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from aiohttp import web

from deploy.local.addresses import LOOPBACK, free_port
from deploy.local.inbox.behaviour import Temper
from deploy.local.inbox.mail_server import serve
from deploy.local.inbox.mailbox import Mail, Mailbox, links_in
from deploy.local.inbox.receipts import Receipts
from deploy.local.inbox.web import application
from invitation.delivery.gateways.generic import signature
from tests.unit.sms.playing import playing

LINK = "http://127.0.0.1:8082/i/token"


@dataclass
class Inbox:
    """A running inbox as its users see it."""

    http: aiohttp.ClientSession
    smtp_port: int

    async def send(self, to: str, *, timeout: float = 5, **parts: str) -> None:
        message = mail(to, **parts)
        await aiosmtplib.send(
            message, hostname=LOOPBACK, port=self.smtp_port, timeout=timeout, start_tls=False, recipients=[to]
        )

    async def text(
        self, to: str = "+33612345678", *, reference: str = "", receipt_url: str | None = None
    ) -> tuple[int, Any]:
        sms = {"to": to, "from": "LEGER", "text": f"Votre lien : {LINK}.", "reference": reference}
        sms |= {"receipt_url": receipt_url} if receipt_url else {}
        async with self.http.post("/sms/messages", json=sms, headers={"Idempotency-Key": reference}) as response:
            return response.status, await response.json()

    async def behave(self, **behaviours: dict[str, Any]) -> None:
        async with self.http.put("/api/behaviour", json=behaviours) as response:
            assert response.status == 200

    async def messages(self, **query: str) -> list[dict[str, Any]]:
        async with self.http.get("/api/messages", params=query) as response:
            return await response.json()


def mail(to: str, *, subject: str = "Hello", text: str = "Hello", html: str = "") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Cabinet Léger <noreply@convive.example>"
    message["To"] = to
    message["Subject"] = subject
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    return message


@pytest.fixture
async def inbox() -> AsyncGenerator[Inbox]:
    mailbox, temper = Mailbox(), Temper()
    smtp_port, http_port = free_port(), free_port()
    server = await serve(mailbox, temper, host=LOOPBACK, port=smtp_port)
    runner = web.AppRunner(application(mailbox, temper, Receipts("the-key")), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, http_port).start()
    async with aiohttp.ClientSession(f"http://{LOOPBACK}:{http_port}") as http:
        yield Inbox(http, smtp_port)
    server.close()
    await runner.cleanup()


async def test_a_mail_is_shown_decoded_with_its_links(inbox: Inbox) -> None:
    html = f'<p>Invitée : <a href="{LINK}?a=1&amp;b=2">choisir</a></p>'
    await inbox.send("jeanne@example.com", subject="Invitée à dîner", text=f"Bonjour,\n{LINK}.\n", html=html)
    [message] = await inbox.messages(to="Jeanne@Example.com")
    assert message["channel"] == "email"
    assert message["to"] == "jeanne@example.com"
    assert message["from"] == "Cabinet Léger <noreply@convive.example>"
    assert message["subject"] == "Invitée à dîner"
    assert message["text"] == f"Bonjour,\n{LINK}.\n"
    assert html in message["html"]
    assert message["links"] == [LINK, f"{LINK}?a=1&b=2"]


async def test_the_newest_comes_first_and_everything_can_be_deleted(inbox: Inbox) -> None:
    for subject in ("first", "second"):
        await inbox.send("jeanne@example.com", subject=subject)
    await inbox.send("other@example.com")
    assert [message["subject"] for message in await inbox.messages(to="jeanne@example.com")] == ["second", "first"]
    async with inbox.http.delete("/api/messages") as response:
        assert response.status == 204
    assert await inbox.messages() == []


async def test_a_text_message_is_kept_beside_the_mails(inbox: Inbox) -> None:
    await inbox.text()
    [message] = await inbox.messages(to="+33612345678")
    assert (message["channel"], message["from"], message["links"]) == ("sms", "LEGER", [LINK])
    assert (message["subject"], message["html"]) == (None, None)


async def test_a_text_message_handed_in_again_is_kept_once(inbox: Inbox) -> None:
    answers = [await inbox.text(reference="send-1") for _ in range(2)]
    assert answers[0] == answers[1]
    await inbox.text(reference="send-2")
    assert len(await inbox.messages()) == 2


@pytest.mark.parametrize(("mode", "status"), [("refuse_temporarily", 500), ("refuse_permanently", 422)])
async def test_a_text_message_is_refused_for_the_matching_number_alone(inbox: Inbox, mode: str, status: int) -> None:
    await inbox.behave(sms={"mode": mode, "match": "61234"})
    assert (await inbox.text())[0] == status
    assert (await inbox.text("+33698765432"))[0] == 201


@pytest.mark.parametrize("receipt", ["delivered", "undelivered", "none"])
async def test_it_says_afterwards_what_became_of_a_text_message(inbox: Inbox, receipt: str) -> None:
    await inbox.behave(sms={"receipt": receipt})
    async with playing((204, None)) as service:
        _, taken = await inbox.text(reference="send-1", receipt_url=f"{service.url}/receipts?ref=send-1")
        if receipt == "none":
            await inbox.text(reference="send-2")
            assert service.asked == []
            return
        async with asyncio.timeout(5):
            while not service.asked:
                await asyncio.sleep(0.01)
    [said] = service.asked
    assert said.url.endswith("/receipts?ref=send-1")
    expected = {"reference": "send-1", "id": taken["id"], "status": receipt}
    assert json.loads(said.body) == expected | ({"reason": "unknown_number"} if receipt == "undelivered" else {})
    at = re.match(r"t=(\d+),", said.headers["Convive-Signature"])
    assert at
    assert said.headers["Convive-Signature"] == signature("the-key", said.body, int(at[1]))


@pytest.mark.parametrize(("mode", "code"), [("refuse_temporarily", 451), ("refuse_permanently", 550)])
async def test_a_refused_mail_is_refused_for_the_matching_address_alone(inbox: Inbox, mode: str, code: int) -> None:
    await inbox.behave(email={"mode": mode, "match": "jeanne"})
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refusal:
        await inbox.send("jeanne@example.com")
    assert refusal.value.recipients[0].code == code
    await inbox.send("oliver@example.com")
    assert [message["to"] for message in await inbox.messages()] == ["oliver@example.com"]


async def test_a_connection_is_cut_in_the_middle_of_a_mail(inbox: Inbox) -> None:
    await inbox.behave(email={"mode": "close_mid_data"})
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await inbox.send("jeanne@example.com", text="a long letter\n" * 10_000)
    assert await inbox.messages() == []


async def test_a_hanging_provider_never_answers_and_keeps_nothing(inbox: Inbox) -> None:
    await inbox.behave(email={"mode": "hang"})
    with pytest.raises(aiosmtplib.SMTPTimeoutError):
        await inbox.send("jeanne@example.com", timeout=0.3)
    assert await inbox.messages() == []


async def test_a_channel_that_is_not_named_keeps_its_behaviour(inbox: Inbox) -> None:
    await inbox.behave(email={"mode": "hang", "rate": 0})
    await inbox.behave(sms={"mode": "refuse_permanently"})
    async with inbox.http.get("/api/behaviour") as response:
        behaviour = await response.json()
    assert (behaviour["email"]["mode"], behaviour["sms"]["mode"]) == ("hang", "refuse_permanently")
    await inbox.send("jeanne@example.com")
    assert len(await inbox.messages()) == 1


async def test_an_unknown_mode_is_answered_with_422(inbox: Inbox) -> None:
    async with inbox.http.put("/api/behaviour", json={"email": {"mode": "explode"}}) as response:
        assert response.status == 422


async def test_a_mail_is_shown_under_a_policy_that_forbids_its_scripts(inbox: Inbox) -> None:
    await inbox.send(
        "jeanne@example.com", html="<head></head><script>alert(1)</script><a href='http://x.example'>x</a>"
    )
    [message] = await inbox.messages()
    async with inbox.http.get(f"/messages/{message['id']}/html") as response:
        policy = response.headers["Content-Security-Policy"]
        assert '<base target="_blank">' in await response.text()
    assert policy.startswith("sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'")
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy


async def test_a_mail_in_an_unknown_character_set_is_still_shown(inbox: Inbox) -> None:
    content = b"Subject: x\r\nContent-Type: text/plain; charset=martian\r\n\r\nBonjour\r\n"
    assert "Bonjour" in str(Mail(to="a@example.com", sender="", content=content).as_json()["text"])


async def test_only_the_last_messages_are_kept() -> None:
    mailbox = Mailbox(capacity=2)
    for number in range(3):
        mailbox.add(Mail(to=f"{number}@example.com", sender="", content=b""))
    assert [message.to for message in mailbox.newest()] == ["2@example.com", "1@example.com"]


def test_what_ends_a_sentence_is_no_part_of_a_link() -> None:
    assert links_in(f"See {LINK}, or ({LINK}?x=1). «{LINK}»!", "") == [LINK, f"{LINK}?x=1"]
