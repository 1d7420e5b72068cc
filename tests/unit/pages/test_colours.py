"""Whatever colour a firm has, everything can be read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invitation.colours import CONVIVE, contrast, palette
from tests.unit.pages.test_pages import RENDERER

colours = st.integers(0, 0xFFFFFF).map("#{:06x}".format)


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [("#000000", "#ffffff", 21.0), ("#ffffff", "#ffffff", 1.0), ("#777777", "#ffffff", 4.48)],
)
def test_contrast_is_that_of_the_guidelines(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.01)


@given(colours)
def test_every_colour_can_be_read_in_the_light_and_in_the_dark(colour: str) -> None:
    chosen = palette(colour)
    assert chosen.light.fill == colour
    for shades, grounds in (
        (chosen.light, ("#ffffff", "#f4f2ec", "#e9f0ec", "#eef3f0")),
        (chosen.dark, ("#121716", "#131817", "#1b2220", "#1d2422", "#22302b", "#26302d")),
    ):
        for fill in (shades.fill, shades.strong_fill):
            assert contrast(shades.on_fill, fill) >= 4.5
        for ground in grounds:
            assert contrast(shades.text, ground) >= 4.5
            assert contrast(shades.strong_text, ground) >= 4.5
    assert contrast(chosen.dark.fill, "#1d2422") >= 3


@pytest.mark.parametrize("colour", [None, "red", "#FFF", "#12345g", "#ffffff;} body {}"])
def test_what_is_no_colour_shows_convives_own(colour: str | None) -> None:
    assert palette(colour) is CONVIVE


def test_a_page_gets_the_colour_from_a_file_that_holds_nothing_else() -> None:
    file = RENDERER.colours("firm-7a1f5c.css")
    assert file is not None
    assert re.fullmatch(r"/i/static/firm-7a1f5c\.css\?v=[0-9a-f]{12}", file.path)
    assert b"--fill: #7a1f5c" in file.body
    for name in ("firm-7A1F5C.css", "firm-red.css", "firm-7a1f5c.css\n", "firm-7a1f5c77.css"):
        assert RENDERER.colours(name) is None
