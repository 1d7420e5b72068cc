"""Which passwords will do, and what a person is told about the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zxcvbn_rs_py import Suggestion
from zxcvbn_rs_py import Warning as Weakness

from convive_kit import passwords
from convive_kit.passwords import Reason, judge
from invitation.i18n import LOCALES, Locale
from invitation.pages.passwords import explain

NAMES = ["Jeanne", "Martin", "jeanne.martin@example.com", "Cabinet Léger", "Boulangerie Martin"]


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "tigre-nuage-vélo-42",
        "kX9#mQ2$vL7!",
        "Jeanne-Martin-tigre-nuage-vélo",
        "السلام عليكم ورحمة",
        "🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔🐧",
    ],
)
def test_a_password_that_is_hard_to_guess_will_do(password: str) -> None:
    assert judge(password, names=NAMES) == []


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", Reason.TOO_SHORT),
        ("kX9#mQ2$vL7", Reason.TOO_SHORT),
        ("password1234", Reason.COMMON),
        ("azertyuiop12", Reason.TOO_EASY),
        ("aaaaaaaaaaaa", Reason.REPEATS),
        ("abcdefghijklm", Reason.SEQUENCE),
        ("boulangeriemartin", Reason.TOO_EASY),
        ("\ud800" * 12, Reason.UNREADABLE),
    ],
)
def test_the_main_reason_comes_first(password: str, reason: Reason) -> None:
    assert judge(password, names=NAMES)[0] is reason


def test_length_counts_characters_and_not_bytes() -> None:
    assert judge("🦊🐻🐼🐨🐯🦁🐮🐷🐸🐵🐔", names=NAMES) == [Reason.TOO_SHORT]
    assert Reason.TOO_LONG not in judge("é" * 128, names=NAMES)


def test_a_long_password_is_refused_before_it_is_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "zxcvbn", None)
    assert judge("x" * 129, names=NAMES) == [Reason.TOO_LONG]
    assert judge("x" * 1_000_000, names=NAMES) == [Reason.TOO_LONG]


@pytest.mark.parametrize(
    "password", ["jeanne.martin.1975", "Léger2024Léger", "leger-martin-2026", "MARTIN_boulangerie1"]
)
def test_what_an_acquaintance_knows_counts_for_nothing(password: str) -> None:
    assert Reason.PERSONAL in judge(password, names=NAMES)
    assert judge(password, names=[]) != judge(password, names=NAMES)


def test_names_of_any_kind_are_taken() -> None:
    assert judge("tigre-nuage-vélo-42", names=["", "a", "\ud800", "عدي", "x" * 10_000, "!!!"]) == []


@given(st.text(st.characters(), max_size=140), st.lists(st.text(st.characters(), max_size=30), max_size=5))
def test_any_password_gets_a_verdict(password: str, names: list[str]) -> None:
    assert all(isinstance(reason, Reason) for reason in judge(password, names=names))


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_in_every_language(reason: Reason, locale: Locale) -> None:
    assert explain(reason, locale).endswith(".")
    assert explain(reason, "fr") != explain(reason, "en")


def test_the_reasons_state_the_limits_that_are_checked() -> None:
    assert str(passwords.SHORTEST) in explain(Reason.TOO_SHORT, "en")
    assert str(passwords.LONGEST) in explain(Reason.TOO_LONG, "fr")


@pytest.mark.parametrize(("codes", "table"), [(Weakness, passwords.WEAKNESSES), (Suggestion, passwords.SUGGESTIONS)])
def test_everything_the_estimator_can_say_has_a_reason_of_ours(
    codes: type, table: tuple[tuple[object, Reason], ...]
) -> None:
    said = {name for name in vars(codes) if name[0].isupper()}
    assert {repr(code).partition(".")[2] for code, _ in table} == said
