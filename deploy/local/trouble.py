"""The one error this package shows to a person."""


class CannotStart(Exception):
    """Something needed cannot be had or does not come up; the message says what, and what to do about it."""
