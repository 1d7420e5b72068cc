"""A document as it was read, and a change to it: what to write and what to tell, in one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict


class Stored(BaseModel):
    """A document with a version. Absent and None are the same; `outbox` and `writes` belong to the store."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    kind: ClassVar[str]

    id: str
    version: int = 0

    def changed(self, *announcements: Announcement, **fields: Any) -> Change[Self]:
        """This document with other `fields`; the version counts one per announcement, so each has its `sequence`."""
        version = self.version + max(1, len(announcements))
        return Change(self, self.model_copy(update={**fields, "version": version}), announcements)

    @classmethod
    def created(cls, *announcements: Announcement, **fields: Any) -> Change[Self]:
        """A document that is not there yet."""
        return Change(None, cls(**fields, version=max(1, len(announcements))), announcements)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A fact to publish: the short type, the id it is about, and the event's data. `lane`: a lane of its own on the
    bus, where it holds nobody up."""

    type: str
    subject: str
    data: Mapping[str, Any]
    lane: str | None = None

    @property
    def key(self) -> str:
        """The routing key: the short type, and the lane where there is one."""
        return f"{self.type}.{self.lane}" if self.lane else self.type


Document = TypeVar("Document", bound=Stored, covariant=True)


@dataclass(frozen=True, slots=True)
class Change(Generic[Document]):
    """Saved as a compare-and-swap: it counts only if the document still is what it was before."""

    before: Stored | None
    after: Document
    announcements: tuple[Announcement, ...] = ()

    @property
    def seen(self) -> int:
        """The version the decision was made on; 0 for a new document."""
        return self.before.version if self.before else 0
