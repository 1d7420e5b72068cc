"""Which passwords a link takes, and what it says of the others, in the person's language."""

from __future__ import annotations

import unicodedata
from typing import Any
from uuid import uuid4

import pytest

from tests.running import Stack
from tests.speaking import new_address

WORDS = "trois chevaux dansent la nuit sous un vieux pont de pierre grise pendant que "
LENGTHS = {
    11: "kX9 vq tulu",
    12: "kX9 vq tulup",
    128: (WORDS * 2)[:127] + "x",
    129: (WORDS * 2)[:128] + "x",
}


async def invited(stack: Stack, **options: Any) -> str:
    member, _ = await stack.invite(**options)
    mail = await stack.mail(member.email)
    await stack.until_state(member, "sent")
    return mail.link


async def test_twelve_to_a_hundred_and_twenty_eight_characters(stack: Stack) -> None:
    assert all(len(password) == length for length, password in LENGTHS.items())
    link = await invited(stack)
    for length, slug in ((11, "too_short"), (129, "too_long")):
        answer = await stack.redeem(link, LENGTHS[length])
        assert (answer.status, answer.json()["reasons"]) == (422, [slug])
        assert answer.json()["errors"][0]["field"] == "password"
    assert (await stack.redeem(link, LENGTHS[12])).status == 200
    assert (await stack.redeem(await invited(stack), LENGTHS[128])).status == 200


async def test_a_refused_password_uses_nothing_up_and_is_never_shown_again(stack: Stack) -> None:
    member, _ = await stack.invite()
    link = (await stack.mail(member.email)).link
    before = await stack.until_state(member, "sent")
    for password in (LENGTHS[11], LENGTHS[129], "motdepasse1234"):
        stack.private.add(password)
        page = await stack.invitation.post_form(f"{link}/password", {"password": password})
        assert page.status == 422
        assert password not in page.text
        assert f'action="/i/{link.rpartition("/")[2]}/password"' in page.text
        assert password not in (await stack.redeem(link, password)).text
    assert await stack.detail(member) == before
    assert (await stack.redeem(link)).status == 200


WEAK = {
    "the own name": ("Jeannette Quatremaille", "personal"),
    "the own name backwards and a year": ("elliamertauQ1975", ""),
    "the firm": ("Cabinet Vaugelas 2024", "personal"),
    "the own name and the firm": ("Jeannette@Vaugelas75", "personal"),
    "common": ("motdepasse1234", ""),
    "keyboard": ("azertyuiop1234", ""),
    "repeats": ("aaaaaaaaaaaaaaaa", ""),
    "repeated words": ("abcabcabcabcabc", ""),
    "digits": ("123456789012", ""),
    "date": ("12/05/197512/05/1975", ""),
    "a phrase of one word": ("passwordpassword", ""),
}


async def test_what_is_easy_to_guess_is_refused(stack: Stack) -> None:
    link = await invited(stack)
    for name, (password, slug) in WEAK.items():
        answer = await stack.redeem(link, password)
        assert answer.status == 422, f"{name}: {answer.status}"
        told = answer.json()
        assert told["reasons"], name
        assert len(told["errors"]) == len(told["reasons"]), name
        if slug:
            assert slug in told["reasons"], f"{name}: {told['reasons']}"
    # Some of it is fine for somebody else.
    stranger = await invited(
        stack, first_name="Aoife", last_name="Ní Bhriain", cabinet={"id": str(uuid4()), "name": "Sol"}
    )
    assert (await stack.redeem(stranger, "Quatremaille Vaugelas lune")).status == 200


async def test_the_address_is_easy_to_guess_too(stack: Stack) -> None:
    address = new_address("bartholomeus")
    link = await invited(stack, email=address)
    answer = await stack.redeem(link, address)
    assert (answer.status, "personal" in answer.json()["reasons"]) == (422, True)


@pytest.mark.parametrize(
    ("locale", "short", "repeats"), [("fr", "trop court", "répétés"), ("en", "too short", "Repeated")]
)
async def test_the_reasons_come_in_the_persons_language(stack: Stack, locale: str, short: str, repeats: str) -> None:
    link = await invited(stack, locale=locale)
    for password, words in ((LENGTHS[11], short), ("a" * 16, repeats)):
        page = await stack.invitation.post_form(f"{link}/password", {"password": password})
        assert page.status == 422
        assert f'lang="{locale}"' in page.text
        assert words in page.text
        program = await stack.redeem(link, password)
        assert words in program.json()["errors"][0]["message"]
    # The reader's own choice goes first.
    other = {"fr": "en", "en": "fr"}[locale]
    page = await stack.invitation.post_form(f"{link}/password?lang={other}", {"password": LENGTHS[11]})
    assert f'lang="{other}"' in page.text


async def test_any_script_will_do_and_every_keyboard_writes_the_same_password(stack: Stack) -> None:
    member, _ = await stack.invite()
    mail = await stack.mail(member.email)
    password = "Žluťoučký kůň pěl ódy 🐎 مرحبا"
    decomposed = unicodedata.normalize("NFD", password)
    assert decomposed != password
    assert (await stack.redeem(mail.link, decomposed)).status == 200
    assert (await stack.redeem(mail.link, password)).status == 200
    assert (await stack.sign_in(member.email, password)).status == 201


async def test_characters_that_nobody_can_type_do_not_crash(stack: Stack) -> None:
    link = await invited(stack)
    half = await stack.invitation.call(
        "POST",
        f"{link}/password",
        data=b'{"password": "trois chevaux \\ud800 dansent la nuit"}',
        headers={"Content-Type": "application/json"},
    )
    assert half.status in (400, 422)
    endless = await stack.invitation.call("POST", f"{link}/password", json={"password": "x" * 5000})
    assert endless.status == 422
    form = await stack.invitation.post_form(f"{link}/password", {"password": "x" * 5000})
    assert form.status in (303, 422)
    nul = await stack.redeem(link, "trois chevaux \x00 dansent la nuit")
    assert nul.status in (200, 422)
