"""Header fields: what needs no encoding stays readable, what needs it is encoded, nothing starts a new field."""

from __future__ import annotations

from email.header import decode_header, make_header

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitation.delivery.headers import UnusableAddress, address_bytes, mailbox, phrase, unstructured


def test_plain_words_stay_as_they_are() -> None:
    assert phrase("Jeanne Martin", column=4) == b"Jeanne Martin"
    assert unstructured("Hello, Jeanne: welcome", column=9) == b"Hello, Jeanne: welcome"


def test_a_comma_or_a_quote_puts_the_name_in_quotes() -> None:
    assert phrase('Martin, Jeanne "Jo"', column=4) == b'"Martin, Jeanne \\"Jo\\""'


def test_accents_are_encoded() -> None:
    assert phrase("Cabinet Léger", column=6) == b"=?utf-8?b?Q2FiaW5ldCBMw6lnZXI=?="


def test_what_looks_encoded_is_encoded_so_that_it_is_read_as_written() -> None:
    assert b"=?utf-8?q?" not in phrase("=?utf-8?q?Boss?=", column=4)


def test_a_newline_becomes_a_space() -> None:
    assert unstructured("Hello\r\nBcc: x@example.com", column=9) == b"Hello Bcc: x@example.com"


def test_a_long_address_stands_on_a_line_of_its_own() -> None:
    address = b"a" * 60 + b"@example.com"
    assert mailbox("Jeanne Martin", address, column=4) == b"Jeanne Martin\r\n <" + address + b">"


def test_without_a_name_the_address_stands_alone() -> None:
    assert mailbox(" ", b"jeanne@example.com", column=4) == b"jeanne@example.com"


@given(st.text(min_size=1, max_size=300).filter(lambda text: not text.isascii()))
def test_encoded_words_keep_characters_whole_and_lines_short(text: str) -> None:
    lines = unstructured(text, column=9).split(b"\r\n ")
    assert all(len(line) <= 75 and line.isascii() for line in lines)
    for line in lines:
        # A word that ended inside a character could not be decoded by itself.
        str(make_header(decode_header(line.decode())))


@pytest.mark.parametrize(
    ("address", "octets"),
    [
        ("jeanne@example.com", b"jeanne@example.com"),
        ("jérôme@example.com", "jérôme@example.com".encode()),
        ("a@Société.example", b"a@xn--socit-esab.example"),
    ],
)
def test_an_address_keeps_its_local_part_and_gets_an_ascii_domain(address: str, octets: bytes) -> None:
    assert address_bytes(address) == octets


@given(st.text(st.characters(), max_size=40))
def test_an_address_is_one_token_or_refused(text: str) -> None:
    try:
        octets = address_bytes(f"{text}@example.com")
    except UnusableAddress:
        return
    assert octets == f"{text}@example.com".encode()
    assert not set(octets) & set(b' \r\n\t<>,;:"()@\x7f') - set(b"@")
