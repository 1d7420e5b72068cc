"""How many invitations stand where, since when, and why: counted in indexes, without reading a document."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from convive_kit.mongo import Database, Document, aggregate, database_call
from invitation.store.mongo import INVITATIONS
from invitation.store.walk import index_name

DAYS = 30
_PATIENCE = 60.0
_MOST_REASONS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """`by_channel`: of each channel how many stand where; `per_day`: for each of the last 30 days (UTC), oldest first,
    how those created on it stand now."""

    as_of: datetime
    by_state: dict[str, int]
    by_channel: dict[str, dict[str, int]]
    per_day: list[tuple[datetime, dict[str, int]]]
    reasons: dict[str, int]
    created_last_hour: int


async def count(database: Database, now: datetime) -> Statistics:
    """Count everything. Its cost grows with the number of invitations: about a second per million. Raises
    `DatabaseAway` in an outage."""
    invitations = database[INVITATIONS]
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=DAYS - 1)
    recent: Document = {"$gte": ["$created_at", first]}
    day: Document = {"$cond": [recent, {"$dateTrunc": {"date": "$created_at", "unit": "day"}}, None]}
    async with database_call(_PATIENCE):
        cohorts = await aggregate(
            invitations,
            [
                {"$match": {"announced": True}},
                {"$group": {"_id": {"state": "$state", "day": day, "channel": "$channel"}, "number": {"$sum": 1}}},
            ],
            hint=index_name("state"),
        )
        reasons = await aggregate(
            invitations,
            [
                {"$match": {"announced": True, "reason": {"$gt": ""}}},
                {"$group": {"_id": "$reason", "number": {"$sum": 1}}},
                {"$sort": {"number": -1, "_id": 1}},
                {"$limit": _MOST_REASONS},
            ],
            hint=index_name("reason"),
        )
        last_hour = await invitations.count_documents(
            {"announced": True, "created_at": {"$gte": now - timedelta(hours=1)}}, hint=index_name()
        )
    return Statistics(
        as_of=now,
        by_state=_by_state(cohorts),
        by_channel={
            channel: _by_state(cohorts, channel=channel) for channel in {cohort["_id"]["channel"] for cohort in cohorts}
        },
        per_day=[
            (first + timedelta(days=number), _by_state(cohorts, day=first + timedelta(days=number)))
            for number in range(DAYS)
        ],
        reasons={found["_id"]: found["number"] for found in reasons},
        created_last_hour=last_hour,
    )


def _by_state(cohorts: list[Document], **alike: object) -> dict[str, int]:
    """How many stand where, of the cohorts of that `day` or `channel`."""
    numbers: dict[str, int] = {}
    for cohort in cohorts:
        group: dict[str, Any] = cohort["_id"]
        if alike.items() <= group.items():
            numbers[group["state"]] = numbers.get(group["state"], 0) + cohort["number"]
    return numbers
