from __future__ import annotations

from convive_kit.errors import Conflict, ConviveError, Reject, Retry


class EmailTaken(Conflict):
    """This e-mail is already in the dossier.

    Also in a race.
    """

    slug = "email_taken"


def test_the_first_line_of_the_docstring_is_the_message() -> None:
    assert str(EmailTaken()) == "This e-mail is already in the dossier."
    assert EmailTaken.slug == "email_taken"


def test_a_detail_says_more_than_the_message() -> None:
    assert Reject("The event has no subject.").detail == "The event has no subject."


def test_a_retry_says_after_how_many_seconds() -> None:
    assert Retry(after=2).after == 2
    assert isinstance(Retry(), ConviveError)
