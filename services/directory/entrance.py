"""The way in: redemptions, one-time codes, passwords and sessions."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from convive_contracts import DIRECTORY_SOURCE
from convive_kit.addresses import BadEmail, email_key, normalise_email
from convive_kit.auth import new_secret, same_secret, secret_hash
from convive_kit.group_commit import DuplicateKey, VersionConflict
from convive_kit.passwords import LONGEST
from directory.browsers import Browser, named
from directory.membership import Membership
from directory.model.account import Account, Claim, Proof, Session, proof_needed
from directory.model.change import Change
from directory.model.refusals import CodeSpent, FieldRefused, MemberGone, OtherPassword
from directory.passwords import Passwords, refuse_unfit
from directory.store.protocol import Crowded, Store, settle
from directory.throttle import Throttle

_TRIES = 12
_SEEN_EVERY = timedelta(hours=1)


class WrongCredentials(Exception):
    """The e-mail address or the password is wrong."""


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`token` is told to the person once; only its hash is kept."""

    token: str
    session: Session


@dataclass(frozen=True, slots=True)
class Redeemed:
    credential: str
    handoff_code: str


class Entrance:
    def __init__(
        self,
        store: Store,
        membership: Membership,
        passwords: Passwords,
        throttle: Throttle,
        now: Callable[[], datetime],
        *,
        session_life: timedelta,
        service_token: str,
    ) -> None:
        self._store = store
        self._membership = membership
        self._passwords = passwords
        self._throttle = throttle
        self._now = now
        self._session_life = session_life
        self._service_token = service_token

    async def sign_in(self, email_key: str, password: str, browser: Browser) -> SignedIn:
        """Raises `WrongCredentials`, alike for an unknown e-mail and a wrong password, or a 429 problem."""
        account = await self._store.account(email_key)
        attempt = await self._throttle.sign_in(email_key, account, browser)
        for _ in range(_TRIES):
            right = await self._passwords.matches(account.password_hash if account else None, password)
            if account is None or not right:
                raise WrongCredentials
            better = None
            if account.password_hash and self._passwords.is_outdated(account.password_hash):
                better = await self._passwords.hash(password)
            try:
                signed_in = await self._begin(account.sign_in(better_hash=better), browser)
            except VersionConflict:
                account = await self._store.account(email_key)
                continue
            await self._throttle.was_right(attempt)
            return signed_in
        raise Crowded

    async def sign_in_with_code(self, code: str, browser: Browser) -> SignedIn:
        """Use a one-time code up; raises `CodeSpent`."""
        code_hash = secret_hash(code)
        for _ in range(_TRIES):
            account = await self._store.account_with_handoff(code_hash)
            if account is None:
                raise CodeSpent
            try:
                return await self._begin(account.sign_in_with(code_hash, self._now()), browser)
            except VersionConflict:
                continue
        raise Crowded

    def came_with(self, code: str, nonce: str) -> bool:
        """Whether this browser was given the code: a code that was mailed to somebody comes without its nonce."""
        expected = hmac.new(self._service_token.encode(), f"handoff:{code}".encode(), hashlib.sha256).hexdigest()
        return same_secret(nonce, expected)

    async def _begin(self, change: Change[Account], browser: Browser) -> SignedIn:
        account = await self._store.save(change)
        now = self._now()
        token = new_secret()
        session = Session(
            id=secret_hash(token),
            account=account.id,
            account_id=account.account_id,
            credential_version=account.credential_version,
            created_at=now,
            expires_at=now + self._session_life,
            seen_at=now,
            browser=named(browser.user_agent),
        )
        await self._store.add_session(session)
        await self._membership.attach_all(account)
        return SignedIn(token, session)

    async def who(self, token: str) -> Account | None:
        """The account of a session token that still counts."""
        found = await self.session(token)
        return found[0] if found else None

    async def session(self, token: str) -> tuple[Account, Session] | None:
        """A session that still counts, and whose it is. When it was last seen is noted once an hour."""
        session = await self._store.session(secret_hash(token))
        account = await self._store.account(session.account) if session else None
        now = self._now()
        if session is None or account is None or not account.in_force(session, now):
            return None
        if now - (session.seen_at or session.created_at) >= _SEEN_EVERY:
            await self._store.see_session(session.id, now)
        return account, session

    async def sessions(self, account: Account) -> list[Session]:
        """Where this person is signed in, the latest first."""
        now = self._now()
        found = [one for one in await self._store.sessions_of(account.id) if account.in_force(one, now)]
        return sorted(found, key=lambda session: session.seen_at or session.created_at, reverse=True)

    async def sign_out(self, token: str) -> None:
        await self._store.end_session(secret_hash(token))

    async def end(self, account: Account, session_id: str) -> bool:
        """End one of this person's sessions; False when they have no such session."""
        own = any(session.id == session_id for session in await self.sessions(account))
        if own:
            await self._store.end_session(session_id)
        return own

    async def sign_out_everywhere(self, account: Account) -> None:
        """End all sessions of this person, and what else would sign somebody in: codes and links to a new password.
        Done with the first write; the sessions themselves are only cleared away after it."""

        async def load() -> Account:
            return await self._store.account(account.id) or account

        after = await settle(self._store, load, Account.sign_out_everywhere)
        ended = [one for one in await self._store.sessions_of(account.id) if not after.in_force(one, self._now())]
        await asyncio.gather(*(self._store.end_session(session.id) for session in ended))

    async def redeem(self, claim: Claim, password: str | None) -> Redeemed:
        """Use a link up, or answer the same once more to whoever used it up.

        The account's compare-and-swap decides, so of two people with one link only one sets a password; a crash after
        it is healed by the same call again. Raises `OtherPassword`, `MemberGone`, `EmailUnverified`, `FieldRefused`.
        """
        own = claim.source == DIRECTORY_SOURCE
        new_hash = proven_hash = None
        for _ in range(_TRIES):
            if own:
                claim = await self._as_we_know_it(claim)
            account = await self._store.account(claim.email_key)
            chosen = None
            if proof_needed(account, claim) is Proof.NEW_PASSWORD:
                if password is None:
                    raise FieldRefused("A password is needed.", field="password")
                refuse_unfit(password)
                chosen = new_hash = new_hash or await self._passwords.hash(password)
            elif account and password is not None and (proven_hash is None or account.password_hash != proven_hash):
                await self._prove(account, password, claim)
                proven_hash = account.password_hash
            account = account or Account(id=claim.email_key, account_id=str(uuid4()), email=claim.email)
            code = new_secret()
            change = account.redeem(claim, new_hash=chosen, handoff=secret_hash(code), now=self._now())
            try:
                account = await self._store.save(change)
            except (VersionConflict, DuplicateKey):
                continue
            credential = account.redemptions[claim.invitation_id].credential
            if own:
                await self._membership.attach(claim.member_id, account, signed_in=credential == "existing")
            return Redeemed(credential, code)
        raise Crowded

    async def _prove(self, account: Account, password: str, claim: Claim) -> None:
        attempt = await self._throttle.link(account, claim.invitation_id)
        if len(password) > LONGEST or not await self._passwords.matches(account.password_hash, password):
            # Whoever was faster with this very link, or an account that was there all along: people are told apart.
            raise OtherPassword(link="used" if claim.invitation_id in account.redemptions else "unused")
        await self._throttle.was_right(attempt)

    async def _as_we_know_it(self, claim: Claim) -> Claim:
        """The claim with our own member's data in place of what the link's sender remembers; raises `MemberGone`."""
        member = await self._store.member(claim.member_id)
        dossier = await self._store.dossier(member.dossier_id) if member else None
        cabinet = await self._store.cabinet(member.cabinet_id) if member else None
        if (
            not member
            or not dossier
            or not cabinet
            or member.removed_at
            or dossier.archived_at
            # The address was corrected: whoever reads the old one is not this member.
            or member.email_key != claim.email_key
            or member.invitation_id != claim.invitation_id
        ):
            raise MemberGone
        return claim.model_copy(
            update={
                "email": member.email,
                "dossier_id": dossier.id,
                "dossier_name": dossier.name,
                "cabinet_id": cabinet.id,
                "cabinet_name": cabinet.name,
                "role": member.role,
                "own_expense_reports": member.own_expense_reports,
            }
        )


def login_key(email: str) -> str:
    """The account's id of an e-mail address as typed; nonsense gives a key that nobody has."""
    try:
        return email_key(normalise_email(email))
    except BadEmail:
        return email.strip()
