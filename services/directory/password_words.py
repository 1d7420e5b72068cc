"""What is said of a password that will not do; every text is a msgid."""

from __future__ import annotations

from convive_kit.passwords import Reason
from directory.i18n import msgid

WHY_NOT: dict[Reason, str] = {
    Reason.TOO_SHORT: msgid("It is too short: use at least 12 characters."),
    Reason.TOO_LONG: msgid("It is too long: use at most 128 characters."),
    Reason.UNREADABLE: msgid("It contains characters that cannot be read."),
    Reason.TOO_EASY: msgid("It is too easy to guess."),
    Reason.PERSONAL: msgid("Without your name, your email address or the firm in it, too little is left."),
    Reason.COMMON: msgid("Very many people use this password."),
    Reason.NEARLY_COMMON: msgid("It is too close to a password that very many people use."),
    Reason.KEYBOARD: msgid("Neighbouring keys are easy to guess."),
    Reason.REPEATS: msgid("Repeated letters or words are easy to guess."),
    Reason.SEQUENCE: msgid("Sequences such as “abc” or “6543” are easy to guess."),
    Reason.YEAR: msgid("Recent years are easy to guess."),
    Reason.DATE: msgid("Dates are easy to guess."),
    Reason.SINGLE_WORD: msgid("A single word is easy to guess."),
    Reason.NAME: msgid("First names and surnames are easy to guess."),
    Reason.ADD_WORDS: msgid("Add one or two words that do not belong together."),
    Reason.CAPITALS: msgid("Capital letters alone do not help much."),
    Reason.REVERSED: msgid("A word written backwards is hardly harder to guess."),
    Reason.SUBSTITUTIONS: msgid("Replacing letters, such as @ for a, does not help much."),
}
