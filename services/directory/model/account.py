"""An account: a person who can sign in. It alone decides a redemption, in one compare-and-swap."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from convive_contracts import DIRECTORY_SOURCE
from directory.model.change import Announcement, Change, Stored
from directory.model.member import Member
from directory.model.refusals import CodeSpent, EmailUnverified, PasswordLinkOver, PasswordLinkUsed

HANDOFF_LIFE = timedelta(seconds=60)
_HANDOFFS_KEPT = 5


class Claim(BaseModel):
    """What the holder of a link asks for: a place in a dossier, for the account of an e-mail address."""

    model_config = ConfigDict(frozen=True)

    invitation_id: str
    link_sequence: int
    source: str
    channel: str
    email: str
    email_key: str
    member_id: str
    dossier_id: str
    dossier_name: str
    cabinet_id: str
    cabinet_name: str
    role: str
    own_expense_reports: bool = False


class Redemption(BaseModel):
    """A link that was used up. `active`: the person has signed in since."""

    model_config = ConfigDict(frozen=True)

    credential: str
    at: datetime
    link_sequence: int
    channel: str
    source: str
    member_id: str
    dossier_id: str
    dossier_name: str
    cabinet_id: str
    cabinet_name: str
    role: str
    own_expense_reports: bool = False
    active: bool = False


class Handoff(BaseModel):
    """A one-time code for the first sign-in, stored as the hex SHA-256 of it."""

    model_config = ConfigDict(frozen=True)

    hash: str
    invitation_id: str
    credential_version: int
    expires_at: datetime


class PasswordLink(BaseModel):
    """A link, mailed to the account's address, that sets a new password: once, and only while `credential_version` is
    the account's. Its `sequence` counts them; each supersedes the one before."""

    model_config = ConfigDict(frozen=True)

    sequence: int
    credential_version: int
    expires_at: datetime


class Session(BaseModel):
    """`id` is the hex SHA-256 of the token. It counts only while `credential_version` is the account's. `browser` is
    the name of a program and a system; `seen_at` is right to the hour."""

    model_config = ConfigDict(frozen=True)

    id: str
    account: str
    account_id: str
    credential_version: int
    created_at: datetime
    expires_at: datetime
    seen_at: datetime | None = None
    browser: str = ""


class StaffPlace(BaseModel):
    """A person's place at a firm. `digest`: they want its daily mail, in that `language`."""

    model_config = ConfigDict(frozen=True)

    cabinet_id: str
    first_name: str
    last_name: str
    digest: bool = True
    language: Literal["fr", "en"] = "fr"
    since: datetime

    @property
    def full_name(self) -> str:
        return f"{self.first_name} {self.last_name}"[:200]  # as much as an event takes


class Proof(Enum):
    """What a redemption asks of the person."""

    NEW_PASSWORD = auto()
    OLD_PASSWORD = auto()


class Account(Stored):
    """`id` is the e-mail key: one account per e-mail, and the account of an e-mail is found without an index."""

    kind = "accounts"

    account_id: str
    email: str
    password_hash: str | None = None
    verified: bool = False
    credential_version: int = 1
    redemptions: dict[str, Redemption] = {}
    handoffs: tuple[Handoff, ...] = ()
    password_link: PasswordLink | None = None
    staff: tuple[StaffPlace, ...] = ()

    @property
    def firms(self) -> dict[str, StaffPlace]:
        """The firms this person works for, by their id. None before the address is shown to be theirs: whoever made
        the account first, with somebody else's address, must not get into the firm that invites its owner."""
        return {place.cabinet_id: place for place in self.staff if self.verified}

    def in_force(self, session: Session, now: datetime) -> bool:
        return (
            session.credential_version == self.credential_version
            and session.account_id == self.account_id
            and session.expires_at > now
        )

    def holds(self, member: Member) -> bool:
        """Whether this person has redeemed that membership and still has it."""
        redemption = self.redemptions.get(member.invitation_id)
        return (
            redemption is not None
            and redemption.source == DIRECTORY_SOURCE
            and member.removed_at is None
            and member.email_key == self.id
            # A crash may have come between the account's write and the member's.
            and member.account_id in (None, self.account_id)
        )

    def redeem(self, claim: Claim, *, new_hash: str | None, handoff: str, now: datetime) -> Change[Account]:
        """Use up a link, or answer the same again for one used up before. `handoff` is the hash of a fresh code.

        `new_hash` is of the password just chosen when `proof_needed` says a new one is, else None: the caller has then
        checked the account's password, or that the person is signed in.
        """
        credential_version = self.credential_version
        fields: dict[str, object] = {}
        announcements: list[Announcement] = []
        before = self.redemptions.get(claim.invitation_id)
        # A later link of the same invitation: the person was removed and added again, and accepts anew.
        if before is None or claim.link_sequence > before.link_sequence:
            credential = "existing" if new_hash is None else "new"
            # A link that came by e-mail proves that the address is the person's own.
            fields["verified"] = self.verified or claim.channel == "email"
            fields["redemptions"] = {**self.redemptions, claim.invitation_id: _redemption(claim, credential, now)}
            announcements.append(self._redeemed(claim.invitation_id, credential, claim.link_sequence))
            if new_hash is not None and self.version:
                credential_version += 1
            if new_hash is not None:
                fields |= {"password_hash": new_hash, "credential_version": credential_version}
        code = Handoff(
            hash=handoff,
            invitation_id=claim.invitation_id,
            credential_version=credential_version,
            expires_at=now + HANDOFF_LIFE,
        )
        live = [h for h in self.handoffs if h.expires_at > now and h.credential_version == credential_version]
        fields["handoffs"] = (*live[1 - _HANDOFFS_KEPT :], code)
        return self._kept(self.changed(*announcements, **fields))

    def sign_in(self, *, better_hash: str | None = None) -> Change[Account]:
        """A sign-in with the right password; `better_hash` is of the same password by today's parameters."""
        return self._signed_in(password_hash=better_hash or self.password_hash)

    def sign_in_with(self, code: str, now: datetime) -> Change[Account]:
        """A sign-in with a one-time code (given as its hash), which is used up; raises `CodeSpent`."""
        live = [h for h in self.handoffs if h.expires_at > now and h.credential_version == self.credential_version]
        if code not in {handoff.hash for handoff in live}:
            raise CodeSpent
        return self._signed_in(handoffs=tuple(handoff for handoff in live if handoff.hash != code))

    def offer_password_link(self, now: datetime, life: timedelta) -> Change[Account] | None:
        """See that there is a link to a new password; None when there is one that has most of its life before it. (It
        is sent again then: whoever asks again and again does not take the link away that the person has open.)"""
        link, version = self.password_link, self.credential_version
        if link and link.credential_version == version and link.expires_at - now > life / 4:
            return None
        sequence = link.sequence + 1 if link else 1
        offered = PasswordLink(sequence=sequence, credential_version=version, expires_at=now + life)
        return self.changed(password_link=offered)

    def refuse_dead_link(self, sequence: int, now: datetime) -> None:
        """Raises `PasswordLinkUsed`, also where another way to a new password was faster, or `PasswordLinkOver`."""
        link = self.password_link
        if link is None or sequence != link.sequence:
            raise PasswordLinkOver(reason="superseded")
        if link.credential_version != self.credential_version:
            raise PasswordLinkUsed
        if link.expires_at <= now:
            raise PasswordLinkOver(reason="expired")

    def choose_password(self, sequence: int, new_hash: str, now: datetime) -> Change[Account]:
        """Use a link up: older sessions and codes end, and the address is proved. Raises `PasswordLinkUsed`,
        `PasswordLinkOver`."""
        self.refuse_dead_link(sequence, now)
        return self.changed(
            password_hash=new_hash, verified=True, credential_version=self.credential_version + 1, handoffs=()
        )

    def sign_out_everywhere(self) -> Change[Account]:
        """End every session, code and link to a new password."""
        return self.changed(credential_version=self.credential_version + 1, handoffs=())

    def place_at(self, cabinet_id: str) -> StaffPlace | None:
        """A place at that firm, in force or not."""
        return next((place for place in self.staff if place.cabinet_id == cabinet_id), None)

    def join_staff(self, place: StaffPlace) -> Change[Account] | None:
        """A place at a firm, or another name there; None when nothing differs."""
        if before := self.place_at(place.cabinet_id):
            kept = {"digest": before.digest, "language": before.language, "since": before.since}
            place = place.model_copy(update=kept)
            if place == before:
                return None
        others = [other for other in self.staff if other.cabinet_id != place.cabinet_id]
        return self._kept(self.changed(staff=(*others, place)))

    def wants_digest(self, cabinet_id: str, **wish: Any) -> Change[Account] | None:
        """Whether they want the daily mail of a firm (`digest`), and in which `language`; None when nothing differs."""
        before = self.place_at(cabinet_id)
        place = before and before.model_copy(update=wish)
        if place is None or place == before:
            return None
        return self.changed(staff=tuple(place if other == before else other for other in self.staff))

    def leave_staff(self, cabinet_id: str) -> Change[Account] | None:
        """The end of a place at a firm; None when there was none."""
        rest = tuple(place for place in self.staff if place.cabinet_id != cabinet_id)
        return self.changed(staff=rest) if rest != self.staff else None

    @property
    def is_of_use(self) -> bool:
        """Whether anything is left that this account is needed for."""
        return bool(self.redemptions or self.staff)

    def _kept(self, change: Change[Account]) -> Change[Account]:
        """The same change, as the creation of an account that is not there yet."""
        return change if self.version else Change(None, change.after, change.announcements)

    def let_go(self, invitation_id: str) -> Change[Account] | None:
        """What came of that invitation is erased; None when nothing did."""
        if invitation_id not in self.redemptions:
            return None
        rest = {id: redemption for id, redemption in self.redemptions.items() if id != invitation_id}
        return self.changed(redemptions=rest)

    def announced_anew(self) -> Change[Account] | None:
        """What this account has accepted told again, so that nobody who is in is invited once more."""
        if not self.redemptions:
            return None
        redeemed = [self._redeemed(id, one.credential, one.link_sequence) for id, one in self.redemptions.items()]
        return self.changed(*redeemed, self._told_of_sign_in(lambda redemption: redemption.active))

    def _signed_in(self, **fields: object) -> Change[Account]:
        active = {id: redemption.model_copy(update={"active": True}) for id, redemption in self.redemptions.items()}
        told = self._told_of_sign_in(lambda redemption: not redemption.active)
        return self.changed(told, redemptions=active, **fields)

    def _redeemed(self, invitation_id: str, credential: str, link_sequence: int) -> Announcement:
        data = {
            "account_id": self.account_id,
            "invitation_id": invitation_id,
            "credential": credential,
            "link_sequence": link_sequence,
        }
        return Announcement("account.redeemed", self.account_id, data)

    def _told_of_sign_in(self, concerns: Callable[[Redemption], bool]) -> Announcement:
        links = {id: redemption.link_sequence for id, redemption in self.redemptions.items() if concerns(redemption)}
        data = {"account_id": self.account_id, "invitation_ids": list(links), "link_sequences": links}
        return Announcement("account.signed_in", self.account_id, data)


def proof_needed(account: Account | None, claim: Claim) -> Proof:
    """What this link asks of the person who holds it; raises `EmailUnverified`.

    Only the first link, or the first that came to the e-mail address itself, sets a password. A link by SMS never does
    where an account exists: whoever holds a phone could otherwise take over the e-mail's account.
    """
    if account is None:
        return Proof.NEW_PASSWORD
    if claim.invitation_id in account.redemptions or account.verified:
        return Proof.OLD_PASSWORD
    if claim.channel == "email":
        return Proof.NEW_PASSWORD
    inviters = {(redemption.source, redemption.cabinet_id) for redemption in account.redemptions.values()}
    if (claim.source, claim.cabinet_id) not in inviters:
        # Another cabinet may have made this account with an address that is not its holder's.
        raise EmailUnverified
    return Proof.OLD_PASSWORD


def _redemption(claim: Claim, credential: str, now: datetime) -> Redemption:
    fields = claim.model_dump(exclude={"invitation_id", "email", "email_key"})
    # Somebody with an account proves at this moment that they can sign in.
    return Redemption(**fields, credential=credential, at=now, active=credential == "existing")
