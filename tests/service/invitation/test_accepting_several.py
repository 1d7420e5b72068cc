"""Somebody with an account accepts several invitations at once; nothing is added that they did not tick."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.speaking import PASSWORD, Answer, Cabinet, Dossier, Member, until


@dataclass
class Waiting:
    """A person with an account, a session of theirs, and open invitations from several firms."""

    email: str
    session: str
    link: str
    first: Member
    others: list[Member]
    places: list[tuple[Cabinet, Dossier]]


@pytest.fixture
async def waiting(stack: Stack) -> Waiting:
    before = await stack.new_member()
    await stack.come_in(before)
    members: list[Member] = []
    places: list[tuple[Cabinet, Dossier]] = []
    for number in range(3):
        cabinet = await stack.new_cabinet()
        dossier = await stack.new_dossier(cabinet)
        members.append(await stack.add_member(cabinet, dossier, before.email))
        places.append((cabinet, dossier))
        await stack.mail(before.email, count=number + 2)
        await stack.until_state(members[-1], "sent")
    links = [mail.link for mail in await stack.mails(before.email) if mail.link]
    # Newest first; the link of the first of the three.
    return Waiting(before.email, await stack.session(email=before.email), links[2], members[0], members[1:], places)


async def accept(stack: Stack, waiting: Waiting, *also: str, session: str | None = None) -> Answer:
    body = {"also": list(also)}
    return await stack.invitation.call("POST", f"{waiting.link}/accept", json=body, token=session or waiting.session)


async def dossiers(stack: Stack, waiting: Waiting) -> set[str]:
    return {place["id"] for place in (await stack.me(waiting.session))["dossiers"]}


async def test_what_was_ticked_is_accepted_and_nothing_else(stack: Stack, waiting: Waiting) -> None:
    ticked, left = waiting.others
    told = (await stack.invitation.call("GET", waiting.link, token=waiting.session)).ok()["others"]
    assert {other["id"] for other in told} == {ticked.invitation_id, left.invitation_id}
    done = (await accept(stack, waiting, ticked.invitation_id)).ok()
    assert done["state"] == "active"
    assert done["also"] == [{"id": ticked.invitation_id, "outcome": "accepted"}]
    assert (await stack.detail(ticked))["state"] == "active"
    assert (await stack.detail(left))["state"] == "sent"
    shown = await dossiers(stack, waiting)
    assert {waiting.places[0][1].id, waiting.places[1][1].id} <= shown
    assert waiting.places[2][1].id not in shown
    cabinet, dossier = waiting.places[1]

    async def known_to_the_firm() -> bool:
        path = f"/v1/dossiers/{dossier.id}/members/{ticked.id}"
        member = (await stack.directory.call("GET", path, token=cabinet.key)).ok()
        return member["has_signed_in"] and member["invitation"]["state"] == "active"

    await until(known_to_the_firm)


async def test_a_form_without_script_does_the_same(stack: Stack, waiting: Waiting) -> None:
    (one, _) = waiting.others
    cookies = {"convive_session": waiting.session}
    page = await stack.invitation.page(waiting.link, cookies=cookies)
    assert f'name="also" value="{one.invitation_id}"' in page.text
    assert "checked" not in page.text
    answer = await stack.invitation.post_form(f"{waiting.link}/accept", {"also": one.invitation_id}, cookies=cookies)
    assert answer.status == 303
    assert (await stack.detail(one))["state"] == "active"


async def test_asked_twice_it_is_accepted_once_and_said_again(stack: Stack, waiting: Waiting) -> None:
    ticked = waiting.others[0].invitation_id
    for _ in range(2):
        done = (await accept(stack, waiting, ticked)).ok()
        assert done["also"] == [{"id": ticked, "outcome": "accepted"}]
    assert len(await dossiers(stack, waiting)) == 3


async def test_one_that_is_gone_is_told_and_keeps_no_other_back(stack: Stack, waiting: Waiting) -> None:
    gone, fine = waiting.others
    (await stack.operate(gone, "revoke")).ok(202)
    stranger = await stack.new_member()
    await stack.until_state(stranger, "sent")
    ids = (gone.invitation_id, stranger.invitation_id, str(uuid4()), fine.invitation_id)
    also = (await accept(stack, waiting, *ids)).ok()["also"]
    assert [one["outcome"] for one in also] == ["gone", "gone", "gone", "accepted"]
    assert (await stack.detail(stranger))["state"] == "sent", "somebody else's is never accepted"


async def test_whoever_only_holds_the_link_is_told_of_no_other(stack: Stack, waiting: Waiting) -> None:
    somebody_else = await stack.come_in(await stack.new_member())
    for session in (None, somebody_else):
        answer = await stack.invitation.call("GET", waiting.link, token=session)
        assert answer.ok()["others"] == []
        cookies = {"convive_session": session} if session else None
        assert "also" not in (await stack.invitation.page(waiting.link, cookies=cookies)).text
    assert (await accept(stack, waiting, waiting.others[0].invitation_id, session=somebody_else)).status == 403
    body = {"password": PASSWORD, "also": [waiting.others[0].invitation_id]}
    assert (await stack.invitation.call("POST", f"{waiting.link}/accept", json=body)).status == 422
    assert (await stack.detail(waiting.others[0]))["state"] == "sent"


async def test_an_address_nobody_proved_is_told_of_no_other(stack: Stack, waiting: Waiting) -> None:
    async with stack.documents("directory") as database:
        await database["accounts"].update_one({"_id": waiting.email}, {"$set": {"verified": False}})
    answer = await stack.invitation.call("GET", waiting.link, token=waiting.session)
    assert answer.ok()["others"] == []
