"""How a firm shows itself, from its own change to what its people get."""

from __future__ import annotations

import re
from typing import Any

from tests.running import Stack
from tests.speaking import FIRST_NAME, LAST_NAME, Mail, new_phone, until

_UNTIL = re.compile(r"\w+ \d+(er)?\xa0\w+ \d{4} à \d+\xa0h\xa0\d+ \([^)]*\)")


def without_link_and_moment(text: str) -> str:
    return _UNTIL.sub("…", re.sub(r"/i/[A-Za-z0-9_.-]+", "/i/x", text)).replace("\r\n", "\n").strip()


async def test_what_a_firm_changes_is_in_the_next_mail_and_on_the_page_that_is_out_already(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    link = (await stack.mail(member.email)).link
    page = (await stack.invitation.page(link)).text
    assert "firm-" not in page

    face = {"name": "Cabinet Framboise", "colour": "#7a1f5c", "reply_to": "bonjour@framboise.example.com"}
    path = f"/v1/cabinets/{cabinet.id}"
    (await stack.directory.call("PATCH", path, json=face, token=cabinet.key)).ok()

    async def shown() -> str:
        text = (await stack.invitation.page(link)).text
        return text if "firm-7a1f5c.css" in text else ""

    page = await until(shown, what="the page in the firm's colour")
    assert "Cabinet Framboise" in page
    (sheet,) = re.findall(r'href="(/i/static/firm-[^"]*)"', page)
    assert "--fill: #7a1f5c" in (await stack.invitation.page(sheet)).text

    async def dressed() -> list[Mail]:
        (await stack.operate(member, "resend")).ok(202)
        mail = await stack.mail(member.email, count=2)
        return [mail] if "Cabinet Framboise" in mail.subject else []

    (mail,) = await until(dressed, what="a mail in the firm's colour")
    assert 'bgcolor="#7a1f5c"' in mail.html
    assert "Reply-To: Cabinet Framboise <bonjour@framboise.example.com>" in mail.source


async def test_a_preview_is_what_goes_out(stack: Stack) -> None:
    cabinet = await stack.new_cabinet("Cabinet Framboise & Fils")
    face = {"colour": "#ffd400", "reply_to": "bonjour@framboise.example.com", "sms_sender": "FRAMBOISE"}
    path = f"/v1/cabinets/{cabinet.id}"
    state = (await stack.directory.call("PATCH", path, json=face, token=cabinet.key)).ok()
    dossier = await stack.new_dossier(cabinet)
    sample = {
        "cabinet": state,
        "dossier_name": dossier.name,
        "first_name": FIRST_NAME,
        "last_name": LAST_NAME,
        "locale": "fr",
    }

    async def preview(**other: Any) -> Any:
        path = "/internal/v1/previews"
        answer = await stack.invitation.call("POST", path, json={**sample, **other}, token=stack.service_token)
        return answer.ok()

    seen = await preview()
    member = await stack.add_member(cabinet, dossier, first_name=FIRST_NAME, last_name=LAST_NAME)
    mail = await stack.mail(member.email)
    assert "#ffd400" in mail.html
    assert seen["mail"]["subject"] == mail.subject
    for kind in ("text", "html"):
        assert without_link_and_moment(seen["mail"][kind]) == without_link_and_moment(getattr(mail, kind))
    assert seen["mail"]["reply_to"] == "Cabinet Framboise & Fils <bonjour@framboise.example.com>"
    page = (await stack.invitation.page(mail.link)).text
    for sentence in re.findall(r"<h1>.*?</h1>|<p class=\"lead\">.*?</p>|<title>.*?</title>", page):
        assert sentence in seen["page"]
    assert "--fill: #ffd400" in seen["page"]
    assert not re.search(r"<(script|link|img)\b", seen["page"])

    phone = new_phone()
    other = await stack.add_member(cabinet, dossier, phone=phone, invite_by="sms")
    stack.private |= {phone, other.email}
    text = await stack.text(phone)
    assert without_link_and_moment(seen["sms"]["text"]) == without_link_and_moment(text.text)
    assert len(seen["sms"]["text"]) == len(text.text)
    assert (seen["sms"]["sender"], seen["sms"]["segments"]) == (text.sender, text.segments)
    assert seen["sms"]["encoding"] == "GSM-7"

    reminder = await preview(reminder=True, locale="en")
    assert reminder["mail"]["subject"].startswith("Reminder:")
    assert reminder["sms"]["text"].startswith("Reminder:")
