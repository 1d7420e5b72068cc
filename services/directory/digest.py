"""What came to nothing since the last working day, told in one mail to those people of each firm who want to know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from itsdangerous import BadData
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from convive_kit.days_off import is_holiday
from convive_kit.errors import Retry
from convive_kit.logs import get_logger
from convive_kit.mongo import Database, database_call
from directory.i18n import translations
from directory.letters.letters import Letter, Letters
from directory.letters.stationery import Written
from directory.model.account import Account
from directory.model.member import Member
from directory.password_links import signed
from directory.standing import standing
from directory.store.protocol import Store, settle

DIGESTS = "digests"
_INDEXES = [IndexModel("until", name="until", expireAfterSeconds=int(timedelta(days=90).total_seconds()))]
_PARIS = ZoneInfo("Europe/Paris")
_SETTLED = timedelta(minutes=1)
"""By when whatever was noted before a moment is on disk."""
_LEASE = timedelta(minutes=5)
_PAGE = 500
_MOST_SHOWN = 50
_LONGEST_TOKEN = 400

log = get_logger(__name__)


def due_since(now: datetime) -> datetime:
    """The last moment, not after `now`, at which a digest was to be made: 08:00 in Paris on a working day."""
    day = now.astimezone(_PARIS).date()
    while not _is_working_day(day) or datetime.combine(day, time(8), _PARIS) > now:
        day -= timedelta(days=1)
    return datetime.combine(day, time(8), _PARIS)


def _is_working_day(day: date) -> bool:
    return day.isoweekday() <= 5 and not is_holiday(day)


@dataclass(frozen=True, slots=True)
class Round:
    """One day's digests: of what was noted after `since`, up to `until`."""

    day: str
    since: datetime
    until: datetime


@dataclass(slots=True)
class News:
    """Of one firm. Ids alone are kept until a letter is written: names are looked up then."""

    member_ids: list[str] = field(default_factory=list[str])
    more: int = 0

    def add(self, member: Member) -> None:
        if len(self.member_ids) < _MOST_SHOWN:
            self.member_ids.append(member.id)
        else:
            self.more += 1


class Digests:
    """Makes each day's digests once, whichever process comes first. What a crash leaves is made good by whoever comes
    next: a letter is known by its day, its firm and its reader."""

    def __init__(self, database: Database, store: Store, letters: Letters, now: Callable[[], datetime]) -> None:
        self._rounds = database[DIGESTS]
        self._store = store
        self._letters = letters
        self._now = now

    async def prepare(self) -> None:
        """Make the indexes; safe to repeat."""
        async with database_call():
            await self._rounds.create_indexes(_INDEXES)

    async def run(self, *, every: float = 30.0) -> None:
        """Make what is due until cancelled; `every`: seconds between looks."""
        while True:
            try:
                await self.make()
            except Retry as away:
                log.warning("digests.paused", cause=away.slug)
            await asyncio.sleep(every)

    async def make(self) -> int:
        """Write the letters of the day, unless somebody has; returns how many."""
        if (claimed := await self._claim()) is None:
            return 0
        written = 0
        for cabinet_id, news in (await self._gather(claimed)).items():
            written += await self._tell(claimed.day, cabinet_id, news)
        async with database_call():
            done = {"$set": {"done_at": self._now()}, "$unset": {"due_at": ""}}
            await self._rounds.update_one({"_id": claimed.day}, done)
        log.info("digests.made", day=claimed.day, letters=written)
        return written

    async def _claim(self) -> Round | None:
        now = self._now()
        until = due_since(now)
        if now < until + _SETTLED:
            return None
        day = until.date().isoformat()
        async with database_call():
            if await self._rounds.find_one({"_id": day}) is None:
                # A day on which nothing ran is told with the next.
                done = {"_id": {"$lt": day}, "done_at": {"$exists": True}}
                last = await self._rounds.find_one(done, sort=[("_id", -1)])
                since = last["until"] if last else due_since(until - timedelta(seconds=1))
                with suppress(DuplicateKeyError):
                    await self._rounds.insert_one({"_id": day, "since": since, "until": until, "due_at": now})
            taken = await self._rounds.find_one_and_update(
                {"_id": day, "due_at": {"$lte": now}}, {"$set": {"due_at": now + _LEASE}}
            )
        return Round(day, taken["since"], taken["until"]) if taken else None

    async def _gather(self, claimed: Round) -> dict[str, News]:
        found: dict[str, News] = {}
        after = (claimed.since, "\U0010ffff")
        while page := await self._store.troubled(after, claimed.until, limit=_PAGE):
            for member in page:
                found.setdefault(member.cabinet_id, News()).add(member)
            after = (page[-1].trouble_at or claimed.until, page[-1].id)
        return found

    async def _tell(self, day: str, cabinet_id: str, news: News) -> int:
        told, after = 0, ""
        while staff := await self._store.staff_of(cabinet_id, after=after, limit=_PAGE):
            after = staff[-1].id
            for account in staff:
                place = account.firms.get(cabinet_id)
                if place is None or not place.digest:
                    continue
                await self._letters.write(
                    "digest",
                    account.id,
                    language=place.language,
                    id=f"digest.{day}.{cabinet_id}.{account.account_id}",
                    data={"cabinet_id": cabinet_id, "member_ids": news.member_ids, "more": news.more},
                )
                told += 1
        return told


class DigestLetters:
    """What stands in a digest when it is sent, and the link in it that stops the next."""

    def __init__(self, store: Store, keys: Sequence[str], base_url: str) -> None:
        self._store = store
        self._signer = signed(keys, "digest")
        self._base_url = base_url

    async def write(self, letter: Letter) -> Written | None:
        """None for somebody who has gone or does not want it any more, and when all has turned out well since."""
        cabinet_id: str = letter.data["cabinet_id"]
        account, cabinet = await self._store.account(letter.to), await self._store.cabinet(cabinet_id)
        place = account.firms.get(cabinet_id) if account else None
        if account is None or cabinet is None or place is None or not place.digest:
            return None
        dossiers = await self._by_dossier(letter)
        if not dossiers:
            return None
        off = f"{self._base_url}/digest/{self.sign(account.account_id, cabinet_id)}"
        values = {
            "cabinet": cabinet.name,
            "first_name": place.first_name,
            "dossiers": dossiers,
            "more": letter.data["more"],
            "link": f"{self._base_url}/firms/{cabinet_id}/clients",
            "off": off,
        }
        return Written(account.email, values, unsubscribe=off)

    async def _by_dossier(self, letter: Letter) -> list[dict[str, Any]]:
        say = translations(letter.language).gettext
        members = await asyncio.gather(*map(self._store.member, letter.data["member_ids"]))
        by_dossier: dict[str, list[dict[str, str]]] = {}
        for member in members:
            if member and member.trouble_at and member.invitation and not member.removed_at:
                stands = standing(member)
                line = {
                    "name": f"{member.first_name} {member.last_name}",
                    "what": " – ".join(say(words) for words in (stands.words, stands.advice) if words),
                }
                by_dossier.setdefault(member.dossier_id, []).append(line)
        dossiers = await asyncio.gather(*map(self._store.dossier, by_dossier))
        return [
            {
                "name": dossier.name,
                "link": f"{self._base_url}/clients/{dossier.id}/users",
                "people": by_dossier[dossier.id],
            }
            for dossier in sorted((d for d in dossiers if d), key=lambda dossier: dossier.name_key)
        ]

    def sign(self, account_id: str, cabinet_id: str) -> str:
        """The token of a link that stops a digest."""
        return str(self._signer.dumps([account_id, cabinet_id]))

    def read(self, token: str) -> tuple[str, str] | None:
        """The account and the cabinet of a link that stops a digest; None for a forged one."""
        try:
            account_id, cabinet_id = self._signer.loads(token) if len(token) <= _LONGEST_TOKEN else ("", "")
        except (BadData, ValueError):
            return None
        return (account_id, cabinet_id) if account_id else None

    async def switch(self, account_id: str, cabinet_id: str, **wish: Any) -> Account | None:
        """See `Account.wants_digest`; None where there is no such place."""
        found = await self._store.account_with_id(account_id)
        if found is None or found.place_at(cabinet_id) is None:
            return None

        async def load() -> Account:
            return await self._store.account(found.id) or found

        return await settle(self._store, load, lambda account: account.wants_digest(cabinet_id, **wish))
