"""The verdict on a row: what would come of it, and why. Pure; what is there already is handed in.

Rows are held to the very model of the HTTP API, so that the two never differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from pydantic import ValidationError

from convive_kit.addresses import clean_name
from convive_kit.errors import Reject
from directory.imports.columns import CHANNEL_OF, FLAG_OF, LANGUAGE_OF, ROLE_OF, word
from directory.imports.reading import LONGEST_CELL, Row
from directory.imports.typos import likely_domain
from directory.member_requests import NewMember
from directory.model.dossier import Dossier, search_key
from directory.model.member import Member

Verdict: TypeAlias = Literal["add", "check", "already_there", "differs", "repeated", "invalid"]
"""`check`: will be added, but look at it. `already_there` and `differs`: nothing is done. `repeated`: the row of the
same person before it counts."""
Note: TypeAlias = dict[str, Any]
"""`column`, `slug`, and what fills in its sentence."""

TO_ADD: tuple[Verdict, ...] = ("add", "check")
_COMPARED = ("first_name", "last_name", "phone", "employee_code", "role", "own_expense_reports", "locale")
_WORDS = {"role": ROLE_OF, "own_expense_reports": FLAG_OF, "locale": LANGUAGE_OF, "invite_by": CHANNEL_OF}
_UNKNOWN_WORD = {
    "role": "unknown_role",
    "own_expense_reports": "neither_yes_nor_no",
    "locale": "unknown_language",
    "invite_by": "unknown_way",
}
_FAULTS = {"missing": "missing", "string_too_long": "too_long"}


@dataclass(slots=True, kw_only=True)
class Line:
    """A row with its verdict, and later with what came of it. `fields` are what a new member takes; `dossier` is what
    the row calls its client file, `dossier_id` the one that was found."""

    number: int
    cells: Sequence[str]
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    email_key: str | None = None
    dossier: str | None = None
    dossier_id: str | None = None
    verdict: Verdict = "add"
    faults: list[Note] = field(default_factory=list[Note])
    hints: list[Note] = field(default_factory=list[Note])
    result: str | None = None


def assess(row: Row) -> Line:
    """What can be said of a row by itself."""
    line = Line(number=row.number, cells=row.cells)
    values = dict(row.values)
    for column, value in values.items():
        if len(value) > LONGEST_CELL:
            line.faults.append(note(column, "cell_too_long", most=LONGEST_CELL))
    if line.faults:  # a quote that was not closed: nothing of this row is what it seems
        line.cells = [cell[:LONGEST_CELL] for cell in row.cells]
        return line
    line.dossier = values.pop("dossier", None)
    for column, words in _WORDS.items():
        if column in values:
            said = values.pop(column)
            if (meant := cast("Mapping[str, Any]", words).get(word(said))) is not None:
                line.fields[column] = meant
            elif column == "locale" and re.fullmatch(r"[A-Za-z]{2}([-_][A-Za-z]{2})?", said):
                line.fields[column] = said
            else:
                line.faults.append(note(column, _UNKNOWN_WORD[column], said=said[:40]))
    line.fields |= values
    # Whoever starts the import says how to reach those of whom the table does not.
    member = checked({"invite_by": "none", **line.fields}, line.faults)
    if member is not None:
        line.email_key = member.fields()["email_key"]
        said = member.email.rpartition("@")[2]
        if meant := likely_domain(said):
            line.hints.append(note("email", "mistyped", said=said, meant=meant))
    return line


def checked(fields: Mapping[str, Any], faults: list[Note]) -> NewMember | None:
    """The new member of these fields, or None and why not, added to `faults`."""
    try:
        return NewMember.model_validate(fields)
    except ValidationError as error:
        faults += map(_fault, error.errors(include_url=False, include_input=False))
        return None


def _fault(error: Any) -> Note:
    column = str(error["loc"][0])
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, Reject):
        return note(column, cause.slug)
    if error["type"] == "value_error" and column == "phone":
        return note(column, "phone_needed")
    return note(column, _FAULTS.get(error["type"], "does_not_fit"))


def place(lines: Sequence[Line], own: Dossier | None, known: Sequence[Dossier]) -> None:
    """Say which client file each row is for. `own`: the one that all of the table is for; `known`: those that answer to
    a reference or name in these rows."""
    for line in lines:
        if own is not None:
            line.dossier_id = own.id
            if line.dossier and search_key(line.dossier) not in (own.name_key, search_key(own.external_ref or "")):
                line.faults.append(note("dossier", "other_dossier", said=line.dossier[:100]))
        elif not line.dossier:
            line.faults.append(note("dossier", "missing"))
        else:
            named = _called(line.dossier, known)
            if len(named) > 1:
                line.faults.append(note("dossier", "ambiguous_dossier"))
            elif named:
                line.dossier_id = named[0].id
            else:
                try:
                    line.dossier = clean_name(line.dossier)
                except Reject as bad:
                    line.faults.append(note("dossier", bad.slug))
        if line.faults:
            line.verdict = "invalid"


def _called(name: str, known: Sequence[Dossier]) -> Sequence[Dossier]:
    """Whose reference it is, else whose very name, else whose name but for case and accents."""
    key = search_key(name)
    for answers in (
        [dossier for dossier in known if dossier.external_ref == name],
        [dossier for dossier in known if dossier.name == name],
        [dossier for dossier in known if dossier.name_key == key],
    ):
        if answers:
            return answers
    return ()


def settle(lines: Sequence[Line], members: Sequence[Member], seen: dict[tuple[str, str], int]) -> None:
    """The verdict of each row that is in order: is the person there already, or in a row before? `seen` is carried from
    one part of the table to the next."""
    there = {(member.dossier_id, member.email_key): member for member in members}
    for line in lines:
        if line.verdict == "invalid" or line.email_key is None:
            continue
        place = line.dossier_id or f"new {search_key(line.dossier or '')}"
        first = seen.setdefault((place, line.email_key), line.number)
        member = there.get((place, line.email_key))
        if first != line.number:
            line.verdict = "repeated"
            line.hints = [note("email", "repeated", row=first)]
        elif member is not None:
            line.verdict = compared(line, member)
        else:
            line.verdict = "check" if line.hints else "add"


def compared(line: Line, member: Member) -> Verdict:
    """Whether somebody who is there already is as the row has them. What the row does not say counts as the same."""
    wanted = NewMember.model_validate({"invite_by": "none", **line.fields}).fields()
    different = [name for name in _COMPARED if name in line.fields and wanted[name] != getattr(member, name)]
    line.hints = [note(name, "differs") for name in different]
    return "differs" if different else "already_there"


def note(column: str, slug: str, **about: str | int) -> Note:
    """A remark on a cell."""
    return {"column": column, "slug": slug, "about": about}
