"""Operators correct how a person is reached; the firm sees the same, and the old link is worth nothing."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.speaking import new_address
from tests.stacks import OwnStack


def reasons(detail: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    return [(step["trigger"], step["actor"], (step["detail"] or {}).get("reason")) for step in detail["history"]]


async def test_a_failed_invitation_goes_out_to_the_right_address(stack: Stack) -> None:
    wrong, right = new_address("wrong"), new_address("right")
    await stack.misbehave("refuse_permanently", match=wrong)
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    member = await stack.add_member(cabinet, dossier, wrong)
    await stack.until_state(member, "failed")
    await stack.misbehave("accept")
    writer = await stack.new_ops_token("writer", f"anne.{uuid4().hex[:8]}")

    asked = await stack.operate(member, "correct", writer["token"], email=right, reason="typed wrong")

    corrected = asked.ok(202)
    assert (corrected["member"]["email"], corrected["state"], corrected["link_sequence"]) == (right, "pending", 2)
    mail = await stack.mail(right)
    detail = await stack.until_state(member, "sent")
    assert ("address_changed", f"ops:{writer['name']}", "typed wrong") in reasons(detail)
    path = f"/v1/dossiers/{dossier.id}/members/{member.id}"
    assert (await stack.directory.call("GET", path, token=cabinet.key)).ok()["email"] == right
    # What the directory publishes of it makes no second link.
    async with stack.documents() as database:
        told = await database["invitations"].find_one({"_id": member.invitation_id}, {"link_sequence": 1})
    assert told is not None
    assert told["link_sequence"] == 2
    assert len(await stack.mails(right)) == 1
    assert (await stack.redeem(mail.link)).ok()["state"] == "password_set"


async def test_the_old_link_is_superseded_and_the_action_recorded_without_the_address(stack: Stack) -> None:
    member, _ = await stack.invite()
    old = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    right = new_address("right")

    (await stack.operate(member, "correct", email=right)).ok(202)

    await stack.mail(right)
    assert (await stack.redeem(old.link)).json()["reason"] == "superseded"
    path = f"/v1/audit?target=invitation:{member.invitation_id}"
    (record,) = (await stack.invitation.call("GET", path, token=stack.ops_token)).ok()["items"]
    assert (record["action"], record["outcome"]) == ("invitation.correct", "done")
    assert (record["before"]["link_sequence"], record["after"]["link_sequence"]) == (1, 2)
    assert right not in str(record)


async def test_what_the_publisher_says_later_counts_again(stack: Stack) -> None:
    member, data = await stack.invite(sequence=1)
    await stack.mail(member.email)
    ours, theirs = new_address("ours"), new_address("theirs")
    (await stack.operate(member, "correct", email=ours)).ok(202)
    await stack.mail(ours)

    # Told again what it knew before it was corrected: nothing changes.
    await stack.publish("user.created", member.id, data, sequence=1)
    data["member"]["email"] = theirs
    await stack.publish("user.updated", member.id, data, sequence=2)

    await stack.mail(theirs)
    detail = await stack.until_state(member, "sent")
    assert (detail["member"]["email"], detail["link_sequence"]) == (theirs, 3)
    assert len(await stack.mails(member.email)) == 1


async def test_a_phone_alone_sends_nothing_to_somebody_invited_by_email(stack: Stack) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")

    corrected = (await stack.operate(member, "correct", phone="06 12 34 56 78")).ok(202)

    assert (corrected["member"]["phone"], corrected["state"], corrected["link_sequence"]) == ("+33612345678", "sent", 1)


@pytest.mark.parametrize(
    ("body", "field"), [({}, "email"), ({"email": "no address"}, "email"), ({"phone": "12"}, "phone")]
)
async def test_a_correction_that_corrects_nothing_is_refused_by_its_field(
    stack: Stack, body: dict[str, str], field: str
) -> None:
    member, _ = await stack.invite()
    await stack.until_state(member, "sent")
    answer = await stack.operate(member, "correct", **body)
    assert (answer.status, [error["field"] for error in answer.json()["errors"]]) == (422, [field])


async def test_nobody_is_given_the_address_of_another_member_or_a_new_one_once_they_are_in(stack: Stack) -> None:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    first, second = [await stack.add_member(cabinet, dossier) for _ in range(2)]
    await stack.until_state(second, "sent")

    taken = await stack.operate(second, "correct", email=first.email)
    assert (taken.status, taken.json()["slug"]) == (409, "email_taken")
    assert (await stack.detail(second))["member"]["email"] == second.email

    await stack.come_in(first)
    await stack.until_state(first, "active")
    late = await stack.operate(first, "correct", email=new_address())
    assert (late.status, late.json()["state"]) == (409, "active")


async def test_without_the_directory_nothing_is_corrected(own_stack: OwnStack) -> None:
    stack = await own_stack()
    cabinet = await stack.new_cabinet()
    member = await stack.add_member(cabinet, await stack.new_dossier(cabinet))
    await stack.until_state(member, "sent")
    await stack.directory_service.stop()

    answer = await stack.operate(member, "correct", email=new_address())

    assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert (await stack.detail(member))["member"]["email"] == member.email
