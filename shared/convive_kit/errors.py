"""Errors that name their fate: try later, park it, somebody else won, not allowed."""

from __future__ import annotations

import inspect
from typing import ClassVar


class ConviveError(Exception):
    """Something went wrong.

    The first line of a subclass's docstring is its message; `slug` is stable and appears in problem documents,
    logs and parked messages. `detail` replaces the message where there is more to say; it never carries
    personal data or secrets.
    """

    slug: ClassVar[str] = "error"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or self.message()
        super().__init__(self.detail)

    @classmethod
    def message(cls) -> str:
        # Docstrings are stripped under `python -OO`; the slug is all that is left then.
        return (inspect.getdoc(cls) or cls.slug).partition("\n")[0]


class Retry(ConviveError):
    """This cannot be done at the moment; try again later."""

    slug: ClassVar[str] = "try_again_later"

    def __init__(self, detail: str = "", *, after: float = 5) -> None:
        """`after`: seconds after which another try makes sense."""
        super().__init__(detail)
        self.after = after


class Reject(ConviveError):
    """This can never be handled as it is."""

    slug: ClassVar[str] = "rejected"
    waits: ClassVar[bool] = False
    """Whether it is set aside to be tried again, rather than parked for somebody to look at."""


class Conflict(ConviveError):
    """Something else changed this in the meantime."""

    slug: ClassVar[str] = "conflict"


class NotAllowed(ConviveError):
    """You may not do this."""

    slug: ClassVar[str] = "not_allowed"
