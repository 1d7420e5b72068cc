"""A firm's one colour as the few that mails and pages need, each of which can be read where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_COLOUR = re.compile(r"#[0-9a-f]{6}")
# The darkest of the light grounds that links stand on in `page.css` and `invitation.mjml`, the lightest of the dark.
_LIGHT_GROUND, _DARK_GROUND = "#e9f0ec", "#26302d"
_READABLE = 4.5
"""What WCAG 2.2 asks of text (success criterion 1.4.3)."""


@dataclass(frozen=True, slots=True)
class Shades:
    """`fill` is the ground of the button, `on_fill` the text on it, `text` that of links; the two that are `strong` are
    for what is under the pointer."""

    fill: str
    on_fill: str
    strong_fill: str
    text: str
    strong_text: str


@dataclass(frozen=True, slots=True)
class Palette:
    light: Shades
    dark: Shades


CONVIVE = Palette(
    light=Shades("#17594a", "#ffffff", "#0f4539", "#17594a", "#0f4539"),
    dark=Shades("#8fd6c2", "#0d2620", "#b4e6d7", "#8fd6c2", "#b4e6d7"),
)
"""Where a firm has chosen none."""


@lru_cache(maxsize=4096)
def palette(colour: str | None) -> Palette:
    """The shades of `#rrggbb`; Convive's own for None, and for what is no colour."""
    if colour is None or _COLOUR.fullmatch(colour) is None:
        return CONVIVE
    # In the dark the button must stand out too, not only the words on it.
    bright = _readable(colour, "#ffffff", on=_DARK_GROUND)
    return Palette(
        _shades(colour, _readable(colour, "#000000", on=_LIGHT_GROUND), "#000000"), _shades(bright, bright, "#ffffff")
    )


def _shades(fill: str, text: str, extreme: str) -> Shades:
    # One of the two is always readable: where black has a contrast of less than 4.58, white has more.
    on_fill, opposite = max(("#ffffff", "#000000"), ("#000000", "#ffffff"), key=lambda pair: contrast(pair[0], fill))
    return Shades(fill, on_fill, _mixed(fill, opposite, 0.2), text, _mixed(text, extreme, 0.3))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _readable(colour: str, towards: str, *, on: str) -> str:
    """The colour, mixed with as little of `towards` as makes it readable on that ground."""
    shades = (_mixed(colour, towards, step / 20) for step in range(21))
    return next(shade for shade in shades if contrast(shade, on) >= _READABLE)


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(_channels(colour), _channels(other), strict=True)
    return "#" + "".join(f"{round(mine + (theirs - mine) * share):02x}" for mine, theirs in pairs)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _channels(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
