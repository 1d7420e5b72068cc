from __future__ import annotations

from uuid import UUID

import pytest
from aiohttp.test_utils import make_mocked_request

from convive_kit.auth import bearer_token, new_api_key, new_secret, parse_api_key, same_secret, secret_hash
from convive_kit.http import Problem

CABINET = UUID("0b9cbd0c-6c5b-4f0a-9f5d-1d2f6f3c8e11")


def test_secrets_are_long_and_never_the_same() -> None:
    assert len(new_secret()) == 43
    assert new_secret() != new_secret()


def test_an_api_key_comes_apart_into_what_it_was_made_of() -> None:
    for _ in range(200):  # secrets may hold underscores and dashes
        key = new_api_key(CABINET)
        assert parse_api_key(key.text()) == key


@pytest.mark.parametrize(
    "text",
    ["", "cvk_", "cvk_x_y_z", f"cvk_{CABINET}_0123456789abcdef_{'s' * 43}", f"cvk_{CABINET.hex}_0123456789abcdef_short",
     f"cvk_{CABINET.hex}_0123456789abcdef_{'s' * 43}\n", f"cvk_{CABINET.hex}_$where_{'s' * 43}"],
)  # fmt: skip
def test_what_is_no_api_key_is_none(text: str) -> None:
    assert parse_api_key(text) is None


def test_only_the_hash_of_a_secret_needs_to_be_kept() -> None:
    assert secret_hash("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_secrets_compare_whatever_the_characters() -> None:
    assert same_secret("é\udcff", "é\udcff")
    assert not same_secret("é", "e")


@pytest.mark.parametrize(
    ("header", "token"), [("Bearer abc", "abc"), ("bearer  abc", "abc"), ("BEARER a.b-c_d~e+f/g=", "a.b-c_d~e+f/g=")]
)
def test_a_bearer_token_is_read(header: str, token: str) -> None:
    assert bearer_token(make_mocked_request("GET", "/", headers={"Authorization": header})) == token


def test_no_header_is_no_token() -> None:
    assert bearer_token(make_mocked_request("GET", "/")) is None


@pytest.mark.parametrize("header", ["", "abc", "Basic abc", "Bearer", "Bearer a b", "Bearer " + "x" * 513])
def test_another_kind_of_header_is_401(header: str) -> None:
    with pytest.raises(Problem) as refused:
        bearer_token(make_mocked_request("GET", "/", headers={"Authorization": header}))
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"] == "Bearer"
