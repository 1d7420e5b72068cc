"""The main job, end to end: a member is added, gets a mail, chooses a password, is signed in, and everyone sees it."""

from __future__ import annotations

from tests.running import Stack, code_of, until


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
