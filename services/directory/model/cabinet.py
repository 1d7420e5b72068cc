"""A cabinet: the accounting firm, the tenant, and its API keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from convive_contracts.events import CabinetState, Policies
from directory.model.change import Announcement, Change, Stored
from directory.model.refusals import FieldRefused

DEFAULTS = Policies(link_days=14, reminder_days=(2, 5, 10), quiet_from="20:00", quiet_until="08:00")
"""What holds where a firm has not chosen, as the invitation service starts out with it."""
_AN_HOUR, _A_DAY = 60, 24 * 60


class ApiKey(BaseModel):
    """`hash` is the hex SHA-256 of the secret: the secret is random, so nothing slower is needed."""

    model_config = ConfigDict(frozen=True)

    id: str
    hash: str
    created_at: datetime
    revoked_at: datetime | None = None


class Cabinet(Stored):
    """`colour` (#rrggbb), `reply_to` and `sms_sender` are how it shows itself to its people, `policies` when it writes
    to them; see `CabinetState`."""

    kind = "cabinets"

    name: str
    phone: str | None = None
    colour: str | None = None
    reply_to: str | None = None
    sms_sender: str | None = None
    policies: Policies = Policies()
    keys: tuple[ApiKey, ...] = ()
    created_at: datetime

    @staticmethod
    def found(id: str, name: str, phone: str | None, key: ApiKey) -> Change[Cabinet]:
        """A new cabinet with its first key."""
        cabinet = Cabinet(id=id, name=name, phone=phone, keys=(key,), created_at=key.created_at, version=1)
        return Change(None, cabinet, (cabinet._announced(),))

    def edited(self, fields: Mapping[str, Any]) -> Change[Cabinet] | None:
        """Another face or other policies, of which only those named change; None when nothing differs. Raises
        `FieldRefused`."""
        fields = dict(fields)
        if "policies" in fields:
            fields["policies"] = Policies.model_validate({**self.policies.model_dump(), **fields["policies"]})
            _refuse_unfit(fields["policies"])
        if all(getattr(self, name) == value for name, value in fields.items()):
            return None
        return self.changed(self.model_copy(update=fields)._announced(), **fields)

    def announced_anew(self) -> Change[Cabinet]:
        """The present state told again."""
        return self.changed(self._announced())

    @property
    def state(self) -> Mapping[str, Any]:
        """What others are told of it, see `CabinetState`."""
        return self.model_dump(mode="json", include=set(CabinetState.model_fields))

    def _announced(self) -> Announcement:
        return Announcement("cabinet.updated", self.id, self.state)

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


def _refuse_unfit(policies: Policies) -> None:
    """Refuse what would leave people without a message that they need."""
    days, last = policies.link_days or DEFAULTS.link_days, max(policies.reminder_days or (0,))
    if days is not None and last >= days:
        detail = f"The last reminder must go out before the link ends: give days below {days}."
        raise FieldRefused(detail, field="policies.reminder_days")
    if (policies.quiet_from is None) != (policies.quiet_until is None):
        missing = "quiet_from" if policies.quiet_from is None else "quiet_until"
        raise FieldRefused("Give both: from when and until when it is quiet.", field=f"policies.{missing}")
    # What is left of the day between the end of one quiet time and the beginning of the next.
    left = (_minutes(policies.quiet_from or "20:00") - _minutes(policies.quiet_until or "08:00")) % _A_DAY
    if 0 < left < _AN_HOUR:  # the same time twice: never quiet
        detail = "Leave at least one hour of the day in which messages may go out."
        raise FieldRefused(detail, field="policies.quiet_until")


def _minutes(time_of_day: str) -> int:
    hours, _, minutes = time_of_day.partition(":")
    return int(hours) * 60 + int(minutes)
