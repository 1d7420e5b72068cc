"""The table of states against the one that was agreed, row by row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from invitation.lifecycle import states
from invitation.lifecycle.diagram import diagram, page
from invitation.lifecycle.states import KEPT, TABLE, State, Trigger, counts, fire, skipped

ROOT = Path(__file__).parents[3]

# What was agreed, in its own words: trigger, from, to (None: the state stays, but the fact counts).
AGREED = """
accepted        | pending                                              | sent
accepted        | sent opened                                          | -
gave_up         | pending sent                                         | failed
opened          | pending sent failed                                  | opened
redeemed        | pending sent opened failed expired revoked declined  | password_set
signed_in       | pending sent opened password_set failed expired revoked declined | active
resend          | pending sent opened failed expired declined          | pending
address_changed | pending sent opened failed expired declined          | pending
renew           | pending sent opened failed expired declined          | pending
extended        | pending sent opened                                  | -
extended        | expired                                              | sent
expired         | pending sent opened                                  | expired
declined        | pending sent opened failed                           | declined
revoked         | pending sent opened password_set failed expired declined | revoked
created_again   | pending sent opened password_set active failed expired revoked declined | pending
"""


def agreed_moves() -> dict[tuple[Trigger, State], State]:
    moves: dict[tuple[Trigger, State], State] = {}
    for line in AGREED.strip().splitlines():
        trigger, from_, to = (cell.strip() for cell in line.split("|"))
        for state in from_.split():
            assert (Trigger(trigger), State(state)) not in moves
            moves[Trigger(trigger), State(state)] = State(state) if to == "-" else State(to)
    return moves


EVERYTHING = [(trigger, state) for trigger in Trigger for state in State]


@dataclass
class Model:
    state: State


@pytest.mark.parametrize(("trigger", "state"), EVERYTHING)
def test_every_trigger_does_in_every_state_what_was_agreed_and_nothing_else(trigger: Trigger, state: State) -> None:
    model = Model(state)

    end = fire(trigger, model)

    assert end is model.state
    assert end is agreed_moves().get((trigger, state), state)
    assert isinstance(end, State)


@pytest.mark.parametrize(("trigger", "state"), EVERYTHING)
def test_a_trigger_counts_exactly_where_a_row_says_so(trigger: Trigger, state: State) -> None:
    assert counts(trigger, state) == ((trigger, state) in agreed_moves())


def test_every_trigger_has_a_reason_for_what_it_leaves_alone_or_leaves_nothing_alone() -> None:
    for trigger in Trigger:
        everywhere = all(counts(trigger, state) for state in State)
        assert (trigger in KEPT) != everywhere


def test_no_state_and_trigger_have_two_rows() -> None:
    rows = [(row.trigger, state) for row in TABLE for state in row.from_]

    assert len(rows) == len(set(rows))


def test_there_is_no_bypass_of_the_table() -> None:
    machine = states._LIFECYCLE

    assert set(machine.events) == {trigger.value for trigger in Trigger}
    assert machine.models == []


def test_two_copies_of_one_invitation_both_get_a_yes_for_the_machine_is_no_lock() -> None:
    one, other = Model(State.SENT), Model(State.SENT)

    fire(Trigger.OPENED, one)
    fire(Trigger.DECLINED, other)

    assert (one.state, other.state) == (State.OPENED, State.DECLINED)


def test_what_lies_between_two_states_of_the_way_in_was_skipped() -> None:
    assert list(skipped(State.PENDING, State.ACTIVE)) == [
        (State.PENDING, State.SENT),
        (State.SENT, State.OPENED),
        (State.OPENED, State.PASSWORD_SET),
    ]
    assert list(skipped(State.OPENED, State.PASSWORD_SET)) == []
    assert list(skipped(State.EXPIRED, State.ACTIVE)) == []


def test_the_page_in_the_docs_is_made_from_the_table() -> None:
    shown = (ROOT / "docs" / "lifecycle.md").read_text()

    assert shown == page(), "run `python -m invitation.lifecycle.diagram > docs/lifecycle.md`"
    assert re.findall(r"```mermaid\n(.*?)\n```", shown, re.DOTALL) == [diagram()]


def test_the_diagram_shows_every_move_on_one_line_per_pair_of_states() -> None:
    arrows = re.findall(r"^ +(\w+) --> (\w+): (.+)$", diagram(), re.MULTILINE)

    pairs = [(start, end) for start, end, _ in arrows]
    assert len(pairs) == len(set(pairs))
    shown = {(Trigger(t), start, end) for start, end, triggers in arrows for t in triggers.split(", ")}
    # Added again is possible from everywhere, and drawn where it is usual.
    moves = {(t, s.value, e.value) for (t, s), e in agreed_moves().items() if t is not Trigger.CREATED_AGAIN}
    assert shown == moves | {(Trigger.CREATED_AGAIN, "revoked", "pending")}
