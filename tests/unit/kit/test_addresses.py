from __future__ import annotations

import pytest
from email_validator import validate_email
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from convive_kit.addresses import (
    BadEmail,
    BadName,
    BadPhone,
    BadSender,
    Email,
    NoMobile,
    a_mobile,
    can_receive_sms,
    clean_name,
    clean_sms_sender,
    email_key,
    normalise_email,
    normalise_phone,
)
from convive_kit.errors import Reject


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jeanne@example.com", "jeanne@example.com"),
        (" Jeanne.Martin+x@Example.COM ", "Jeanne.Martin+x@example.com"),
        ("jérôme@EXÄMPLE.com", "jérôme@exämple.com"),
        ("jeanne@xn--exmple-cua.com", "jeanne@exämple.com"),
        ("e\u0301va@example.com", "éva@example.com"),
    ],
)
def test_an_address_is_kept_as_mail_is_sent_to_it(text: str, expected: str) -> None:
    assert normalise_email(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "@", "jeanne", "jeanne@", "jeanne@localhost", "a@b.test", "a b@example.com", "jeanne@example.com\n",
     "jeanne@example.com\r\nBcc: all@example.com", "a\x00@example.com", "a@exa\u2028mple.com", "\ud800@example.com",
     "x" * 65 + "@example.com", "a@" + "x" * 250 + ".com", '"a"@example.com', "a@[127.0.0.1]", "a..b@example.com",
     ".a@example.com", "a@-b.com", "a@ab--c.com", "Jeanne <jeanne@example.com>", "a@b.com, c@d.com"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(BadEmail) as refused:
        normalise_email(text)
    assert str(refused.value) == "Give an e-mail address such as jeanne@example.com."
    assert isinstance(refused.value, Reject)


@given(st.from_regex(r"[A-Za-z0-9_+.-]{1,66}@[a-z0-9.-]{1,70}\.(com|fr|org)", fullmatch=True))
def test_the_fast_way_accepts_nothing_that_the_library_refuses(text: str) -> None:
    try:
        accepted = normalise_email(text)
    except BadEmail:
        return
    assert accepted == validate_email(text, check_deliverability=False, strict=True).normalized


@pytest.mark.parametrize(
    ("email", "key"),
    [
        ("Jeanne@Example.com", "jeanne@example.com"),
        ("JÉRÔME@exämple.com", "jÉrÔme@xn--exmple-cua.com"),
        ("stra\u00dfe@example.com", "straße@example.com"),
        ("E\u0301@example.com", "É@example.com"),
    ],
)
def test_the_key_folds_ascii_and_the_domain_and_nothing_else(email: str, key: str) -> None:
    assert email_key(email) == key


@given(st.emails(domains=st.sampled_from(["example.com", "EXÄMPLE.com", "straße.de"])))
def test_the_key_of_a_key_is_itself(email: str) -> None:
    assert email_key(email_key(email)) == email_key(email)


def test_the_key_is_the_same_however_the_domain_is_written() -> None:
    assert email_key("a@exämple.com") == email_key(normalise_email("a@xn--exmple-cua.com"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("06 12 34 56 78", "+33612345678"), ("+33 6 12 34 56 78", "+33612345678"), ("+1 650 253 0000", "+16502530000")],
)
def test_a_number_becomes_e164(text: str, expected: str) -> None:
    assert normalise_phone(text) == expected


@pytest.mark.parametrize("text", ["", "0612", "ABC", "+33612345678;ext=3", "+999 1234567", "1" * 1000, "\ud800"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadPhone):
        normalise_phone(text)


@pytest.mark.parametrize(
    ("number", "reached"),
    [
        ("+33612345678", True),
        ("+33712345678", False),  # mobiles begin with 073 to 079
        ("+33744556677", True),
        ("+262692123456", True),
        ("+447400123456", True),
        ("+16502530000", True),  # the United States do not tell mobiles from landlines
        ("+33142685300", False),
        ("+33972123456", False),
        ("+33800123456", False),
        ("+33899123456", False),
        ("+33612", False),
        ("0612345678", False),
        ("", False),
    ],
)
def test_text_messages_reach_mobiles_alone(number: str, reached: bool) -> None:
    assert can_receive_sms(number) is reached
    if not reached:
        with pytest.raises(NoMobile):
            a_mobile(number)


@pytest.mark.parametrize(("text", "sender"), [("LEGER", "LEGER"), (" Leger2 ", "Leger2"), ("a" * 11, "a" * 11)])
def test_a_sender_is_a_short_name(text: str, sender: str) -> None:
    assert clean_sms_sender(text) == sender


@pytest.mark.parametrize(
    "text", ["", "a" * 12, "Léger", "LE GER", "LE-GER", "36105", "INFO", "sms", "Alerte", "A\n", "+33612345678"]
)
def test_a_sender_that_operators_do_not_take_is_refused(text: str) -> None:
    with pytest.raises(BadSender) as refused:
        clean_sms_sender(text)
    assert text == "" or text not in str(refused.value) or text in ("INFO", "SMS")


@pytest.mark.parametrize("name", ["Jeanne", "O'Neil-Łukasz", "שלום", "王小明", "<b>x</b>", "👩‍👩‍👧", "x" * 100])
def test_names_of_any_script_are_kept(name: str) -> None:
    assert clean_name(f"  {name} ") == name


@pytest.mark.parametrize(
    "name", ["", "   ", "a\nb", "a\x00b", "a\x85b", "a\u2028b", "a\u202eb", "a\u2066b", "\ud800", "\u200b", "x" * 101]
)
def test_names_with_unseen_or_reordering_characters_are_refused(name: str) -> None:
    with pytest.raises(BadName):
        clean_name(name)


def test_a_model_tells_what_to_do_in_the_message() -> None:
    class Person(BaseModel):
        email: Email

    with pytest.raises(ValidationError) as refused:
        Person(email="nope")
    assert refused.value.errors()[0]["msg"].endswith("Give an e-mail address such as jeanne@example.com.")
