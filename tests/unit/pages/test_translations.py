"""Every sentence that the code writes exists in every language."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import invitation
from invitation.i18n import CATALOGUES, DOMAIN, choose_locale, supported

PACKAGE = Path(invitation.__file__).parent
SOURCES = [
    ("**.py", "python"),
    ("**.html", "jinja2.ext:babel_extract"),
    ("**.mjml", "jinja2.ext:babel_extract"),
    ("**.txt", "jinja2.ext:babel_extract"),
]
MARKS = {"_": None, "msgid": None, "phrase": None, "ngettext": (1, 2)}


def written() -> set[str | tuple[str, ...]]:
    loud = {pattern: {"silent": "false"} for pattern, _ in SOURCES}
    found = extract_from_dir(PACKAGE, SOURCES, loud, keywords=MARKS)
    return {message for _, _, message, _, _ in found}


def translated() -> dict[str | tuple[str, ...], Message]:
    with (CATALOGUES / "fr" / "LC_MESSAGES" / f"{DOMAIN}.po").open("rb") as lines:
        catalogue: Catalog = read_po(lines, locale="fr")
    return {key(message.id): message for message in catalogue if message.id}


def key(id: str | list[str] | tuple[str, ...]) -> str | tuple[str, ...]:
    return id if isinstance(id, str) else tuple(id)


def forms(message: Message) -> list[str]:
    """The translation, or its singular and plural."""
    return [message.string] if isinstance(message.string, str) else list(message.string or [""])


def test_every_sentence_is_translated_and_no_translation_is_left_over() -> None:
    assert written() == set(translated())


def test_every_translation_is_complete_and_names_the_same_names() -> None:
    for id, message in translated().items():
        assert not message.fuzzy, id
        assert all(forms(message)), id
        assert list(message.check()) == [], id


def test_french_punctuation_never_starts_a_line() -> None:
    for message in translated().values():
        for text in forms(message):
            for mark in (" ?", " !", " ;", " :", "« ", " »", "'"):
                assert mark not in text, text


@pytest.mark.parametrize(
    ("asked", "invited_in", "browser", "chosen"),
    [
        ("en", "fr", "fr", "en"),
        (None, "fr", "en", "fr"),
        (None, "fr-CA", None, "fr"),
        (None, None, "en-GB,en;q=0.9,fr;q=0.8", "en"),
        (None, None, "de, fr;q=0.5, en;q=0.4", "fr"),
        (None, "de", "en", "en"),
        ("de", None, None, "fr"),
        (None, None, "fr;q=0, en;q=0.1", "en"),
        (None, None, "; ,,*, q=\x00" + "en," * 10_000, "en"),
        ("../../etc", "", "", "fr"),
    ],
)
def test_the_language_is_what_was_asked_for_then_the_invitations_then_the_browsers(
    asked: str | None, invited_in: str | None, browser: str | None, chosen: str
) -> None:
    assert choose_locale(asked=asked, invitation=invited_in, accept_language=browser) == chosen


def test_only_languages_we_have_are_supported() -> None:
    assert [supported(tag) for tag in ("fr", "FR_fr", "en-GB", "de", "", None, "french")] == [
        "fr",
        "fr",
        "en",
        None,
        None,
        None,
        None,
    ]
