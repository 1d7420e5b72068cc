"""What a link does, and what it must not do: looking changes nothing, a forged one tells nothing, a dead one helps."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import pytest

from convive_kit.http import rfc3339
from invitation.lifecycle.links import Link, Links
from tests.running import Stack
from tests.service.invitation.profiling import profiled
from tests.speaking import PASSWORD, Answer, Mail, Member, code_of, new_client, until

STEPS = ("open", "password", "accept", "renew", "decline")


async def everything_known(stack: Stack, member: Member) -> list[Any]:
    """All that both databases hold of a member's way in, but for events that are being published right now."""
    passing = {"outbox": 0, "writes": 0}
    async with stack.documents("invitation") as invitation, stack.documents("directory") as directory:
        return [
            await invitation["invitations"].find_one({"_id": member.invitation_id}, passing),
            await directory["accounts"].find_one({"_id": member.email}, passing),
            await directory["members"].find_one({"_id": member.id}, passing),
        ]


async def expire(stack: Stack, member: Member) -> None:
    """Let the link's life end, by an operator's word."""
    until_then = rfc3339(datetime.now(UTC) + timedelta(seconds=1))
    (await stack.operate(member, "extend", until=until_then)).ok(202)
    await stack.until_state(member, "expired")


async def fresh(stack: Stack) -> tuple[Member, str]:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    return member, mail.link


async def of_somebody_with_an_account(stack: Stack) -> tuple[Member, str]:
    before, _ = await stack.invite()
    await stack.come_in(before)
    member, _ = await stack.invite(before.email)
    mail = await stack.mail(before.email, count=2)
    await stack.until_state(member, "sent")
    return member, mail.link


async def superseded(stack: Stack) -> tuple[Member, str]:
    member, link = await fresh(stack)
    (await stack.operate(member, "resend")).ok(202)
    await stack.mail(member.email, count=2)
    await stack.until_state(member, "sent")
    return member, link


async def expired(stack: Stack) -> tuple[Member, str]:
    member, link = await fresh(stack)
    await expire(stack, member)
    return member, link


async def revoked(stack: Stack) -> tuple[Member, str]:
    member, link = await fresh(stack)
    (await stack.operate(member, "revoke")).ok(202)
    return member, link


async def declined(stack: Stack) -> tuple[Member, str]:
    member, link = await fresh(stack)
    (await stack.invitation.call("POST", f"{link}/decline", json={"reason": "unknown_firm"})).ok()
    return member, link


async def used_up(stack: Stack) -> tuple[Member, str]:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    await stack.come_in(member)
    await stack.until_state(member, "active")
    return member, mail.link


ALL_KINDS: list[Callable[[Stack], Any]] = [
    fresh,
    of_somebody_with_an_account,
    superseded,
    expired,
    revoked,
    declined,
    used_up,
]


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_looking_changes_nothing_and_leads_to_a_page(stack: Stack, kind: Callable[[Stack], Any]) -> None:
    member, link = await kind(stack)
    before = await everything_known(stack, member)
    looks: list[Answer] = []
    for path in (link, f"{link}?utm_source=mail&lang=en", *(f"{link}/{step}" for step in STEPS)):
        looks += [
            await stack.invitation.page(path, follow=True),
            await stack.invitation.call("GET", path, follow=True),
            await stack.invitation.call("GET", path, accept="*/*"),
            await stack.invitation.call("HEAD", path, accept="*/*"),
            await stack.invitation.call("HEAD", path, accept="text/html", follow=True),
        ]
    assert await everything_known(stack, member) == before
    assert {answer.status for answer in looks} <= {200, 303, 410, 409}


@pytest.mark.parametrize("kind", ALL_KINDS)
async def test_forms_that_nobody_filled_in_change_nothing(stack: Stack, kind: Callable[[Stack], Any]) -> None:
    member, link = await kind(stack)
    before = await everything_known(stack, member)
    answers: list[Answer] = []
    empty: tuple[dict[str, str], ...] = ({}, {"password": "", "proof": "", "reason": ""})
    for step in STEPS:
        answers += [await stack.invitation.post_form(f"{link}/{step}", form) for form in empty]
        answers.append(await stack.invitation.post_form(f"{link}/{step}", {}, follow=True))
        answers.append(await stack.invitation.call("POST", f"{link}/{step}", accept="*/*"))
    answers.append(await stack.invitation.call("POST", link, accept="*/*"))
    assert await everything_known(stack, member) == before
    assert len(await stack.mails(member.email)) <= 2
    # 422 is the page that asks which answer to “this isn't me” they meant.
    assert {answer.status for answer in answers} <= {200, 303, 405, 409, 410, 422}
    assert all(answer.status < 500 and answer.headers["Cache-Control"] == "no-store" for answer in answers)


async def test_the_first_input_of_a_person_is_what_opens(stack: Stack) -> None:
    member, link = await fresh(stack)
    assert (await stack.invitation.call("POST", f"{link}/open", json={})).status == 422
    assert (await stack.invitation.call("POST", f"{link}/open", json={"proof": "none"})).status == 422
    assert (await stack.detail(member))["state"] == "sent"
    assert (await stack.invitation.call("POST", f"{link}/open", json={"proof": "input"})).ok() == {"state": "opened"}
    again = await stack.invitation.call("POST", f"{link}/open", json={"proof": "input"})
    assert again.ok() == {"state": "opened"}
    assert (await stack.detail(member))["state"] == "opened"


# --- forged tokens ------------------------------------------------------------------------------------------------


def changed(token: str, at: int) -> str:
    """The token with another character there."""
    other = "A" if token[at] != "A" else "B"
    return token[:at] + other + token[at + 1 :]


def forgeries(stack: Stack, mail: Mail, other: Mail, member: Member) -> dict[str, str]:
    token = mail.token
    payload, _, signature = token.partition(".")
    other_payload, _, other_signature = other.token.partition(".")
    strange = Links([secrets.token_urlsafe(32)], base_url="").token(Link(member.invitation_id, 1))
    unknown = Links([secrets.token_urlsafe(32)], base_url="").token(Link(str(uuid4()), 1))
    return {
        "random": secrets.token_urlsafe(32),
        "cut by one": token[:-1],
        "cut at the dot": f"{payload}.",
        "payload alone": payload,
        "extended": f"{token}A",
        "extended by padding": f"{token}=",
        "upper case": token.upper(),
        "case swapped": token.swapcase(),
        "last character": changed(token, -1),
        "next to last character": changed(token, -2),
        "first character": changed(token, 0),
        "last of the payload": changed(token, len(payload) - 1),
        "signature of another link": f"{payload}.{other_signature}",
        "payload of another link": f"{other_payload}.{signature}",
        "signed with another key": strange,
        "unknown, signed with another key": unknown,
        "the id itself": member.invitation_id,
        "long": "A" * 4000,
        "not ASCII": quote("é" * 20),
        "nul": f"{token[:-1]}%00",
        "line break": f"{token}%0A",
        "space": f"{token}%20",
    }


async def test_forged_tokens_are_alike_and_cost_no_database_command(stack: Stack) -> None:
    member, _ = await stack.invite()
    other, _ = await stack.invite()
    mail, other_mail = await stack.mail(member.email), await stack.mail(other.email)
    await stack.until_state(member, "sent")
    await stack.until_state(other, "sent")
    tokens = forgeries(stack, mail, other_mail, member)
    programs: dict[str, bytes] = {}
    people: dict[str, bytes] = {}
    async with profiled(stack) as commands:
        for name, token in tokens.items():
            program = await stack.invitation.call("GET", f"/i/{token}")
            person = await stack.invitation.page(f"/i/{token}")
            posted = await stack.invitation.call("POST", f"/i/{token}/password", json={"password": PASSWORD})
            assert (program.status, person.status, posted.status) == (404, 404, 404), name
            assert posted.body == program.body
            programs[name], people[name] = program.body, person.body
        asked = await commands()
        await stack.invitation.call("GET", mail.link)
        control = await commands()
    assert len(set(programs.values())) == 1, programs
    assert len(set(people.values())) == 1
    assert asked == []
    assert control, "the profiler saw nothing even of a genuine link"


async def test_a_flood_of_forgeries_is_slowed_down_and_hurts_nobody_else(stack: Stack) -> None:
    _, link = await fresh(stack)
    flooding = {"X-Forwarded-For": new_client()}

    async def forge() -> Answer:
        return await stack.invitation.call("GET", f"/i/{secrets.token_urlsafe(30)}", headers=flooding)

    statuses = [(await forge()).status for _ in range(40)]
    assert statuses[:30] == [404] * 30
    assert set(statuses[30:]) == {429}
    refused = await forge()
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    page = await stack.invitation.page("/i/nonsense", headers=flooding)
    assert (page.status, page.headers["Content-Type"]) == (429, "text/html; charset=utf-8")
    # Whoever shares that address (an office, say) still gets in, and others are not slowed.
    assert (await stack.invitation.call("GET", link, headers=flooding)).status == 200
    assert (await stack.invitation.call("GET", f"/i/{secrets.token_urlsafe(30)}")).status == 404


# --- links that are over ------------------------------------------------------------------------------------------


def forms(page: Answer) -> list[str]:
    return re.findall(r'action="([^"]+)"', page.text)


async def test_a_superseded_link_says_so_and_can_send_the_living_one_again(stack: Stack) -> None:
    member, old = await superseded(stack)
    live = (await stack.mails(member.email))[0]
    assert (await stack.invitation.call("GET", old)).json()["reason"] == "superseded"
    page = await stack.invitation.page(old)
    assert page.status == 410
    assert forms(page) == [f"/i/{old.rpartition('/')[2]}/renew"]
    assert member.email not in page.text
    sent = await stack.invitation.post_form(f"{old}/renew", {"proof": "input"})
    assert sent.status == 200
    assert member.email not in sent.text
    again = await stack.mail(member.email, count=3)
    # The living link is sent again, not killed; as a message of its own, so that no mailbox takes it for a duplicate.
    assert again.link == live.link
    ids = {re.search(r"(?im)^message-id: *(\S+)", mail.source)[1] for mail in await stack.mails(member.email)}  # type: ignore[index]
    assert len(ids) == 3
    (await stack.redeem(live.link)).ok()


async def test_an_expired_link_is_renewed_by_the_person_to_the_address_on_record(stack: Stack) -> None:
    async with stack.listening("invitation.*") as heard:
        member, old = await expired(stack)
        await heard.until("invitation.expired", member.id)
    assert (await stack.invitation.call("GET", old)).json()["reason"] == "expired"
    page = await stack.invitation.page(old)
    assert page.status == 410
    assert member.email not in page.text
    refused = await stack.invitation.call("POST", f"{old}/password", json={"password": PASSWORD})
    assert (refused.status, refused.json()["reason"]) == (410, "expired")
    assert (await stack.invitation.post_form(f"{old}/renew", {"proof": "input"})).status == 200
    new = await stack.mail(member.email, count=2)
    assert new.link != old
    detail = await stack.until_state(member, "sent")
    assert detail["link_sequence"] == 2
    assert (await stack.invitation.call("GET", old)).json()["reason"] == "superseded"
    await stack.session(code=code_of((await stack.redeem(new.link)).ok()["next"]))
    await stack.until_state(member, "active")


async def test_an_expired_link_works_again_when_it_is_extended(stack: Stack) -> None:
    async with stack.listening("invitation.*") as heard:
        member, link = await expired(stack)
        (await stack.operate(member, "extend", until=rfc3339(datetime.now(UTC) + timedelta(days=3)))).ok(202)
        await heard.until("invitation.extended", member.id)
    assert (await stack.detail(member))["state"] == "sent"
    assert (await stack.invitation.call("GET", link)).status == 200
    (await stack.redeem(link)).ok()
    assert len(await stack.mails(member.email)) == 1


async def test_a_revoked_link_opens_nothing_and_offers_nothing(stack: Stack) -> None:
    async with stack.listening("invitation.*") as heard:
        member, link = await revoked(stack)
        await heard.until("invitation.revoked", member.id)
    page = await stack.invitation.page(link)
    assert page.status == 410
    assert forms(page) == []
    renewed = await stack.invitation.post_form(f"{link}/renew", {"proof": "input"})
    assert renewed.status == 410
    assert len(await stack.mails(member.email)) == 1
    again = await stack.operate(member, "resend")
    assert (again.status, again.json()["state"]) == (409, "revoked")


async def test_declining_tells_the_firm_and_a_new_link_may_follow(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    async with stack.listening("invitation.*") as heard:
        member = await stack.add_member(cabinet, dossier)
        mail = await stack.mail(member.email)
        question = await stack.invitation.page(f"{mail.link}/decline")
        assert question.status == 200
        assert forms(question) == [f"/i/{mail.token}/decline"]
        answer = await stack.invitation.post_form(f"{mail.link}/decline", {"reason": "wrong_person"})
        assert answer.status == 200
        told = await heard.until("invitation.declined", member.id)
        assert told["data"]["state"] == "declined"
    history = (await stack.detail(member))["history"]
    assert history[-1]["detail"] == {"reason": "wrong_person"}

    async def shown() -> bool:
        path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
        return (await stack.directory.call("GET", path, token=cabinet.key)).ok()["invitation"]["state"] == "declined"

    await until(shown)
    assert (await stack.invitation.call("GET", mail.link)).json()["reason"] == "declined"
    assert (await stack.redeem(mail.link)).status == 410
    path = f"/v1/dossiers/{dossier.id}/members/{member.id}/invitation"
    (await stack.directory.call("POST", path, json={"invite_by": "email"}, token=cabinet.key)).ok(202)
    (await stack.redeem((await stack.mail(member.email, count=2)).link)).ok()


async def test_an_operators_resend_kills_the_link_before(stack: Stack) -> None:
    member, old = await fresh(stack)
    (await stack.operate(member, "resend", reason="lost in the mailbox")).ok(202)
    new = await stack.mail(member.email, count=2)
    assert (await stack.redeem(old)).status == 410
    (await stack.redeem(new.link)).ok()
    resends = [step for step in (await stack.detail(member))["history"] if step["trigger"] == "resend"]
    assert [(step["actor"], step["detail"]) for step in resends] == [("ops", {"reason": "lost in the mailbox"})]
    after = await stack.operate(member, "resend")
    assert (after.status, after.json()["state"]) == (409, "password_set")


async def test_a_resend_asked_for_on_the_bus_counts_once_per_event(stack: Stack) -> None:
    member, _ = await fresh(stack)
    request = {"invitation_id": member.invitation_id, "reason": "asked by telephone"}
    await stack.publish("invitation.resend_requested", member.id, request, copies=5)
    await stack.mail(member.email, count=2)
    await stack.until_state(member, "sent")
    revoke = {"invitation_id": member.invitation_id}
    await stack.publish("invitation.revoke_requested", member.id, revoke, copies=5)
    detail = await stack.until_state(member, "revoked")
    assert detail["link_sequence"] == 2
    assert len(await stack.mails(member.email)) == 2
