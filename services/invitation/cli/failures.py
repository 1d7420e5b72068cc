"""What can go wrong, and the exit code that says so."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How the program ends; the meanings are part of its interface."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    AWAY = 5
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        return _MEANINGS[self]


_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "the service refused it, or something failed",
    ExitCode.USAGE: "wrong usage: nothing was asked of any service",
    ExitCode.NOT_FOUND: "there is no such thing, or not for this token",
    ExitCode.NOT_ALLOWED: "the token is unknown, or its role does not reach so far",
    ExitCode.AWAY: "the service is away, or did not answer in time",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C)",
}


class Failed(Exception):
    """Ends the program with a line that says what went wrong and what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code
