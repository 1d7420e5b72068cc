"""A person is forgotten, wherever they were known; what happened stays, and names nobody."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.speaking import PASSWORD, Member, new_address, until, user_data
from tests.stacks import OwnStack

REASON = "asked by letter"


class Somebody:
    """A person whose name and address stand nowhere else."""

    def __init__(self) -> None:
        token = uuid4().hex[:10]
        self.email = new_address(f"mail{token}")
        self.names = {"first_name": f"Prénom{token}", "last_name": f"Nom{token}"}
        self.phone = f"+33612{int(token[:7], 16) % 10**6:06d}"

    @property
    def words(self) -> tuple[str, ...]:
        return (self.email, *self.names.values(), self.phone)


async def erase(stack: Stack, **whose: Any) -> dict[str, Any]:
    begun = await stack.invitation.call("POST", "/v1/erasures", json={"reason": REASON, **whose}, token=stack.ops_token)
    path = f"/v1/erasures/{begun.ok(202)['id']}"

    async def over() -> Any:
        erasure = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()
        return erasure if erasure["status"] != "running" else None

    erasure = await until(over, what="the erasure is over")
    assert erasure["status"] == "done"
    return erasure


async def places(stack: Stack, words: tuple[str, ...]) -> set[str]:
    """The collections of both databases in which one of these words stands."""
    found: set[str] = set()
    for service in ("invitation", "directory"):
        async with stack.documents(service) as database:
            for name in await database.list_collection_names():
                async for document in database[name].find({}):
                    text = str(document).casefold() + _inside(document)
                    found |= {f"{service}.{name}" for word in words if word.casefold() in text}
    return found


def _inside(document: dict[str, Any]) -> str:
    body = document.get("body")
    return body.decode("utf-8", "replace").casefold() if isinstance(body, bytes) else ""


async def nowhere(stack: Stack, words: tuple[str, ...]) -> None:
    async def gone() -> bool:
        return not await places(stack, words)

    try:
        await until(gone, within=20)
    except AssertionError:
        raise AssertionError(f"still in {await places(stack, words)}") from None


async def test_a_person_is_erased_from_both_services_and_what_happened_stays(stack: Stack) -> None:
    who = Somebody()
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    own = await stack.add_member(cabinet, dossier, who.email, phone=who.phone, **who.names)
    session = await stack.come_in(own)
    await stack.until_state(own, "active")
    foreign, data = await stack.invite(who.email, **who.names)
    link = (await stack.mail(who.email, count=2)).link
    await stack.until_state(foreign, "sent")
    (await stack.operate(foreign, "resend", reason=f"{who.names['first_name']} called")).ok(202)
    link = (await stack.mail(who.email, count=3)).link
    await stack.until_state(foreign, "sent")
    bad = user_data(str(uuid4()), who.email)
    await stack.publish("user.created", str(uuid4()), {**bad, "cabinet": {}})

    async def parked() -> bool:
        return "invitation.parked" in await places(stack, (who.email,))

    await until(parked)
    assert {"invitation.invitations", "directory.members", "directory.accounts", "invitation.audit"} <= await places(
        stack, who.words
    )

    async with stack.documents("directory") as database:
        waiting = {"kind": "password_reset", "to": who.email, "due_at": datetime.now(UTC) + timedelta(days=1)}
        await database["letters"].insert_one({"_id": str(uuid4()), **waiting})
    async with stack.listening("invitation.erased", "invitation.revoked") as heard:
        erasure = await erase(stack, email=who.email)

        async def told() -> bool:
            return sum(event["type"] == "convive.invitation.erased.v1" for event in heard.events) == 2

        await until(told)

    assert (erasure["matched"], erasure["done"], erasure["parked"]) == (2, 2, 1)
    assert not any(word in json.dumps(heard.events) for word in who.words)
    await nowhere(stack, who.words)
    # What happened stays, without a word that somebody said.
    detail = await stack.detail(foreign)
    assert (detail["state"], detail["reason"], detail["member"]["email"]) == ("revoked", "erased", "")
    assert [step["trigger"] for step in detail["history"]].count("resend") == 1
    assert not any(step["detail"] for step in detail["history"])
    assert (await stack.detail(own))["state"] == "active"
    # No way in is left.
    assert (await stack.redeem(link)).json()["reason"] == "revoked"
    assert (await stack.sign_in(who.email, PASSWORD)).status == 401
    assert (await stack.directory.call("GET", "/v1/me", token=session)).status == 401
    path = f"/v1/dossiers/{dossier.id}/members"
    assert (await stack.directory.call("GET", path, token=cabinet.key)).ok()["items"] == []
    # What is said of the member later brings nobody back.
    await stack.publish("user.updated", foreign.id, {**data, "invite_by": "email"}, sequence=99)

    async def ignored() -> bool:
        history = (await stack.detail(foreign))["history"]
        return history[-1]["detail"] == {"ignored": "erased"}

    await until(ignored)
    await nowhere(stack, who.words)
    # The firm may invite the same person anew: that is another matter.
    again = await stack.add_member(cabinet, dossier, who.email)
    await stack.until_state(again, "sent")


async def test_one_place_is_erased_and_the_others_of_the_person_stay(stack: Stack) -> None:
    who = Somebody()
    cabinet = await stack.new_cabinet()
    first = await stack.add_member(cabinet, await stack.new_dossier(cabinet), who.email, **who.names)
    await stack.come_in(first)
    dossier = await stack.new_dossier(cabinet)
    second = await stack.add_member(cabinet, dossier, who.email, **who.names)
    mail = await stack.mail(who.email, count=2)
    (await stack.redeem(mail.link, step="accept")).ok()
    await stack.until_state(second, "active")

    await erase(stack, member_id=first.id)

    async def let_go() -> bool:
        token = (await stack.sign_in(who.email, PASSWORD)).ok(201)["token"]
        me = (await stack.directory.call("GET", "/v1/me", token=token)).ok()
        return [place["id"] for place in me["dossiers"]] == [dossier.id]

    await until(let_go, what="only the other place is left")
    assert (await stack.detail(first))["member"]["last_name"] == ""
    assert (await stack.detail(second))["member"]["email"] == who.email


async def test_who_was_only_ever_updated_and_never_announced_is_erased_too(stack: Stack) -> None:
    who = Somebody()
    member = Member(str(uuid4()), who.email, "/tests/payroll")
    await stack.publish("user.updated", member.id, user_data(member.id, who.email, first_name=who.names["first_name"]))

    async def held() -> bool:
        return "invitation.invitations" in await places(stack, who.words)

    await until(held)

    assert (await erase(stack, email=who.email))["done"] == 1

    await nowhere(stack, who.words)


async def test_a_dry_run_counts_and_erases_nothing(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")

    erasure = await erase(stack, email=member.email, dry_run=True)

    assert (erasure["matched"], erasure["done"]) == (1, 0)
    assert (await stack.detail(member))["member"]["email"] == member.email
    async with stack.documents() as database:
        kept = await database["erasures"].find_one({"_id": erasure["id"]})
    assert member.email not in str(kept)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": REASON}, "email"),
        ({"reason": REASON, "email": "a@example.com", "member_id": str(uuid4())}, "email"),
        ({"email": "a@example.com"}, "reason"),
        ({"reason": REASON, "email": "nonsense"}, "email"),
        ({"reason": REASON, "member_id": "nonsense"}, "member_id"),
    ],
)
async def test_an_erasure_says_whose_and_why(stack: Stack, body: dict[str, str], field: str) -> None:
    for path in ("/v1/erasures", "/v1/personal-data"):
        answer = await stack.invitation.call("POST", path, json=body, token=stack.ops_token)
        assert (answer.status, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


async def test_all_that_is_kept_of_a_person_is_shown_and_that_it_was_is_recorded(stack: Stack) -> None:
    who = Somebody()
    cabinet = await stack.new_cabinet()
    member = await stack.add_member(cabinet, await stack.new_dossier(cabinet), who.email, phone=who.phone, **who.names)
    await stack.come_in(member)
    await stack.until_state(member, "active")

    body = {"email": who.email, "reason": REASON}
    answer = await stack.invitation.call("POST", "/v1/personal-data", json=body, token=stack.ops_token)
    shown = answer.ok()

    (invitation,) = shown["invitations"]
    assert invitation["member"]["last_name"] == who.names["last_name"]
    assert [step["to"] for step in invitation["history"]][-1] == "active"
    assert shown["directory"]["account"]["email"] == who.email
    assert [kept["phone"] for kept in shown["directory"]["members"]] == [who.phone]
    assert len(shown["directory"]["sessions"]) == 1
    assert "argon2" not in answer.text
    path = "/v1/audit?action=person.export"
    record = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["items"][0]
    assert (record["reason"], record["after"]) == (REASON, {"invitations": [member.invitation_id]})


async def somebody_removed(stack: Stack) -> tuple[Somebody, Member]:
    """Somebody who had come in, and whose only place was taken from them."""
    who = Somebody()
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier, who.email, **who.names)
    await stack.come_in(member)
    await stack.until_state(member, "active")
    path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
    (await stack.directory.call("DELETE", path, token=cabinet.key)).ok(204)

    async def heard_of_the_removal() -> bool:
        return (await stack.detail(member))["history"][-1]["trigger"] == "revoked"

    await until(heard_of_the_removal)
    return who, member


async def test_what_ended_long_ago_is_forgotten_where_the_settings_say_so(own_stack: OwnStack) -> None:
    setting = {"CONVIVE_RETENTION": "P31D"}
    stack = await own_stack(invitation_settings=setting, directory_settings=setting)
    old, recent, alive = Somebody(), Somebody(), Somebody()
    removed, removed_since = await somebody_removed(stack), await somebody_removed(stack)
    members = [(await stack.invite(who.email, **who.names))[0] for who in (old, recent, alive)]
    for member in members:
        await stack.until_state(member, "sent")
    for member in members[:2]:
        (await stack.operate(member, "revoke", reason="a reason")).ok(202)
    ages = {members[0].invitation_id: 40, members[1].invitation_id: 20, members[2].invitation_id: 40}
    ages |= {removed[1].invitation_id: 40}
    async with stack.documents("directory") as database:
        long_ago = {"$set": {"removed_at": datetime.now(UTC) - timedelta(days=40)}}
        await database["members"].update_one({"_id": removed[1].id}, long_ago)
    async with stack.documents() as database:
        for id, days in ages.items():
            then = datetime.now(UTC) - timedelta(days=days)
            await database["invitations"].update_one({"_id": id}, {"$set": {"updated_at": then}})
        await database["audit"].update_many(
            {"target": f"invitation:{members[0].invitation_id}"},
            {"$set": {"at": datetime.now(UTC) - timedelta(days=40)}},
        )

    for service in (stack.invitation_service, stack.directory_service):
        await service.stop()
        await service.start()

    await nowhere(stack, (*old.words, *removed[0].words))
    assert await places(stack, removed_since[0].words) == {
        "invitation.invitations",
        "directory.members",
        "directory.accounts",
        "directory.sessions",
    }
    detail = await stack.detail(members[0])
    assert (detail["state"], detail["history"][-1]["trigger"]) == ("revoked", "forgotten")
    for who in (recent, alive):
        assert await places(stack, who.words) == {"invitation.invitations"}
    page = (await stack.invitation.call("GET", "/v1/audit", token=stack.ops_token)).ok()["items"]
    assert {record["target"] for record in page} == {f"invitation:{members[1].invitation_id}"}
