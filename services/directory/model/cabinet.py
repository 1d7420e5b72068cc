"""A cabinet: the accounting firm, the tenant, and its API keys."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from directory.model.change import Announcement, Change, Stored


class ApiKey(BaseModel):
    """`hash` is the hex SHA-256 of the secret: the secret is random, so nothing slower is needed."""

    model_config = ConfigDict(frozen=True)

    id: str
    hash: str
    created_at: datetime
    revoked_at: datetime | None = None


class Cabinet(Stored):
    kind = "cabinets"

    name: str
    phone: str | None = None
    keys: tuple[ApiKey, ...] = ()
    created_at: datetime

    @staticmethod
    def found(id: str, name: str, phone: str | None, key: ApiKey) -> Change[Cabinet]:
        """A new cabinet with its first key."""
        state = {"id": id, "name": name, "phone": phone}
        return Cabinet.created(
            Announcement("cabinet.updated", id, state), **state, keys=(key,), created_at=key.created_at
        )

    def announced_anew(self) -> Change[Cabinet]:
        """The present state told again."""
        state = {"id": self.id, "name": self.name, "phone": self.phone}
        return self.changed(Announcement("cabinet.updated", self.id, state))

    def add_key(self, key: ApiKey) -> Change[Cabinet]:
        return self.changed(keys=(*self.keys, key))

    def revoke_keys(self, key_id: str | None, now: datetime) -> Change[Cabinet] | None:
        """Revoke one key, or every key when `key_id` is None; None when there was nothing to revoke."""
        chosen = {key.id for key in self.keys if key.revoked_at is None and key_id in (None, key.id)}
        if not chosen:
            return None
        keys = tuple(key.model_copy(update={"revoked_at": now}) if key.id in chosen else key for key in self.keys)
        return self.changed(keys=keys)

    def live_key(self, key_id: str) -> ApiKey | None:
        return next((key for key in self.keys if key.id == key_id and key.revoked_at is None), None)
