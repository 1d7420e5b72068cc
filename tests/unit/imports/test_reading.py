"""Tables as spreadsheets save them."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from directory.imports.judging import assess
from directory.imports.reading import MOST_BYTES, MOST_ROWS, Unreadable, read, safe_cell
from directory.imports.wording import UNREADABLE

FRENCH = (
    "Prénom;Nom;Adresse e-mail;Téléphone mobile\r\n"
    "Zoé;Bézier;zoe@example.com;06 12 34 56 78\r\n"
    '"Anaïs";"Le ""Goff""";anais@example.com;\r\n'
)
ZOE = {"first_name": "Zoé", "last_name": "Bézier", "email": "zoe@example.com", "phone": "06 12 34 56 78"}
ANAIS = {"first_name": "Anaïs", "last_name": 'Le "Goff"', "email": "anais@example.com"}


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (FRENCH.encode(), "utf-8"),
        (FRENCH.encode("utf-8-sig"), "utf-8"),
        (FRENCH.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + FRENCH.encode("utf-16-be"), "utf-16"),
        (FRENCH.encode("cp1252"), "cp1252"),
        (FRENCH.encode("mac_roman"), "mac_roman"),
        (FRENCH.encode("cp850"), "cp850"),
    ],
)
def test_the_encoding_is_found_out(content: bytes, encoding: str) -> None:
    table = read(content)

    assert table.encoding == encoding
    assert [row.values for row in table.rows] == [ZOE, ANAIS]


@pytest.mark.parametrize("separator", [";", ",", "\t", "|"])
def test_the_separator_is_found_out(separator: str) -> None:
    table = read(FRENCH.replace(";", separator).encode())

    assert table.separator == separator
    assert table.rows[0].values == ZOE


def test_a_separator_that_excel_names_itself_is_taken_at_its_word() -> None:
    assert read(("sep=;\r\n" + FRENCH).encode()).rows[1].values == ANAIS


def test_commas_in_cells_do_not_mislead() -> None:
    text = "nom;prénom;e-mail;société\nMartin, Jeanne;Jeanne, Zoé;j@example.com;Martin, Petit, Fils\n"
    assert read(text.encode()).separator == ";"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_end_in_any_way(ending: str) -> None:
    assert len(read(FRENCH.replace("\r\n", ending).encode()).rows) == 2


@pytest.mark.parametrize(
    ("headings", "column"),
    [
        ("First name,Last name,E-mail,Mobile phone", "phone"),
        ("PRENOM,NOM,COURRIEL,Code salarié", "employee_code"),
        ("prénom (obligatoire),nom_de_famille,Email address,Matricule", "employee_code"),
        ("given name,SURNAME,mail,Rôle", "role"),
        ("Prénom,Nom,Email,Notes de frais", "own_expense_reports"),
        ("Prénom,Nom,Email,Dossier client", "dossier"),
        ("first_name,last_name,email,invite_by", "invite_by"),
        ("Prénom,Nom,Email,Langue", "locale"),
    ],
)
def test_headings_are_known_in_french_and_english_however_they_are_written(headings: str, column: str) -> None:
    (row,) = read(f"{headings}\na,b,c,d\n".encode()).rows

    assert row.values == {"first_name": "a", "last_name": "b", "email": "c", column: "d"}


def test_of_two_columns_for_one_the_better_named_that_is_filled_in_counts() -> None:
    text = "prénom,nom,e-mail,téléphone,mobile\na,b,c,01,06\nd,e,f,01,\n"

    assert [row.values["phone"] for row in read(text.encode()).rows] == ["06", "01"]


def test_what_is_made_nothing_of_is_said() -> None:
    assert read(b"First name,Last name,Email,Shoe size\na,b,c,42\n").ignored == ["Shoe size"]


def test_rows_count_as_in_the_spreadsheet_and_empty_ones_are_left_out() -> None:
    table = read(b"\n\nFirst name,Last name,Email\n,,\na,b,c\n\nd,e,f\n")

    assert [row.number for row in table.rows] == [3, 5]


def test_a_cell_written_so_that_it_is_no_formula_is_read_without_its_mark() -> None:
    (row,) = read(b"First name,Last name,Email,Phone\na,b,c,'+33612345678\n").rows

    assert row.values["phone"] == "+33612345678"


@pytest.mark.parametrize("text", ["=1+1", "+33612345678", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_take_for_a_formula_is_written_so_that_it_is_none(text: str) -> None:
    assert safe_cell(text) == f"'{text}"


ROW = b"a,b,c@example.com\n"
HEADINGS = b"First name,Last name,Email\n"


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (b"", "empty"),
        (b"  \n\n", "empty"),
        (HEADINGS, "no_rows"),
        (HEADINGS + b",,\n", "no_rows"),
        (b"PK\x03\x04rest", "other_file"),
        (b"%PDF-1.7", "other_file"),
        (HEADINGS + b"a\x00b,c,d\n", "no_text"),
        (codecs.BOM_UTF16_LE + b"a", "no_text"),
        (b"First name,Email\na,b\n", "no_column"),
        (b"a,b,c\n" + ROW, "no_column"),
        (HEADINGS + b"x," * 101, "too_many_columns"),
        (HEADINGS + b'"' + b"x" * 200_000, "broken_row"),
        (HEADINGS + ROW * (MOST_ROWS + 1), "too_many_rows"),
        (b"x" * (MOST_BYTES + 1), "too_large"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, slug: str) -> None:
    with pytest.raises(Unreadable) as told:
        read(content)

    assert told.value.slug == slug
    assert UNREADABLE[slug] % told.value.about


def test_a_missing_column_is_named_with_those_that_were_found() -> None:
    with pytest.raises(Unreadable) as told:
        read("Prénom;Name;Courriel\na;b;c\n".encode())

    assert told.value.about == {"missing": "nom", "found": "Prénom, Name, Courriel"}


def test_a_table_for_the_whole_firm_needs_a_column_for_the_client_file() -> None:
    with pytest.raises(Unreadable, match="no_column"):
        read(HEADINGS + ROW, needs_dossier=True)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda rest: HEADINGS + rest))
@example(HEADINGS + b'"\n')
@example("Prénom;Nom;E-mail\n".encode("cp1252") + bytes(range(128, 256)))
def test_whatever_the_bytes_are_there_are_rows_or_a_reason(content: bytes) -> None:
    try:
        table = read(content)
    except Unreadable as why:
        words = UNREADABLE[why.slug] % why.about
    else:
        words = "".join(assess(row).verdict for row in table.rows)
    assert words
