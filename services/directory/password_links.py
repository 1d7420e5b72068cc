"""Links that set a password: made where the letter is written, so that nothing that is kept leads to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import BadData

from convive_kit.group_commit import VersionConflict
from directory.i18n import moment
from directory.letters.letters import Letter
from directory.letters.stationery import Written
from directory.model.account import Account
from directory.signing import signed
from directory.store.protocol import Crowded, Store

_TRIES = 12
_LONGEST_TOKEN = 400


@dataclass(frozen=True, slots=True)
class Offered:
    """A link that is alive, for the letter that is being written."""

    account: Account
    url: str
    expires_at: datetime


class PasswordLinks:
    """The token names an account and the sequence of its link; the expiry lives in the account's document."""

    def __init__(
        self, store: Store, keys: Sequence[str], base_url: str, now: Callable[[], datetime], *, life: timedelta
    ) -> None:
        """`base_url` is where people reach the directory; `life` is that of a link somebody asked for."""
        self._store = store
        self._signer = signed(keys, "password")
        self._base_url = base_url
        self._now = now
        self._life = life

    async def offer(self, email_key: str, *, life: timedelta | None = None) -> Offered | None:
        """A link by which the owner of that address chooses a password, the same while it is fresh; None where there
        is no account."""
        for _ in range(_TRIES):
            account = await self._store.account(email_key)
            if account is None:
                return None
            change = account.offer_password_link(self._now(), life or self._life)
            try:
                account = await self._store.save(change) if change else account
            except VersionConflict:
                continue
            link = account.password_link
            assert link is not None, "an offer leaves a link"  # noqa: S101
            return Offered(account, self._url(account.account_id, link.sequence), link.expires_at)
        raise Crowded

    def _url(self, account_id: str, sequence: int) -> str:
        return f"{self._base_url}/new-password/{self._signer.dumps([account_id, sequence])}"

    def read(self, token: str) -> tuple[str, int] | None:
        """The account's id and the link's sequence, or None when the token was not made by us."""
        if len(token) > _LONGEST_TOKEN:
            return None
        try:
            account_id, sequence = self._signer.loads(token)
        except BadData:
            return None
        return account_id, sequence

    async def reset_letter(self, letter: Letter) -> Written | None:
        """The writer of `password_reset`: only here it turns out whether there is an account at all."""
        offered = await self.offer(letter.to)
        if offered is None:
            return None
        minutes = int((offered.expires_at - self._now()) / timedelta(minutes=1))
        return Written(offered.account.email, {"link": offered.url, "minutes": minutes})

    async def changed_letter(self, letter: Letter) -> Written | None:
        """The writer of `password_changed`, which is written before the change: it may not have come to it."""
        account = await self._store.account(letter.to)
        if account is None or account.credential_version < letter.data["credential_version"]:
            return None
        return Written(
            account.email,
            {"moment": moment(letter.created_at, letter.language), "link": f"{self._base_url}/forgotten-password"},
        )
