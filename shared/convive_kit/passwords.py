"""What a password must be. Pure: the words for what it is not are the services' own, and the directory alone stores."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import StrEnum

from zxcvbn_rs_py import Suggestion, zxcvbn
from zxcvbn_rs_py import Warning as Weakness

SHORTEST, LONGEST = 12, 128
"""Characters."""
# zxcvbn's own scale: 3 is "safely unguessable, moderate protection from an offline attack".
ENOUGH = 3


class Reason(StrEnum):
    """Why a password was refused, or what would make it better. The value is a stable slug."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    UNREADABLE = "unreadable"
    TOO_EASY = "too_easy"
    PERSONAL = "personal"
    COMMON = "common"
    NEARLY_COMMON = "nearly_common"
    KEYBOARD = "keyboard"
    REPEATS = "repeats"
    SEQUENCE = "sequence"
    YEAR = "year"
    DATE = "date"
    SINGLE_WORD = "single_word"
    NAME = "name"
    ADD_WORDS = "add_words"
    CAPITALS = "capitals"
    REVERSED = "reversed"
    SUBSTITUTIONS = "substitutions"


WEAKNESSES: tuple[tuple[Weakness, Reason], ...] = (
    (Weakness.StraightRowsOfKeysAreEasyToGuess, Reason.KEYBOARD),
    (Weakness.ShortKeyboardPatternsAreEasyToGuess, Reason.KEYBOARD),
    (Weakness.RepeatsLikeAaaAreEasyToGuess, Reason.REPEATS),
    (Weakness.RepeatsLikeAbcAbcAreOnlySlightlyHarderToGuess, Reason.REPEATS),
    (Weakness.ThisIsATop10Password, Reason.COMMON),
    (Weakness.ThisIsATop100Password, Reason.COMMON),
    (Weakness.ThisIsACommonPassword, Reason.COMMON),
    (Weakness.ThisIsSimilarToACommonlyUsedPassword, Reason.NEARLY_COMMON),
    (Weakness.SequencesLikeAbcAreEasyToGuess, Reason.SEQUENCE),
    (Weakness.RecentYearsAreEasyToGuess, Reason.YEAR),
    (Weakness.AWordByItselfIsEasyToGuess, Reason.SINGLE_WORD),
    (Weakness.DatesAreOftenEasyToGuess, Reason.DATE),
    (Weakness.NamesAndSurnamesByThemselvesAreEasyToGuess, Reason.NAME),
    (Weakness.CommonNamesAndSurnamesAreEasyToGuess, Reason.NAME),
)

SUGGESTIONS: tuple[tuple[Suggestion, Reason], ...] = (
    (Suggestion.UseAFewWordsAvoidCommonPhrases, Reason.ADD_WORDS),
    (Suggestion.NoNeedForSymbolsDigitsOrUppercaseLetters, Reason.ADD_WORDS),
    (Suggestion.AddAnotherWordOrTwo, Reason.ADD_WORDS),
    (Suggestion.UseALongerKeyboardPatternWithMoreTurns, Reason.KEYBOARD),
    (Suggestion.CapitalizationDoesntHelpVeryMuch, Reason.CAPITALS),
    (Suggestion.AllUppercaseIsAlmostAsEasyToGuessAsAllLowercase, Reason.CAPITALS),
    (Suggestion.ReversedWordsArentMuchHarderToGuess, Reason.REVERSED),
    (Suggestion.PredictableSubstitutionsDontHelpVeryMuch, Reason.SUBSTITUTIONS),
    (Suggestion.AvoidRepeatedWordsAndCharacters, Reason.REPEATS),
    (Suggestion.AvoidSequences, Reason.SEQUENCE),
    (Suggestion.AvoidRecentYears, Reason.YEAR),
    (Suggestion.AvoidYearsThatAreAssociatedWithYou, Reason.YEAR),
    (Suggestion.AvoidDatesAndYearsThatAreAssociatedWithYou, Reason.DATE),
)


# zxcvbn knows the keyboards of others only.
_AZERTY = ("azertyuiop", "qsdfghjklm", "wxcvbn", "azertyuiopqsdfghjklm")


def judge(password: str, *, names: Sequence[str]) -> list[Reason]:
    """Why this password will not do, the main reason first; an empty list means it will.

    `names` are what an acquaintance would try: the person's names and e-mail address, the cabinet.
    """
    if len(password) < SHORTEST:
        return [Reason.TOO_SHORT]
    # Before any scoring: zxcvbn's time grows with the square of the length.
    if len(password) > LONGEST:
        return [Reason.TOO_LONG]
    if any("\ud800" <= character <= "\udfff" for character in password):
        return [Reason.UNREADABLE]
    personal = sorted(_personal_words(names), key=len, reverse=True)
    verdict = zxcvbn(password, [*personal, *_AZERTY])
    if int(verdict.score) < ENOUGH:
        feedback = verdict.feedback
        warning = feedback.warning if feedback else None
        reasons = [reason for code, reason in WEAKNESSES if code == warning] or [Reason.TOO_EASY]
        if _without(personal, password) != password:
            reasons.append(Reason.PERSONAL)
        suggestions = feedback.suggestions if feedback else []
        reasons.extend(reason for code, reason in SUGGESTIONS if code in suggestions)
        return list(dict.fromkeys(reasons))
    # zxcvbn takes `jeanne.martin.1975` for strong because of its many pieces, although each piece is known.
    rest = _without(personal, password)
    if rest != password and int(zxcvbn(rest, personal).score) < ENOUGH:
        return [Reason.PERSONAL, Reason.ADD_WORDS]
    return []


def _personal_words(names: Iterable[str]) -> set[str]:
    """The words of the names, with and without accents; what is shorter than three letters is no clue."""
    words: set[str] = set()
    # A name of contract length has a few words; the cap keeps a hostile publisher from slowing the judgement.
    for name in names:
        for word in re.split(r"[\W_]+", name[:256].casefold())[:16]:
            bare = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
            words.update(candidate for candidate in (word, bare) if len(candidate) >= 3)
    return words


def _without(words: Sequence[str], password: str) -> str:
    """The password with each of these words taken out, accents and case aside."""
    folded = password.casefold()
    bare = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    rest = bare
    for word in words:
        rest = rest.replace(word, "")
    # Some single characters decompose into many.
    return password if rest == bare else rest[:LONGEST]
