"""The states as a picture: where an invitation stands, where it has been, and by which ways it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from math import ceil

from invitation.lifecycle.invitation import Step
from invitation.lifecycle.states import WAY_IN, State

_WIDTH, _HEIGHT = 124, 36
_STEP, _LEFT = 152, 4
_UPPER, _LOWER = 36, 116
_BOW, _EDGE = 34, 4
_GAP = 3
"""Between the tip of an arrow and where it points to."""
_ASIDE = 14
"""How far from the middle an arrow begins and ends, so that there and back are two."""

_PLACES = {
    **{state: (_LEFT + column * _STEP, _UPPER) for column, state in enumerate(WAY_IN)},
    **{
        state: (_LEFT + column * _STEP, _LOWER)
        for column, state in enumerate((State.FAILED, State.EXPIRED, State.DECLINED, State.REVOKED))
    },
}


@dataclass(frozen=True, slots=True)
class Box:
    state: State
    x: int
    y: int
    # Of the word in it.
    middle: int
    base: int
    lit: bool
    been: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """`ways` are the arrows of the usual way in that were not taken, `taken` all that were; both as SVG paths."""

    boxes: Sequence[Box]
    ways: Sequence[str]
    taken: Sequence[str]
    view: str
    box: tuple[int, int] = (_WIDTH, _HEIGHT)


def picture(present: State, history: Sequence[Step]) -> Picture:
    """The picture of one invitation."""
    moves = dict.fromkeys((step.from_, step.to) for step in history if step.from_ is not step.to)
    been = {present, *(state for move in moves for state in move)}
    taken = [_arrow(*move) for move in moves]
    top = 0 if any(f" {_UPPER}C" in arrow for arrow in taken) else _UPPER - _EDGE
    bottom = _LOWER + _HEIGHT + (_BOW if any(f" {_LOWER + _HEIGHT}C" in arrow for arrow in taken) else _EDGE)
    return Picture(
        boxes=[
            Box(state, x, y, x + _WIDTH // 2, y + _HEIGHT // 2 + 5, lit=state is present, been=state in been)
            for state, (x, y) in _PLACES.items()
        ],
        ways=[_arrow(*way) for way in pairwise(WAY_IN) if way not in moves],
        taken=taken,
        view=f"0 {top} {_LEFT * 2 + _STEP * (len(WAY_IN) - 1) + _WIDTH} {bottom - top}",
    )


def flow() -> Picture:
    """The picture of them all: every state, and the way in."""
    whole = picture(State.PENDING, ())
    boxes = [replace(box, lit=False, been=False) for box in whole.boxes]
    return replace(whole, boxes=boxes)


def trend(per_day: Mapping[date, int], today: date, days: int = 14) -> Sequence[tuple[int, int, int]]:
    """The bars of the last days, oldest first: where each begins, its height of 24 at most, and its number."""
    numbers = [per_day.get(today - timedelta(days=back), 0) for back in range(days - 1, -1, -1)]
    most = max(*numbers, 1)
    return [(at * 7, ceil(number * 24 / most), number) for at, number in enumerate(numbers)]


def _arrow(start: State, end: State) -> str:
    (x1, y1), (x2, y2) = _PLACES[start], _PLACES[end]
    if y1 != y2:
        down = y2 > y1
        begin, tip = (y1 + _HEIGHT, y2 - _GAP) if down else (y1, y2 + _HEIGHT + _GAP)
        aside = _ASIDE if down else -_ASIDE
        return f"M{x1 + _WIDTH // 2 + aside} {begin}L{x2 + _WIDTH // 2 + aside} {tip}"
    if x2 == x1 + _STEP and y1 == _UPPER:
        return f"M{x1 + _WIDTH} {y1 + _HEIGHT // 2}H{x2 - _GAP}"
    # Past others, or back: in a bow above the upper row, or below the lower one.
    edge, out = (y1, -_BOW) if y1 == _UPPER else (y1 + _HEIGHT, _BOW)
    from_, to = x1 + _WIDTH // 2, x2 + _WIDTH // 2
    return f"M{from_} {edge}C{from_} {edge + out} {to} {edge + out} {to} {edge + (_GAP if out > 0 else -_GAP)}"
