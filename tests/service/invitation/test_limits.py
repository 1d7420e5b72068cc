"""Rate limits are shared by all processes, say how long to wait, and tell nothing of who has an account."""

from __future__ import annotations

import asyncio
import statistics
import time
from itertools import cycle

from invitation.pages.handlers import POSTS_PER_LINK, RENEWALS_PER_LINK
from tests.running import Stack
from tests.speaking import PASSWORD, Answer, Api, new_address

WRONG = "quatre lapins bleus au grenier"


def amount(limit: str) -> int:
    return int(limit.partition("/")[0])


def is_told_to_wait(answer: Answer, at_most: int) -> None:
    assert answer.status == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= at_most


async def test_posts_of_one_link_are_counted_by_all_processes_together(stack: Stack) -> None:
    member, _ = await stack.invite()
    other, _ = await stack.invite()
    mail, other_mail = await stack.mail(member.email), await stack.mail(other.email)
    async with stack.another("invitation", role="web") as second:
        processes = cycle([stack.invitation, second])

        async def post(api: Api) -> Answer:
            return await api.call("POST", f"{api.url}/i/{mail.token}/open", json={"proof": "input"})

        answers = [await post(next(processes)) for _ in range(amount(POSTS_PER_LINK) + 6)]
        passed = [answer for answer in answers if answer.status == 200]
        assert len(passed) == amount(POSTS_PER_LINK)
        for answer in answers[len(passed) :]:
            is_told_to_wait(answer, 60)
        # A person reads a page; looking is not counted; other invitations go on.
        page = await second.post_form(f"{second.url}/i/{mail.token}/password", {"password": PASSWORD})
        is_told_to_wait(page, 60)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert (await stack.invitation.page(mail.link)).status == 200
        assert (await stack.redeem(other_mail.link)).status == 200
        # And nothing was set meanwhile.
        assert (await stack.sign_in(member.email, PASSWORD)).status == 401


async def test_renewals_of_one_invitation_are_few_whoever_is_asked(stack: Stack) -> None:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    async with stack.another("invitation", role="web") as second:
        processes = cycle([stack.invitation, second])
        most = amount(RENEWALS_PER_LINK)
        for number in range(most):
            api = next(processes)
            (await api.call("POST", f"{api.url}/i/{mail.token}/renew", json={})).ok()
            await stack.mail(member.email, count=number + 2)
            await stack.until_state(member, "sent")
        for _ in range(2):
            api = next(processes)
            is_told_to_wait(await api.call("POST", f"{api.url}/i/{mail.token}/renew", json={}), 3600)
            page = await api.post_form(f"{api.url}/i/{mail.token}/renew", {"proof": "input"})
            is_told_to_wait(page, 3600)
    await asyncio.sleep(0.5)
    assert len(await stack.mails(member.email)) == most + 1
    # The link itself goes on working.
    assert (await stack.redeem(mail.link)).status == 200


async def test_attempts_on_one_account_are_counted_by_all_processes_together(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.come_in(member)
    second_file, _ = await stack.invite(member.email)
    link = (await stack.mail(member.email, count=2)).link
    async with stack.another("directory", role="web") as second:
        processes = cycle([stack.directory, second])
        # Each from an address that nobody else has.
        body = {"email": member.email, "password": WRONG}
        statuses = [(await next(processes).call("POST", "/v1/sessions", json=body)).status for _ in range(30)]
        assert 20 <= statuses.count(401) <= 20 + 2 * 4, "a few a minute after those"
        assert statuses[-1] == 429
        right = {"email": member.email, "password": PASSWORD}
        for api in (stack.directory, second):
            is_told_to_wait(await api.call("POST", "/v1/sessions", json=right), 60)
            page = await api.post_form("/sign-in", right)
            is_told_to_wait(page, 60)
        assert (await second.call("POST", "/v1/sessions", json={**body, "email": new_address()})).status == 401
        # The link has limits of its own, or an attack would keep people from what they were invited to.
        assert [(await stack.redeem(link, WRONG, step="accept")).status for _ in range(12)].count(409) == 10
        is_told_to_wait(await stack.redeem(link, step="accept"), 900)
        assert (await stack.detail(second_file))["state"] == "sent"


async def test_an_owner_at_a_known_browser_signs_in_while_an_attacker_guesses(stack: Stack) -> None:
    member = await stack.new_member()
    await stack.come_in(member)
    right = {"email": member.email, "password": PASSWORD}
    first = await stack.directory.post_form("/sign-in", right)
    known = {"convive_known": first.cookies["convive_known"]}
    wrong = {"email": member.email, "password": WRONG}
    hammered = [await stack.directory.post_form("/sign-in", wrong) for _ in range(50)]
    assert hammered[-1].status == 429
    assert (await stack.directory.post_form("/sign-in", right)).status == 429
    assert (await stack.directory.post_form("/sign-in", right, cookies=known)).status == 303


async def test_an_unknown_address_and_a_wrong_password_are_alike_in_text_and_time(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.come_in(member)
    unknown = new_address()
    times: dict[str, list[float]] = {member.email: [], unknown: []}
    texts: set[tuple[int, bytes, str]] = set()
    for _ in range(14):
        for email in times:
            started = time.perf_counter()
            answer = await stack.directory.call("POST", "/v1/sessions", json={"email": email, "password": WRONG})
            times[email].append(time.perf_counter() - started)
            texts.add((answer.status, answer.body, answer.headers["Content-Type"]))
    assert len(texts) == 1
    assert next(iter(texts))[0] == 401
    known, stranger = (statistics.median(taken) for taken in times.values())
    # Generous, for a busy machine: without a hash to compare it would be a tenth.
    assert 0.5 < known / stranger < 2, times
    pages = [
        (await stack.directory.post_form("/sign-in", {"email": email, "password": WRONG})).text.replace(email, "…")
        for email in times
    ]
    assert pages[0] == pages[1]


async def test_a_link_tells_nobody_but_its_holder_whether_there_is_an_account(stack: Stack) -> None:
    """The only call that tells is the one between the services."""
    member, _ = await stack.invite()
    await stack.come_in(member)
    path = f"/internal/v1/accounts?email={member.email}"
    assert (await stack.directory.call("GET", path)).status == 401
    assert (await stack.directory.call("GET", path, token=stack.ops_token)).status == 401
    known = (await stack.directory.call("GET", path, token=stack.service_token)).ok()
    assert known == {"exists": True, "verified": True}
    body = {"emails": ["nobody@example.com", member.email]}
    assert (await stack.directory.call("POST", "/internal/v1/accounts", json=body)).status == 401
    several = (await stack.directory.call("POST", "/internal/v1/accounts", json=body, token=stack.service_token)).ok()
    assert several == {"accounts": [{"exists": False, "verified": False}, known]}
