from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import directory
from directory.web.language import COOKIE, language_of

ROOM = Path(directory.__file__).parent
SOURCES = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract"), ("**.txt", "jinja2.ext:babel_extract")]


def sentences() -> set[str]:
    """Everything the pages and letters say, in English."""
    loud = {pattern: {"silent": "false"} for pattern, _ in SOURCES}
    found = extract_from_dir(ROOM, SOURCES, loud, keywords={"_": None, "msgid": None, "ngettext": (1, 2)})
    return {message[0] if isinstance(message, tuple) else message for _, _, message, _, _ in found}


def test_every_sentence_has_a_french_one_and_none_is_left_over() -> None:
    with (ROOM / "locale" / "fr" / "LC_MESSAGES" / "directory.po").open("rb") as lines:
        french = [(_forms(message.id), _forms(message.string or "")) for message in read_po(lines) if message.id]
    assert {english[0] for english, _ in french} == sentences()
    for english, text in [pair for ids, texts in french for pair in zip(ids, texts, strict=True)]:
        assert text, english
        assert set(re.findall(r"%\(\w+\)s", english)) == set(re.findall(r"%\(\w+\)s", text))
        assert not re.search(r"[ \w][?!;:]( |$)", text.replace("\u00a0", "¤")), f"no non-breaking space: {text}"


def _forms(text: str | Sequence[str]) -> Sequence[str]:
    """A sentence, or its singular and plural."""
    return [text] if isinstance(text, str) else text


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
