"""Between the model's objects and the documents of a database: None is absent, and only what differs is written."""

from __future__ import annotations

from typing import Any, TypeVar

from directory.model.change import Change, Stored

Document = TypeVar("Document", bound=Stored)


def to_document(stored: Stored) -> dict[str, Any]:
    fields = stored.model_dump(exclude_none=True)
    return {"_id": fields.pop("id"), **fields}


def from_document(model: type[Document], document: dict[str, Any]) -> Document:
    return model.model_validate({**document, "id": document["_id"]})


def differences(change: Change[Stored]) -> tuple[dict[str, Any], list[str]]:
    """What a save sets and what it removes: fields that did not change are left to nobody's overwriting."""
    before = to_document(change.before) if change.before else {}
    after = to_document(change.after)
    changed = {name: value for name, value in after.items() if name not in before or before[name] != value}
    return changed, [name for name in before if name not in after]
