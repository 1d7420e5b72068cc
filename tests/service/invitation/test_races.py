"""People who are quick, impatient or two: exactly one password, and no page that leads nowhere."""

from __future__ import annotations

import asyncio
import re
from urllib.parse import urlsplit

import pytest

from tests.running import Stack
from tests.speaking import PASSWORD, Answer, code_of, until

OTHER_PASSWORD = "quatre lapins bleus au grenier"


@pytest.mark.parametrize("racers", [2, 5])
async def test_of_people_racing_with_one_link_the_one_told_so_has_set_the_password(stack: Stack, racers: int) -> None:
    passwords = [f"la course numéro {number} est lancée" for number in range(racers)]

    async def one_round() -> None:
        member, _ = await stack.invite()
        mail = await stack.mail(member.email)
        answers = await asyncio.gather(*(stack.redeem(mail.link, password) for password in passwords))
        statuses = [answer.status for answer in answers]
        assert sorted(statuses) == [200] + [409] * (racers - 1), [answer.text for answer in answers]
        for password, status in zip(passwords, statuses, strict=True):
            signed_in = await stack.sign_in(member.email, password)
            assert signed_in.status == (201 if status == 200 else 401)
        detail = await stack.until_state(member, "active")
        assert [step["to"] for step in detail["history"] if step["trigger"] == "redeemed"].count("password_set") == 1

    for _ in range(5 if racers == 2 else 3):
        await asyncio.gather(*(one_round() for _ in range(3)))


async def test_people_racing_in_browsers_each_get_a_page_that_says_what_to_do(stack: Stack) -> None:
    for _ in range(3):
        member, _ = await stack.invite()
        mail = await stack.mail(member.email)
        stack.private |= {PASSWORD, OTHER_PASSWORD}
        answers = await asyncio.gather(
            *(
                stack.invitation.post_form(f"{mail.link}/password", {"password": password})
                for password in (PASSWORD, OTHER_PASSWORD)
            )
        )
        winner, loser = sorted(answers, key=lambda answer: answer.status)
        assert (winner.status, loser.status) == (303, 409)
        assert f'href="{stack.directory.url}/sign-in"' in loser.text


async def test_a_double_submit_is_one_redemption_and_both_answers_lead_in(stack: Stack) -> None:
    async with stack.listening("account.redeemed") as heard:
        member, _ = await stack.invite()
        mail = await stack.mail(member.email)
        answers = [answer.ok() for answer in await asyncio.gather(*(stack.redeem(mail.link) for _ in range(4)))]
        assert {answer["state"] for answer in answers} == {"password_set"}
        for answer in answers:
            await stack.session(code=code_of(answer["next"]))
        await stack.until_state(member, "active")
    redeemed = [event for event in heard.events if event["data"]["invitation_id"] == member.invitation_id]
    assert len(redeemed) == 1


async def test_the_same_link_again_with_the_same_password_leads_in_also_later(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.come_in(member)
    await stack.until_state(member, "active")
    mail = (await stack.mails(member.email))[0]
    again = (await stack.redeem(mail.link)).ok()
    assert again["state"] == "active"
    await stack.session(code=code_of(again["next"]))
    other = await stack.redeem(mail.link, OTHER_PASSWORD)
    assert (other.status, other.json()["state"]) == (409, "active")
    # In a browser: a page that says that there is a password already, with the way to sign in.
    second_tab = await stack.invitation.post_form(f"{mail.link}/password", {"password": OTHER_PASSWORD})
    assert second_tab.status == 409
    assert f'href="{stack.directory.url}/sign-in"' in second_tab.text
    assert (await stack.sign_in(member.email, OTHER_PASSWORD)).status == 401


async def test_a_second_tab_that_was_opened_before_is_not_left_alone(stack: Stack) -> None:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    await stack.come_in(member)
    await stack.until_state(member, "active")
    # Everything the other tab still offers, now that it is too late.
    for step, form in (
        ("open", {"proof": "input"}),
        ("renew", {"proof": "input"}),
        ("decline", {"reason": "not_wanted"}),
    ):
        answer = await stack.invitation.post_form(f"{mail.link}/{step}", form)
        assert answer.status == 200, step
        assert "/sign-in" in answer.text, step
        program = await stack.invitation.call("POST", f"{mail.link}/{step}", json=form)
        assert (program.status, program.json()["state"]) == (409, "active"), step
    assert (await stack.detail(member))["state"] == "active"


async def test_a_resend_while_the_page_is_open_is_explained_after_the_form(stack: Stack) -> None:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    assert (await stack.invitation.page(mail.link)).status == 200
    (await stack.operate(member, "resend")).ok(202)
    new = await stack.mail(member.email, count=2)
    late = await stack.invitation.post_form(f"{mail.link}/password", {"password": PASSWORD})
    assert late.status == 410
    assert f'action="/i/{mail.token}/renew"' in late.text
    assert PASSWORD not in late.text
    (await stack.redeem(new.link)).ok()


# --- a browser, step by step --------------------------------------------------------------------------------------


async def follow(stack: Stack, answer: Answer, cookies: dict[str, str]) -> Answer:
    """Follow redirects as a browser does, keeping cookies. Both services have one host name here, so share them."""
    for _ in range(6):
        cookies |= {name: value for name, value in answer.cookies.items() if value}
        for name in [name for name, value in answer.cookies.items() if not value]:
            cookies.pop(name, None)
        if answer.status not in (302, 303):
            return answer
        location = answer.headers["Location"]
        api = stack.directory if location.startswith(stack.directory.url) else stack.invitation
        if location.startswith("/") and not location.startswith("/i/"):
            api = stack.directory
        answer = await api.page(location, cookies=cookies)
    pytest.fail("redirected in circles")


async def test_a_browser_gets_in_in_two_screens_and_its_back_button_leads_somewhere(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    mail = await stack.mail(member.email)
    cookies: dict[str, str] = {}
    page = await stack.invitation.page(mail.link)
    assert (page.status, re.findall(r'<form method="post" action="([^"]+)"', page.text)) == (
        200,
        [f"/i/{mail.token}/password"],
    )
    posted = await stack.invitation.post_form(f"{mail.link}/password", {"password": PASSWORD, "proof": "input"})
    handoff = posted.headers["Location"]
    stack.private.add(code_of(handoff))
    home = await follow(stack, posted, cookies)
    assert home.status == 200
    assert dossier.name in home.text
    assert "convive_session" in cookies
    stack.private.add(cookies["convive_session"])
    await stack.until_state(member, "active")

    # Back to the answer of the form, to the form, and to the handoff: each is a page, none of them an error.
    for address in (f"{mail.link}/password", mail.link, f"{mail.link}/open"):
        back = await follow(stack, await stack.invitation.page(address, cookies=cookies), cookies)
        assert back.status == 200, address
        assert "/sign-in" in back.text
    again = await follow(stack, await stack.directory.page(handoff, cookies=cookies), cookies)
    assert again.status == 200
    assert dossier.name in again.text
    # The form sent once more from the browser's memory signs in once more.
    resent = await stack.invitation.post_form(f"{mail.link}/password", {"password": PASSWORD}, cookies=cookies)
    assert (await follow(stack, resent, cookies)).status == 200


async def test_a_handoff_works_only_in_the_browser_that_redeemed(stack: Stack) -> None:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    posted = await stack.invitation.post_form(f"{mail.link}/password", {"password": PASSWORD})
    handoff = posted.headers["Location"]
    elsewhere = await follow(stack, await stack.directory.page(handoff), {})
    assert urlsplit(handoff).path == "/handoff"
    assert "convive_session" not in elsewhere.cookies
    # It was not used up by that.
    cookies: dict[str, str] = {}
    assert (await follow(stack, posted, cookies)).status == 200
    assert "convive_session" in cookies


async def test_a_crash_between_the_directorys_write_and_ours_is_healed_by_trying_again(stack: Stack) -> None:
    """As if the invitation service had died in between: the directory has decided, and nothing came back."""
    member, data = await stack.invite()
    mail = await stack.mail(member.email)
    claim = {
        "invitation_id": member.invitation_id,
        "link_sequence": 1,
        "source": member.source,
        "member": data["member"],
        "dossier": data["dossier"],
        "cabinet": data["cabinet"],
        "channel": "email",
        "password": PASSWORD,
    }
    lost = await stack.directory.call("POST", "/internal/v1/redemptions", json=claim, token=stack.service_token)
    assert lost.status == 200
    other, again = await stack.redeem(mail.link, OTHER_PASSWORD), await stack.redeem(mail.link, PASSWORD)
    assert (other.status, again.status) == (409, 200)
    await stack.session(code=code_of(again.json()["next"]))
    await stack.until_state(member, "active")


async def test_a_lost_answer_is_healed_by_the_directorys_events_alone(stack: Stack) -> None:
    member, data = await stack.invite()
    await stack.mail(member.email)
    await stack.until_state(member, "sent")
    claim = {
        "invitation_id": member.invitation_id,
        "link_sequence": 1,
        "source": member.source,
        "member": data["member"],
        "dossier": data["dossier"],
        "cabinet": data["cabinet"],
        "channel": "email",
        "password": PASSWORD,
    }
    (await stack.directory.call("POST", "/internal/v1/redemptions", json=claim, token=stack.service_token)).ok()
    detail = await stack.until_state(member, "password_set")
    # What must have happened on the way is recorded as skipped.
    skipped = [step["to"] for step in detail["history"] if (step["detail"] or {}).get("skipped")]
    assert skipped == ["opened"]
    assert (await stack.sign_in(member.email, PASSWORD)).status == 201
    await stack.until_state(member, "active")

    async def granted() -> bool:
        session = (await stack.sign_in(member.email, PASSWORD)).ok(201)["token"]
        return len((await stack.me(session))["grants"]) == 1

    await until(granted)
