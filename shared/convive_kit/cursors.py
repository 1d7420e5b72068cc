"""Keyset cursors: the sort values of the last item, opaque to the caller, checked when they come back."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel

from convive_kit.http import ListOf, invalid

Found = TypeVar("Found")
Item = TypeVar("Item", bound=BaseModel)
Key = tuple[datetime, str]
"""What a list in order of time is sorted by: a moment and an id."""

SortValue = str | int | float | bool | datetime | None


def encode_cursor(*values: SortValue) -> str:
    """A cursor that holds the sort values of the last item of a page, the unique one last."""
    plain = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    return urlsafe_b64encode(json.dumps(plain, separators=(",", ":")).encode()).decode().rstrip("=")


def decode_cursor(text: str, *kinds: type | tuple[type, ...]) -> list[Any]:
    """The values in `text`, each of its kind (as for `isinstance`; datetimes are aware), or a 422 naming `cursor`.

    A cursor is not a permission: it only says where to go on, so it is checked for its shape and not signed.
    """
    try:
        values = json.loads(urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)))
        if not isinstance(values, list) or len(values) != len(kinds):  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError
        return [_checked(value, kind) for value, kind in zip(values, kinds, strict=True)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    except (ValueError, RecursionError, OverflowError):
        raise invalid("cursor", "This is not a cursor of this list; start without one.") from None


def key_in(cursor: str | None) -> Key | None:
    """Where a list in order of time goes on, or None for its beginning; 422 for what is no cursor of one."""
    if cursor is None:
        return None
    moment, id = decode_cursor(cursor, datetime, str)
    return moment, id


def page_of(
    page: type[ListOf[Item]],
    found: Sequence[Found],
    limit: int,
    *,
    view: Callable[[Found], Item],
    key: Callable[[Found], Key],
) -> ListOf[Item]:
    """A page of what was found; one more than `limit` was asked for tells that the list goes on."""
    shown = found[:limit]
    more = len(found) > limit
    return page(items=[view(one) for one in shown], next_cursor=encode_cursor(*key(shown[-1])) if more else None)


def _checked(value: object, kind: type | tuple[type, ...]) -> object:
    kinds: Sequence[type] = kind if isinstance(kind, tuple) else (kind,)
    if datetime in kinds and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC)
    if isinstance(value, str):
        value.encode()  # a lone surrogate would only fail in the database driver
    # bool is an int to isinstance, but not to a sort order.
    if not isinstance(value, tuple(kinds)) or (isinstance(value, bool) and bool not in kinds):
        raise ValueError
    return value
