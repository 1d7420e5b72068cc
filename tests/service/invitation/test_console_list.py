"""The console's list: filters that are links, pages, saved views, and no name or address of anybody."""

from __future__ import annotations

import re
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.service.invitation.console import Operator, operator, words
from tests.speaking import LAST_NAME, Answer, Cabinet, Member, until

_LINK = re.compile(r'href="/ops/invitations/([0-9a-f-]{36})"')


def shown(page: Answer) -> list[str]:
    return _LINK.findall(page.text)


def link_to(page: Answer, rel: str) -> str:
    found = re.search(rf'href="([^"]+)" rel="{rel}"', page.text)
    return found[1].replace("&amp;", "&") if found else ""


async def people(stack: Stack, number: int) -> tuple[Cabinet, list[Member]]:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    members: list[Member] = []
    for _ in range(number):
        # One after the other: two that were taken in within one millisecond have no order by time.
        members.append(await stack.add_member(cabinet, dossier))
        await stack.until_state(members[-1], "sent")
    return cabinet, members


async def test_filters_stand_in_the_address_and_what_is_empty_does_not(stack: Stack) -> None:
    one = await operator(stack, "reader")
    cabinet, (first, second) = await people(stack, 2)
    (await stack.operate(second, "revoke")).ok(202)

    filled = urlencode({"q": "", "state": "revoked", "cabinet_id": cabinet.id, "created_after": "2026-01-01"})
    tidied = await one.get(f"/ops/invitations?{filled}&error=&limit=")
    assert tidied.status == 303
    page = await one.follow(tidied)

    assert shown(page) == [second.invitation_id]
    assert "created_after=2026-01-01T00:00:00Z" in tidied.headers["Location"]
    for asked in (f"email={first.email}", f"member_id={first.id}", f"q={first.email}", "error=nothing+such"):
        page = await one.get(f"/ops/invitations?cabinet_id={cabinet.id}&{asked}")
        assert shown(page) == ([] if "error" in asked else [first.invitation_id]), asked


async def test_pages_go_forth_and_back_and_keep_their_size(stack: Stack) -> None:
    one = await operator(stack, "reader")
    cabinet, members = await people(stack, 5)
    newest_first = [member.invitation_id for member in reversed(members)]
    for sort, expected in (("", newest_first), ("&sort=created_at", newest_first[::-1])):
        first = await one.get(f"/ops/invitations?cabinet_id={cabinet.id}&limit=2{sort}")
        second = await one.get(link_to(first, "next"))
        third = await one.get(link_to(second, "next"))
        assert [*shown(first), *shown(second), *shown(third)] == expected
        assert (link_to(first, "prev"), link_to(third, "next")) == ("", "")
        assert shown(await one.get(link_to(third, "prev"))) == shown(second)
        back = await one.get(link_to(await one.get(link_to(third, "prev")), "prev"))
        assert shown(back) == shown(first)
        assert shown(await one.get(link_to(back, "next"))) == shown(second)


async def test_the_list_shows_nobodys_name_or_address(stack: Stack) -> None:
    one = await operator(stack, "admin")
    cabinet, (member,) = await people(stack, 1)
    page = await one.get(f"/ops/invitations?cabinet_id={cabinet.id}")
    assert shown(page) == [member.invitation_id]
    assert "J. Q." in words(page)
    assert "j•••@example.com" in words(page)
    assert LAST_NAME not in page.text
    assert member.email not in page.text


@pytest.mark.parametrize(
    ("query", "field"),
    [("state=gone", "state.0"), ("cursor=x", "cursor"), ("before=x", "cursor"), ("nope=1", "nope")],
)
async def test_a_filter_that_does_not_fit_is_said_above_the_list(stack: Stack, query: str, field: str) -> None:
    page = await (await operator(stack, "reader")).get(f"/ops/invitations?{query}")
    assert (page.status, f"<code>{field}</code>" in page.text) == (422, True), words(page)


async def test_a_view_is_saved_by_its_name_for_whoever_saved_it(stack: Stack) -> None:
    name = f"marc.{uuid4().hex[:8]}"
    one = await operator(stack, "reader", name)
    page = await one.get("/ops/invitations?state=failed&q=martin&limit=100")
    assert "martin" not in re.findall(r'name="query" value="([^"]*)"', page.text)[0]
    saved = await one.post("/ops/views", name="Mine & failed", query="state=failed&q=martin&email=a%40b.fr&limit=100")

    page = await one.follow(saved)

    assert saved.headers["Location"] == "/ops/invitations?state=failed&limit=100&done=saved"
    assert 'href="/ops/invitations?state=failed&amp;limit=100" aria-current="true">Mine &amp; failed<' in page.text
    elsewhere = Operator(stack)
    token = (await stack.new_ops_token("reader", name))["token"]
    assert "Mine & failed" in words(await elsewhere.follow(await elsewhere.sign_in(token)))
    assert "Mine & failed" not in words(await (await operator(stack, "reader")).get("/ops/invitations"))

    page = await one.follow(await one.post("/ops/views/remove", name="Mine & failed"))
    assert "Mine & failed" not in words(page)


async def test_the_list_is_carried_out_and_that_is_recorded(stack: Stack) -> None:
    name = f"zoe.{uuid4().hex[:8]}"
    one = await operator(stack, "reader", name)
    cabinet, (member,) = await people(stack, 1)
    page = await one.get(f"/ops/invitations?cabinet_id={cabinet.id}")
    link = next(link for link in re.findall(r'href="([^"]+)" download', page.text) if link.endswith("csv"))
    answer = await one.get(link.replace("&amp;", "&"))
    assert (answer.status, member.email in answer.text) == (200, True)
    path = f"/v1/audit?actor=ops:{name}"

    async def recorded() -> bool:
        # What came of it is noted once the last line is out of the house.
        (record,) = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["items"]
        return (record["action"], record["after"]) == ("invitations.export", {"rows": 1})

    await until(recorded)
