"""The verdict on each row."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.imports.columns import COLUMNS
from directory.imports.judging import Line, assess, place, settle
from directory.imports.reading import Row
from directory.imports.typos import likely_domain
from directory.imports.wording import sentence
from directory.model.dossier import Dossier
from directory.model.member import Member
from tests.unit.directory.making import NOW, a_cabinet, a_dossier, member_fields

CABINET = a_cabinet()


def a_line(number: int = 2, /, **values: str) -> Line:
    wanted = {"first_name": "Zoé", "last_name": "Bézier", "email": "zoe@example.com", **values}
    return assess(Row(number, list(wanted.values()), {name: value for name, value in wanted.items() if value}))


def faults(line: Line) -> list[tuple[str, str]]:
    return [(note["column"], note["slug"]) for note in line.faults]


@pytest.mark.parametrize(
    ("column", "written", "read"),
    [
        ("role", "Approbateur", "expense_approver"),
        ("role", "expense approver", "expense_approver"),
        ("role", "Utilisateur standard", "standard_user"),
        ("role", "standard_user", "standard_user"),
        ("role", "ADMIN", "administrator"),
        ("own_expense_reports", "oui", True),
        ("own_expense_reports", "Yes", True),
        ("own_expense_reports", "x", True),
        ("own_expense_reports", "1", True),
        ("own_expense_reports", "non", False),
        ("own_expense_reports", "-", False),
        ("locale", "Français", "fr"),
        ("locale", "English", "en"),
        ("locale", "fr", "fr"),
        ("invite_by", "E-mail", "email"),
        ("invite_by", "plus tard", "none"),
    ],
)
def test_words_are_understood_in_both_languages(column: str, written: str, read: Any) -> None:
    line = a_line(**{column: written})

    assert faults(line) == []
    assert line.fields[column] == read


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"first_name": ""}, ("first_name", "missing")),
        ({"email": ""}, ("email", "missing")),
        ({"email": "zoe at example.com"}, ("email", "bad_email")),
        ({"last_name": "a\u2028b"}, ("last_name", "bad_name")),
        ({"phone": "12"}, ("phone", "bad_phone")),
        ({"invite_by": "sms"}, ("phone", "phone_needed")),
        ({"role": "chief"}, ("role", "unknown_role")),
        ({"own_expense_reports": "perhaps"}, ("own_expense_reports", "neither_yes_nor_no")),
        ({"locale": "klingon"}, ("locale", "unknown_language")),
        ({"invite_by": "pigeon"}, ("invite_by", "unknown_way")),
        ({"employee_code": "7" * 300}, ("employee_code", "too_long")),
        ({"first_name": "x" * 2000}, ("first_name", "cell_too_long")),
    ],
)
def test_what_is_wrong_is_said_of_its_column_in_words(values: dict[str, str], fault: tuple[str, str]) -> None:
    line = a_line(**values)

    assert faults(line) == [fault]
    assert sentence(line.faults[0])


def test_every_fault_of_a_row_is_said_at_once() -> None:
    assert len(a_line(email="x", phone="y", role="z").faults) == 3


def test_a_number_from_which_a_spreadsheet_took_the_zero_is_understood() -> None:
    assert faults(a_line(phone="612345678", invite_by="sms")) == []


@pytest.mark.parametrize(
    ("domain", "meant"),
    [
        ("gmial.com", "gmail.com"),
        ("gmail.con", "gmail.com"),
        ("gmail.fr", "gmail.com"),
        ("hotmial.fr", "hotmail.fr"),
        ("orang.fr", "orange.fr"),
        ("laposte.fr", "laposte.net"),
        ("gmail.com", None),
        ("mail.com", None),
        ("outlook.de", None),
        ("leger.fr", None),
        ("cabinet-martin.fr", None),
    ],
)
def test_a_slip_in_a_usual_domain_is_a_hint_and_no_fault(domain: str, meant: str | None) -> None:
    assert likely_domain(domain) == meant

    line = a_line(email=f"zoe@{domain}")
    settle([line], [], {})

    assert line.verdict == ("check" if meant else "add")


def judged(*lines: Line, members: tuple[Member, ...] = (), own: Dossier | None = None, known: Any = ()) -> list[Line]:
    place(lines, own, known)
    settle(lines, members, {})
    return list(lines)


def test_the_same_person_further_down_is_repeated_whatever_the_case_of_the_address() -> None:
    dossier = a_dossier()
    first, second, other = judged(
        a_line(2), a_line(3, email="ZOE@Example.com"), a_line(4, email="other@example.com"), own=dossier
    )

    assert [first.verdict, second.verdict, other.verdict] == ["add", "repeated", "add"]
    assert sentence(second.hints[0]) == "The same person is in row 2."


def test_a_row_that_is_wrong_does_not_count_as_the_first() -> None:
    _, second = judged(a_line(2, phone="nonsense"), a_line(3), own=a_dossier())

    assert second.verdict == "add"


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ({}, "already_there"),
        ({"first_name": "Zoë"}, "differs"),
        ({"role": "admin"}, "differs"),
        ({"phone": ""}, "already_there"),
        ({"invite_by": "later"}, "already_there"),
    ],
)
def test_who_is_there_already_is_left_as_they_are(values: dict[str, str], verdict: str) -> None:
    dossier = a_dossier()
    fields = member_fields(
        first_name="Zoé", last_name="Bézier", email="zoe@example.com", email_key="zoe@example.com", phone="+33612345678"
    )
    there = Member.added({**fields, "created_at": NOW}, dossier, CABINET).after

    (line,) = judged(a_line(**{"phone": "06 12 34 56 78", **values}), members=(there,), own=dossier)

    assert line.verdict == verdict


def test_the_client_file_is_found_by_its_reference_or_its_name() -> None:
    by_reference = a_dossier(name="Garage Petit", external_ref="C-17")
    by_name = a_dossier(name="Boulangerie Léger")
    lines = judged(
        a_line(2, dossier="C-17"),
        a_line(3, dossier="boulangerie leger"),
        a_line(4, dossier="Nobody's yet"),
        a_line(5),
        known=[by_reference, by_name],
    )

    assert [line.dossier_id for line in lines] == [by_reference.id, by_name.id, None, None]
    assert [line.verdict for line in lines] == ["add", "add", "add", "invalid"]


def test_of_two_client_files_of_one_name_neither_is_guessed() -> None:
    (line,) = judged(a_line(dossier="Martin"), known=[a_dossier(name="MARTIN"), a_dossier(name="martin")])

    assert faults(line) == [("dossier", "ambiguous_dossier")]


def test_a_row_for_another_client_file_than_the_one_that_is_imported_into_is_refused() -> None:
    own = a_dossier(name="Garage Petit", external_ref="C-17")
    lines = judged(
        a_line(2, dossier="garage petit"),
        a_line(3, dossier="c-17", email="b@example.com"),
        a_line(4, dossier="Boulangerie", email="c@example.com"),
        own=own,
    )

    assert [line.verdict for line in lines] == ["add", "add", "invalid"]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(COLUMNS)), st.text(min_size=1, max_size=60)))
def test_whatever_a_row_says_it_gets_a_verdict_and_its_reasons_in_words(values: dict[str, str]) -> None:
    line = assess(Row(2, list(values.values()), values))
    judged(line)

    assert line.verdict in ("add", "check", "invalid")
    assert (line.verdict == "invalid") == bool(line.faults)
    for note in (*line.faults, *line.hints):
        assert sentence(note)
