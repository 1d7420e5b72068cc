"""Somebody makes an account with another person's address before that person comes (account pre-hijacking).

The attacker's firm adds the victim's address and sends the link by SMS to the attacker's phone. After Sudhodanan and
Paverd, "Pre-hijacked accounts" (USENIX Security 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from convive_contracts.events import DIRECTORY_SOURCE
from tests.running import Stack
from tests.speaking import PASSWORD, Answer, Cabinet, Dossier, Member, new_address

ATTACKERS = "douze vautours attendent patiemment"


@dataclass
class Attack:
    email: str
    session: str
    cabinet: Cabinet
    dossier: Dossier
    member: Member


async def by_sms(stack: Stack, member: Member, cabinet: Cabinet, dossier: Dossier, password: str | None) -> Answer:
    """What the invitation service asks of the directory when a link by SMS is used."""
    body: dict[str, Any] = {
        "invitation_id": member.invitation_id,
        "link_sequence": 1,
        "source": DIRECTORY_SOURCE,
        "member": {"id": member.id, "email": member.email, "role": "standard_user"},
        "dossier": {"id": dossier.id, "name": dossier.name},
        "cabinet": {"id": cabinet.id, "name": cabinet.name},
        "channel": "sms",
    }
    if password is not None:
        stack.private.add(password)
        body["password"] = password
    answer = await stack.directory.call("POST", "/internal/v1/redemptions", json=body, token=stack.service_token)
    if answer.status == 200:
        stack.private.add(answer.json()["handoff_code"])
    return answer


async def a_member(stack: Stack, email: str, **body: Any) -> tuple[Member, Cabinet, Dossier]:
    cabinet = await stack.new_cabinet()
    dossier = await stack.new_dossier(cabinet)
    return await stack.add_member(cabinet, dossier, email, **body), cabinet, dossier


@pytest.fixture
async def attack(stack: Stack) -> Attack:
    """The first half: the attacker has an account with the victim's address and is signed in."""
    email = new_address("victim")
    member, cabinet, dossier = await a_member(stack, email, invite_by="none")
    code = (await by_sms(stack, member, cabinet, dossier, ATTACKERS)).ok()["handoff_code"]
    return Attack(email, await stack.session(code=code), cabinet, dossier, member)


async def sees(stack: Stack, session: str) -> set[str]:
    return {place["id"] for place in (await stack.me(session))["dossiers"]}


async def test_the_owner_takes_the_account_over_and_the_attacker_never_sees_their_file(
    stack: Stack, attack: Attack
) -> None:
    assert await sees(stack, attack.session) == {attack.dossier.id}
    member, _, dossier = await a_member(stack, attack.email)
    link = (await stack.mail(attack.email)).link
    assert await sees(stack, attack.session) == {attack.dossier.id}
    # The attacker has the session and the password, and even the link's address would not help without the mailbox.
    page = await stack.invitation.page(link, cookies={"convive_session": attack.session})
    assert 'autocomplete="new-password"' in page.text
    owners = await stack.session(code=(await stack.redeem(link, PASSWORD)).json()["next"].partition("code=")[2])
    assert dossier.id in await sees(stack, owners)
    assert (await stack.directory.call("GET", "/v1/me", token=attack.session)).status == 401
    assert (await stack.sign_in(attack.email, ATTACKERS)).status == 401
    assert (await stack.sign_in(attack.email, PASSWORD)).status == 201
    assert (await stack.detail(member))["state"] in ("password_set", "active")


async def test_before_the_address_is_proved_a_link_of_another_firm_by_sms_is_refused(
    stack: Stack, attack: Attack
) -> None:
    member, cabinet, dossier = await a_member(stack, attack.email, invite_by="none")
    for password in (ATTACKERS, PASSWORD):
        answer = await by_sms(stack, member, cabinet, dossier, password)
        assert (answer.status, answer.json()["slug"]) == (409, "email_unverified")
    assert await sees(stack, attack.session) == {attack.dossier.id}


async def test_a_link_by_sms_sets_no_password_where_there_is_an_account(stack: Stack) -> None:
    victim = await stack.new_member()
    session = await stack.come_in(victim)
    member, cabinet, dossier = await a_member(stack, victim.email, invite_by="none")
    answer = await by_sms(stack, member, cabinet, dossier, ATTACKERS)
    assert (answer.status, answer.json()["slug"]) == (409, "other_password")
    assert (await stack.sign_in(victim.email, ATTACKERS)).status == 401
    assert (await stack.sign_in(victim.email, PASSWORD)).status == 201
    assert dossier.id not in await sees(stack, session)


async def test_the_owner_also_takes_it_over_by_asking_for_a_new_password(stack: Stack, attack: Attack) -> None:
    body = {"email": attack.email}
    assert (await stack.directory.call("POST", "/v1/password-resets", json=body)).status == 202
    mail = await stack.mail(attack.email)
    token = next(word for word in mail.text.split() if "/new-password/" in word).rpartition("/")[2]
    stack.private |= {token, PASSWORD}
    path = f"/v1/password-resets/{token}"
    (await stack.directory.call("POST", path, json={"password": PASSWORD})).ok()
    assert (await stack.directory.call("GET", "/v1/me", token=attack.session)).status == 401
    assert (await stack.sign_in(attack.email, ATTACKERS)).status == 401
