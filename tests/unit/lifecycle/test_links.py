"""Link tokens: genuine ones are read, anything else is nothing."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitation.lifecycle.links import Link, Links, References, Send

LINK = Link("8f14e45f-ceea-467f-9f5e-1d2a3b4c5d6e", 3)
LINKS = Links(["key-one"], base_url="https://convive.example/")


def test_a_token_is_read_as_the_link_it_was_made_of() -> None:
    assert LINKS.read(LINKS.token(LINK)) == LINK
    assert LINKS.url(LINK) == f"https://convive.example/i/{LINKS.token(LINK)}"


def test_a_retired_key_still_reads_and_no_longer_signs() -> None:
    rotated = Links(["key-two", "key-one"], base_url="https://convive.example")

    assert rotated.read(LINKS.token(LINK)) == LINK
    assert LINKS.read(rotated.token(LINK)) is None


def test_a_token_changed_in_any_one_character_is_nothing() -> None:
    token = LINKS.token(LINK)
    alphabet = string.ascii_letters + string.digits + "-_.="

    for place, there in enumerate(token):
        for other in alphabet:
            if other != there:
                assert LINKS.read(token[:place] + other + token[place + 1 :]) is None


def test_a_cut_or_lengthened_token_is_nothing() -> None:
    token = LINKS.token(LINK)

    assert all(LINKS.read(token[:length]) is None for length in range(len(token)))
    assert all(LINKS.read(token + more) is None for more in ("A", "=", ".", " ", "\n", "A" * 500))


def test_a_token_of_another_sequence_has_another_signature() -> None:
    payload = LINKS.token(Link(LINK.invitation_id, 4)).split(".")[0]
    signature = LINKS.token(LINK).split(".")[1]

    assert LINKS.read(f"{payload}.{signature}") is None


def test_a_token_holds_the_largest_sequence_there_will_ever_be() -> None:
    assert LINKS.read(LINKS.token(Link(LINK.invitation_id, 2**24 - 1))) == Link(LINK.invitation_id, 2**24 - 1)


@given(st.text(max_size=150))
def test_no_text_makes_reading_fail(token: str) -> None:
    assert LINKS.read(token) is None


@given(st.uuids(), st.integers(1, 2**24 - 1))
def test_every_link_survives_its_token(id, sequence: int) -> None:
    assert LINKS.read(LINKS.token(Link(str(id), sequence))) == Link(str(id), sequence)


def test_without_keys_there_are_no_links() -> None:
    with pytest.raises(ValueError, match="key"):
        Links([], base_url="https://convive.example")


SEND = Send("8f14e45f-ceea-467f-9f5e-1d2a3b4c5d6e", 7)
REFERENCES = References(["key-one"])


def test_a_reference_is_read_as_the_send_it_was_made_of_in_whatever_case() -> None:
    reference = REFERENCES.of(SEND)

    assert REFERENCES.read(reference) == SEND
    assert REFERENCES.read(reference.upper()) == SEND
    assert len(reference) == 47
    assert reference.isalnum()


def test_a_reference_changed_in_any_one_character_is_nothing() -> None:
    reference = REFERENCES.of(SEND)

    for place, there in enumerate(reference):
        for other in string.ascii_lowercase + string.digits + "-=":
            if other != there:
                assert REFERENCES.read(reference[:place] + other + reference[place + 1 :]) is None
    assert REFERENCES.read("") is None
    assert REFERENCES.read(reference + "a") is None
    assert REFERENCES.read("é" * 47) is None


def test_a_reference_of_a_retired_key_still_reads() -> None:
    assert References(["key-two", "key-one"]).read(REFERENCES.of(SEND)) == SEND
    assert References(["key-two"]).read(REFERENCES.of(SEND)) is None
