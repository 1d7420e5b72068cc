"""The main job, end to end: a member is added, gets a mail, chooses a password, is signed in, and everyone sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from convive_kit.http import rfc3339
from tests.running import Stack
from tests.speaking import code_of, new_address, until


async def test_a_member_added_by_a_cabinet_gets_in_and_everyone_sees_it(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    mail = await stack.mail(member.email)

    seen = (await stack.invitation.call("GET", mail.link)).ok()
    assert (seen["account"], seen["cabinet"]["name"], seen["dossier"]["name"]) == ("new", cabinet.name, dossier.name)
    (await stack.invitation.call("POST", f"{mail.link}/open", json={"proof": "input"})).ok()
    answer = (await stack.redeem(mail.link)).ok()
    assert answer["state"] == "password_set"
    session = await stack.session(code=code_of(answer["next"]))

    assert [place["id"] for place in (await stack.me(session))["dossiers"]] == [dossier.id]
    detail = await stack.until_state(member, "active")
    way = [step["to"] for step in detail["history"] if step["from"] != step["to"]]
    assert way == ["sent", "opened", "password_set", "active"]

    async def shown() -> bool:
        path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
        told = (await stack.directory.call("GET", path, token=cabinet.key)).ok()
        return told["has_signed_in"] and told["invitation"]["state"] == "active"

    await until(shown)


async def test_somebody_added_without_an_invitation_gets_mail_when_they_are_invited(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier, invite_by="none")
    detail = await stack.until_state(member, "pending")
    assert (detail["channel"], detail["due_at"], detail["link_sequence"]) == ("none", None, 0)
    path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
    assert (await stack.directory.call("GET", path, token=cabinet.key)).ok()["invitation"] is None
    assert await stack.mails(member.email) == []
    (await stack.directory.call("POST", f"{path}/invitation", json={"invite_by": "email"}, token=cabinet.key)).ok(202)
    await stack.come_in(member)
    await stack.until_state(member, "active")


async def test_one_address_in_any_case_is_one_account(stack: Stack) -> None:
    address = new_address("jeannette")
    first, _ = await stack.invite(address)
    await stack.come_in(first)
    shouted = address.upper()
    second, _ = await stack.invite(shouted)
    # The inbox does not tell the two apart either.
    mail = await stack.mail(address, count=2)
    assert (await stack.invitation.call("GET", mail.link)).ok()["account"] == "existing"
    (await stack.redeem(mail.link, step="accept")).ok()
    await stack.until_state(second, "active")
    session = await stack.session(email=address.capitalize())
    assert len((await stack.me(session))["grants"]) == 2


async def test_a_renamed_dossier_has_its_new_name_on_the_page_and_in_the_next_mail(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier)
    mail = await stack.mail(member.email)
    assert dossier.name in mail.text
    name = f"Crêperie {dossier.id[:8]}"
    path = f"/v1/dossiers/{dossier.id}"
    (await stack.directory.call("PATCH", path, json={"name": name}, token=cabinet.key)).ok()

    async def learned() -> bool:
        return (await stack.invitation.call("GET", mail.link)).ok()["dossier"]["name"] == name

    await until(learned)
    assert name in (await stack.invitation.page(mail.link)).text
    (await stack.operate(member, "resend")).ok(202)
    assert name in (await stack.mail(member.email, count=2)).text


async def test_operators_find_invitations_by_what_they_know(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    members = [await stack.add_member(cabinet, dossier) for _ in range(5)]
    for member in members:
        await stack.until_state(member, "sent")
    await stack.come_in(members[0])
    await stack.until_state(members[0], "active")
    (await stack.operate(members[1], "revoke")).ok(202)
    # Made within milliseconds: the order is that of the events' arrival, not that of the calls.
    details = [await stack.detail(member) for member in members]
    newest_first = [one["id"] for one in sorted(details, key=lambda one: (one["created_at"], one["id"]), reverse=True)]

    async def found(query: str) -> list[str]:
        ids: list[str] = []
        cursor = ""
        while True:
            path = f"/v1/invitations?dossier_id={dossier.id}&limit=2&{query}{cursor}"
            page = (await stack.invitation.call("GET", path, token=cabinet.key)).ok()
            ids += [item["id"] for item in page["items"]]
            if page["next_cursor"] is None:
                return ids
            cursor = f"&cursor={page['next_cursor']}"

    assert await found("") == newest_first
    assert await found("sort=created_at") == newest_first[::-1]
    assert await found("state=active") == [members[0].invitation_id]
    assert set(await found("state=active&state=revoked")) == {members[0].invitation_id, members[1].invitation_id}
    assert await found(f"email={members[2].email.upper()}") == [members[2].invitation_id]
    assert await found(f"member_id={members[3].id}") == [members[3].invitation_id]
    assert await found("channel=sms") == []
    assert await found("error=requested") == [members[1].invitation_id]
    tomorrow = rfc3339(datetime.now(UTC) + timedelta(days=1))
    assert await found(f"created_before={tomorrow}") == newest_first
    assert await found(f"created_after={tomorrow}") == []
    assert await found("stuck_for=PT1H") == []
    # No step for so long, in a state that is not final.
    over = {members[0].invitation_id, members[1].invitation_id}
    assert await found("stuck_for=PT0.01S") == [id for id in newest_first if id not in over]
