from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from babel.messages.extract import extract_from_file
from babel.messages.pofile import read_po
from jinja2.ext import babel_extract

import directory
from directory.web.language import COOKIE, language_of

ROOM = Path(directory.__file__).parent


def sentences() -> set[str]:
    """Everything the pages say, in English."""
    found: set[str] = set()
    for page in (ROOM / "web" / "templates").glob("*.html"):
        with page.open("rb") as file:
            for _, _, message, _ in babel_extract(file, ["_"], [], {}):  # pyright: ignore[reportArgumentType]
                text = message[0] if isinstance(message, tuple) else message
                found |= {text} if text else set()  # None: a sentence that is marked where it is written
    for module in (ROOM / "web").glob("*.py"):
        found |= {str(row[1]) for row in extract_from_file("python", module, keywords={"msgid": None})}
    return found


def test_every_sentence_has_a_french_one_and_none_is_left_over() -> None:
    with (ROOM / "locale" / "fr" / "LC_MESSAGES" / "directory.po").open("rb") as lines:
        french = {str(message.id): str(message.string) for message in read_po(lines) if message.id}
    assert set(french) == sentences()
    assert all(french.values())
    for english, text in french.items():
        assert set(re.findall(r"%\(\w+\)s", english)) == set(re.findall(r"%\(\w+\)s", text))
        assert not re.search(r"[ \w][?!;:]( |$)", text.replace("\u00a0", "¤")), f"no non-breaking space: {text}"


@pytest.mark.parametrize(
    ("path", "headers", "language"),
    [
        ("/", {}, "fr"),
        ("/", {"Accept-Language": "en-GB,en;q=0.9"}, "en"),
        ("/", {"Accept-Language": "de,fr;q=0.8,en;q=0.7"}, "fr"),
        ("/", {"Accept-Language": "fr;q=0.1,en;q=0.9"}, "en"),
        ("/", {"Accept-Language": "zh"}, "fr"),
        ("/", {"Accept-Language": ";;;q=,,*;q=x" + "a" * 9000}, "fr"),
        ("/?lang=en", {"Accept-Language": "fr"}, "en"),
        ("/?lang=xx", {"Accept-Language": "en"}, "en"),
        ("/", {"Accept-Language": "fr", "Cookie": f"{COOKIE}=en"}, "en"),
    ],
)
def test_the_reader_gets_the_language_they_asked_for(path: str, headers: dict[str, str], language: str) -> None:
    assert language_of(make_mocked_request("GET", path, headers=headers)) == language
