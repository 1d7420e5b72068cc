"""The page of the lifecycle, made from the table: `python -m invitation.lifecycle.diagram > docs/lifecycle.md`."""

from __future__ import annotations

import sys

from invitation.lifecycle.states import ACTIVE, KEPT, PENDING, REVOKED, TABLE, State, Transition, Trigger

_INTRODUCTION = """\
# The life of an invitation

This page is made from the table in `services/invitation/lifecycle/states.py`; a test compares them. After a change to
the table: `python -m invitation.lifecycle.diagram > docs/lifecycle.md`.
"""

_BESIDE_THE_TABLE = """\
A trigger that jumps ahead (`redeemed`, `signed_in`) records the steps it skips, in the same save. An outcome of an
older send never changes the state. Whoever is added again after a removal (`created_again`, from whatever state) begins
a new life in the same document, and links of the old one stay dead. Where that is without an invitation, the old links
say that they were withdrawn: they offer no new one.
"""


def diagram() -> str:
    """The table as a Mermaid state diagram: one line for each two states, however many triggers lead from one to the
    other."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for row in TABLE:
        # Possible from everywhere; drawn where it is usual.
        starts = (REVOKED,) if row.trigger is Trigger.CREATED_AGAIN else row.from_
        for start in starts:
            arrows.setdefault((start, row.to or start), []).append(row.trigger.value)
    order = list(State)
    lines = ["stateDiagram-v2", "    direction LR", f"    [*] --> {PENDING}: user.created"]
    for start, end in sorted(arrows, key=lambda pair: (order.index(pair[0]), order.index(pair[1]))):
        lines.append(f"    {start} --> {end}: {', '.join(arrows[start, end])}")
    lines.append(f"    {ACTIVE} --> [*]")
    return "\n".join(lines)


def page() -> str:
    """`docs/lifecycle.md`."""
    rows = "\n".join(_row(row) for row in TABLE)
    kept = "\n".join(f"| `{trigger}` | {why} |" for trigger, why in KEPT.items())
    return f"""{_INTRODUCTION}
```mermaid
{diagram()}
```

## What moves it

| trigger | from | to | why |
| --- | --- | --- | --- |
{rows}

{_BESIDE_THE_TABLE}
## What does not

In every state that is not named above a trigger changes nothing and is kept in the history:

| trigger | why nothing changes |
| --- | --- |
{kept}
"""


def _row(row: Transition) -> str:
    missing = [state.value for state in State if state not in row.from_]
    if not missing:
        starts = "any"
    elif len(missing) < len(row.from_) and len(missing) <= 2:
        starts = f"any but {', '.join(missing)}"
    else:
        starts = ", ".join(row.from_)
    return f"| `{row.trigger}` | {starts} | {row.to or 'the same'} | {row.why} |"


if __name__ == "__main__":
    sys.stdout.write(page())
