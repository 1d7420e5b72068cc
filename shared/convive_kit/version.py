"""Which build this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed_version() -> str:
    """The version of the product."""
    try:
        return version("convive")
    except PackageNotFoundError:  # run from the source tree
        return "0"
