"""Pages that are made from the code say what the code says."""

from __future__ import annotations

import pytest

from deploy import docs


@pytest.mark.parametrize("name", docs.pages())
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (docs.FOLDER / name).read_text() == docs.pages()[name], "run `make docs`"


def test_every_variable_has_a_meaning() -> None:
    rows = [line for line in docs.pages()["configuration.md"].splitlines() if line.startswith("| `CONVIVE_")]
    assert len(rows) > 20
    assert [row for row in rows if not row.rstrip(" |").endswith((".", "`"))] == []
