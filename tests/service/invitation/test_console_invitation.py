"""One invitation at the console: what is shown of it, what is hidden, and what may be done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.service.invitation.console import Operator, operator, words
from tests.speaking import FIRST_NAME, LAST_NAME, Answer, Mail, Member, new_address


def path(member: Member, rest: str = "") -> str:
    return f"/ops/invitations/{member.invitation_id}{rest}"


async def sent(stack: Stack) -> tuple[Member, Mail]:
    member = await stack.new_member(phone="+33612345678")
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    return member, mail


async def recorded(stack: Stack, member: Member) -> list[dict[str, Any]]:
    asked = f"/v1/audit?target=invitation:{member.invitation_id}"
    return (await stack.invitation.call("GET", asked, token=stack.ops_token)).ok()["items"]


def tells_of(page: Answer, member: Member, mail: Mail) -> list[str]:
    """What a page must not tell, and tells."""
    private = (FIRST_NAME, LAST_NAME, member.email, "612345678", "6 12 34 56 78", mail.token, mail.link)
    return [one for one in private if one in page.text]


async def test_a_page_tells_all_but_who_it_is_and_the_link(stack: Stack) -> None:
    member, mail = await sent(stack)
    one = await operator(stack, "admin")

    page, rendered = await one.get(path(member)), await one.get(path(member, "/mail"))

    said = words(page)
    for shown in (
        "J. Q.",
        "j•••@example.com",
        "••• 78",
        "Announced by its publisher",
        "Taken by the provider",
        "reply:",
    ):
        assert shown in said, shown
    assert f"convive invitation resend {member.invitation_id} --reason '…'" in said
    assert 'class="lit"' in page.text
    assert (tells_of(page, member, mail), tells_of(rendered, member, mail)) == ([], [])
    assert "/i/••••••••" in said
    assert 'href="' in rendered.text
    assert "/i/••••••••" in rendered.text
    assert "sandbox" in rendered.headers["Content-Security-Policy"]
    assert 'sandbox=""' in page.text
    assert page.text.count("<script") == page.text.count("<script src=") == 2


async def test_who_it_is_is_shown_once_for_a_reason_that_is_recorded(stack: Stack) -> None:
    member, mail = await sent(stack)
    name = f"anne.{uuid4().hex[:8]}"
    one = await operator(stack, "writer", name)

    without = await one.post(path(member, "/reveal"), reason="  ")
    assert (without.status, tells_of(without, member, mail)) == (422, [])
    revealed = await one.post(path(member, "/reveal"), reason="called us")

    assert revealed.status == 200
    for shown in (FIRST_NAME, LAST_NAME, member.email, "+33612345678"):
        assert shown in revealed.text, shown
    assert mail.token not in revealed.text
    (record,) = await recorded(stack, member)
    assert (record["action"], record["actor"], record["reason"], record["outcome"]) == (
        "invitation.revealed",
        f"ops:{name}",
        "called us",
        "done",
    )
    assert member.email not in str(record)
    assert tells_of(await one.get(path(member)), member, mail) == []
    assert (await one.get(path(member, "/reveal"))).headers["Location"] == path(member)


async def test_a_reader_looks_and_does_nothing(stack: Stack) -> None:
    member, _ = await sent(stack)
    one = await operator(stack, "reader")
    page = await one.get(path(member))
    assert page.status == 200
    for action in ("resend", "revoke", "extend", "correct", "reveal"):
        assert path(member, f"/{action}") not in page.text
        refused = await one.post(path(member, f"/{action}"), reason="because", email=new_address(), until="2030-01-01")
        assert refused.status == 403, action
    assert (await stack.detail(member))["link_sequence"] == 1
    assert await recorded(stack, member) == []


async def test_a_failed_invitation_is_corrected_and_goes_out(stack: Stack) -> None:
    wrong, right = new_address("wrong"), new_address("right")
    await stack.misbehave("refuse_permanently", match=wrong)
    member = await stack.new_member(email=wrong)
    await stack.until_state(member, "failed")
    await stack.misbehave("accept")
    one = await operator(stack)
    assert "550" in words(await one.get(path(member)))

    page = await one.follow(await one.post(path(member, "/correct"), email=right, reason="typed wrong"))

    assert "The address is corrected" in words(page)
    await stack.mail(right)
    detail = await stack.until_state(member, "sent")
    assert (detail["member"]["email"], detail["link_sequence"]) == (right, 2)
    assert [record["reason"] for record in await recorded(stack, member)] == ["typed wrong"]


async def test_resend_extend_and_revoke_say_what_came_of_them(stack: Stack) -> None:
    member, _ = await sent(stack)
    one = await operator(stack)
    await one.get(path(member))
    day = (datetime.now(UTC) + timedelta(days=40)).date().isoformat()

    resent = await one.follow(await one.post(path(member, "/resend"), channel="", reason="asked by phone"))
    assert "A new link is on its way" in words(resent)
    await stack.mail(member.email, count=2)
    await stack.until_state(member, "sent")
    extended = await one.follow(await one.post(path(member, "/extend"), until=day))
    assert "The link now works for longer" in words(extended)
    assert (await stack.detail(member))["expires_at"] == f"{day}T23:59:59.000Z"
    revoked = await one.follow(await one.post(path(member, "/revoke"), reason=""))
    assert "The invitation is revoked" in words(revoked)
    assert 'action="' not in revoked.text.partition('id="actions"')[2].partition("</section>")[0]

    late = await one.post(path(member, "/resend"))
    assert (late.status, "This cannot be done in the state" in words(late)) == (409, True)
    actions = [(record["action"], record["outcome"]) for record in await recorded(stack, member)]
    assert actions == [
        ("invitation.resend", "refused"),
        ("invitation.revoke", "done"),
        ("invitation.extend", "done"),
        ("invitation.resend", "done"),
    ]


@pytest.mark.parametrize(
    ("action", "form", "field"),
    [
        ("extend", {"until": "2020-01-01"}, "until"),
        ("extend", {"until": "soon"}, "until"),
        ("extend", {}, "until"),
        ("correct", {}, "email"),
        ("correct", {"email": "nobody"}, "email"),
        ("correct", {"phone": "12"}, "phone"),
        ("resend", {"channel": "pigeon"}, "channel"),
        ("revoke", {"reason": "x" * 501}, "reason"),
    ],
)
async def test_a_form_that_does_not_fit_says_which_field(
    stack: Stack, action: str, form: dict[str, str], field: str
) -> None:
    member, _ = await sent(stack)
    one = await operator(stack)
    await one.get(path(member))
    answer = await one.post(path(member, f"/{action}"), headers={"Accept-Language": "fr"}, **form)
    assert (answer.status, f"<code>{field}</code>" in answer.text) == (422, True), words(answer)
    assert (await stack.detail(member))["version"] > 0
    assert (await stack.detail(member))["state"] == "sent"


async def test_another_form_of_the_same_page_needs_its_token(stack: Stack) -> None:
    member, _ = await sent(stack)
    one = await operator(stack)
    await one.get(path(member))
    for refused in (
        await one.post(path(member, "/revoke"), form_token=""),
        await one.post(path(member, "/revoke"), origin="https://evil.example"),
    ):
        assert refused.status == 403
    assert (await stack.detail(member))["state"] == "sent"


async def test_names_that_look_like_markup_are_words(stack: Stack) -> None:
    member = await stack.new_member(first_name="<b>Zed", last_name="'\"><script>")
    await stack.until_state(member, "sent")
    one = await operator(stack)
    await one.get(path(member))
    page = await one.post(path(member, "/reveal"), reason="<i>look</i>")
    assert "&lt;b&gt;Zed" in page.text
    assert page.text.count("<script") == page.text.count("<script src=") == 2


async def test_every_page_of_an_invitation_asks_who_is_there(stack: Stack) -> None:
    member, _ = await sent(stack)
    for rest in ("", "/mail", "/reveal", "/resend"):
        answer = await Operator(stack).get(path(member, rest))
        assert (answer.status, answer.headers["Location"].partition("?")[0]) == (303, "/ops/sign-in"), rest
