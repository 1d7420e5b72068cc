"""The picture of an invitation's states."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

from invitation.console.picture import picture
from invitation.lifecycle.invitation import Step
from invitation.lifecycle.states import State


def steps(*states: State) -> list[Step]:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return [Step(now, "told", start, end, "ops") for start, end in pairwise(states)]


def test_one_state_is_lit_and_those_it_was_in_are_marked() -> None:
    drawn = picture(State.SENT, steps(State.PENDING, State.PENDING, State.FAILED, State.PENDING, State.SENT))
    assert [box.state for box in drawn.boxes if box.lit] == [State.SENT]
    assert {box.state for box in drawn.boxes if box.been} == {State.PENDING, State.FAILED, State.SENT}
    assert len(drawn.boxes) == len(State)


def test_each_way_is_drawn_once_and_every_two_states_can_be_joined() -> None:
    again = picture(State.SENT, steps(State.PENDING, State.SENT, State.PENDING, State.SENT))
    assert len(again.taken) == 2
    assert len(set(again.taken) | set(again.ways)) == len(again.taken) + len(again.ways)
    for start in State:
        for end in State:
            if start is not end:
                assert len(picture(end, steps(start, end)).taken) == 1


def test_a_bow_has_room_in_the_picture() -> None:
    plain = picture(State.SENT, steps(State.PENDING, State.SENT)).view.split()
    above = picture(State.PENDING, steps(State.PENDING, State.SENT, State.PENDING)).view.split()
    below = picture(State.REVOKED, steps(State.FAILED, State.REVOKED)).view.split()
    assert int(above[1]) < int(plain[1])
    assert int(below[1]) + int(below[3]) > int(plain[1]) + int(plain[3])
