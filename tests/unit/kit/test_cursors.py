from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convive_kit.cursors import decode_cursor, encode_cursor
from convive_kit.http import Problem

NOW = datetime(2026, 1, 31, 9, 30, 0, 123000, tzinfo=UTC)


def raw(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()


def test_a_cursor_brings_back_its_values() -> None:
    assert decode_cursor(encode_cursor(NOW, "id-1", 3, None), datetime, str, int, (str, type(None))) == [
        NOW,
        "id-1",
        3,
        None,
    ]


def test_a_cursor_is_fit_for_a_query_string() -> None:
    assert encode_cursor("é?&=\n", NOW).replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize(
    "text",
    ["", "%%%", "é", "abc", raw("{}"), raw("[]"), raw('["x"]'), raw('["x","y","z"]'), raw('["2026-01-31","x"]'),
     raw('["2026-01-31T00:00:00","x"]'), raw('["2026-01-31T00:00:00Z",{"$gt":""}]'),
     raw('["2026-01-31T00:00:00Z",true]'), raw("[" * 50_000), raw('["2026-99-99T00:00:00Z","x"]'),
     raw('["2026-01-31T00:00:00Z","\\ud800"]'), raw('["0001-01-01T00:00:00+23:59","x"]')],
)  # fmt: skip
def test_a_cursor_of_another_shape_is_422_naming_it(text: str) -> None:
    with pytest.raises(Problem) as refused:
        decode_cursor(text, datetime, str)
    assert refused.value.status == 422
    assert refused.value.errors[0]["field"] == "cursor"


@given(st.text(max_size=60))
def test_no_text_makes_it_fail_in_another_way(text: str) -> None:
    try:
        values = decode_cursor(text, str)
    except Problem:
        return
    assert isinstance(values[0], str)
