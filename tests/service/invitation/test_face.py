"""How a firm shows itself, from its own change to what its people get."""

from __future__ import annotations

import re

from tests.running import Mail, Stack, until


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
