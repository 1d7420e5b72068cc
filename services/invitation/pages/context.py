"""What each page needs to know. One class per page; its handler makes one, the renderer turns it into HTML."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import ClassVar, Literal

from convive_kit.passwords import Reason
from invitation.i18n import Locale


@dataclass(frozen=True, slots=True)
class Visit:
    """Where the page is and in which language: `path` is the link's own path, `/i/<token>`."""

    path: str
    locale: Locale
    # The reader chose the language (`?lang=`), so every address on the page keeps it.
    switched: bool = False

    def action(self, step: str = "", *, locale: Locale | None = None) -> str:
        """The address of a step of this link, such as `password`; of the page itself without one."""
        address = f"{self.path}/{step}" if step else self.path
        return f"{address}?lang={locale or self.locale}" if locale or self.switched else address


@dataclass(frozen=True, slots=True)
class Firm:
    """Who invites, and to what. `colour` is `#rrggbb`, where the firm has chosen one."""

    cabinet: str
    dossier: str
    phone: str | None = None
    invited_by: str | None = None
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Guest:
    """Who is invited, as what, and until when. `email` is shown masked, whoever holds the link."""

    first_name: str
    last_name: str
    email: str
    role: str
    own_expense_reports: bool
    expires_at: datetime
    time_zone: str


class SignedIn(Enum):
    """Whose session the browser carries."""

    NOBODY = auto()
    GUEST = auto()
    SOMEBODY_ELSE = auto()


@dataclass(frozen=True, slots=True)
class Invitation:
    """The invitation with its password form; with reasons, the form again after a refused password."""

    template: ClassVar[str] = "invitation.html"
    firm: Firm
    guest: Guest
    reasons: tuple[Reason, ...] = ()

    @property
    def status(self) -> HTTPStatus:
        return HTTPStatus.UNPROCESSABLE_ENTITY if self.reasons else HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class Other:
    """Another open invitation of the same person, from whatever firm."""

    id: str
    cabinet: str
    dossier: str
    role: str


Outcome = Literal["accepted", "gone", "try_again"]
"""`gone`: withdrawn, expired, done already or never theirs; `try_again`: nothing has happened to it."""


@dataclass(frozen=True, slots=True)
class ExistingAccount:
    """The invitation of somebody who has an account: sign in and accept, or only accept. `others` can be accepted with
    it: they are told only to the person themselves."""

    template: ClassVar[str] = "existing.html"
    firm: Firm
    guest: Guest
    signed_in: SignedIn = SignedIn.NOBODY
    wrong_password: bool = False
    others: tuple[Other, ...] = ()

    @property
    def status(self) -> HTTPStatus:
        return HTTPStatus.UNPROCESSABLE_ENTITY if self.wrong_password else HTTPStatus.OK


@dataclass(frozen=True, slots=True)
class AcceptedInPart:
    """This invitation was accepted, and of the others that were ticked not all."""

    template: ClassVar[str] = "accepted_in_part.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.OK
    firm: Firm
    others: tuple[tuple[Other, Outcome], ...]
    next_url: str


@dataclass(frozen=True, slots=True)
class AlreadyActive:
    """The link was used, by the person themselves as far as anyone knows."""

    template: ClassVar[str] = "done.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.OK
    firm: Firm
    sign_in_url: str


@dataclass(frozen=True, slots=True)
class Expired:
    template: ClassVar[str] = "expired.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.GONE
    firm: Firm
    expired_at: datetime
    time_zone: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer link was sent."""

    template: ClassVar[str] = "superseded.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.GONE
    firm: Firm


@dataclass(frozen=True, slots=True)
class Renewed:
    """A message is on its way to the address on record, which is not shown."""

    template: ClassVar[str] = "renewed.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.OK
    firm: Firm


@dataclass(frozen=True, slots=True)
class Revoked:
    """Withdrawn by the firm; also what a person reads whose place in the file is gone."""

    template: ClassVar[str] = "revoked.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.GONE
    firm: Firm


@dataclass(frozen=True, slots=True)
class ConfirmDecline:
    """Asks for a reason, which also proves that a person answered; `unanswered` after a form sent without one."""

    template: ClassVar[str] = "confirm_decline.html"
    firm: Firm
    guest: Guest
    unanswered: bool = False

    @property
    def status(self) -> HTTPStatus:
        return HTTPStatus.UNPROCESSABLE_ENTITY if self.unanswered else HTTPStatus.OK


class DeclineReason(Enum):
    """The values of the form's `reason`."""

    WRONG_PERSON = "wrong_person"
    UNKNOWN_FIRM = "unknown_firm"
    NOT_WANTED = "not_wanted"


@dataclass(frozen=True, slots=True)
class Declined:
    template: ClassVar[str] = "declined.html"
    firm: Firm
    # The answer to the click itself, rather than to a later visit.
    just_now: bool = False

    @property
    def status(self) -> HTTPStatus:
        return HTTPStatus.OK if self.just_now else HTTPStatus.GONE


@dataclass(frozen=True, slots=True)
class Taken:
    """A password was set with this link by whoever was faster."""

    template: ClassVar[str] = "taken.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.CONFLICT
    firm: Firm
    sign_in_url: str


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The directory, or our own database, is away; nothing was used up and nothing typed is repeated."""

    template: ClassVar[str] = "try_again.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.SERVICE_UNAVAILABLE
    firm: Firm | None = None


@dataclass(frozen=True, slots=True)
class TooMany:
    template: ClassVar[str] = "too_many.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.TOO_MANY_REQUESTS
    # Seconds.
    retry_after: int
    firm: Firm | None = None

    @property
    def minutes(self) -> int:
        return max(1, -(-self.retry_after // 60))


@dataclass(frozen=True, slots=True)
class UnknownLink:
    """Forged, cut or mistyped: nothing is known, so nothing is told."""

    template: ClassVar[str] = "unknown.html"
    status: ClassVar[HTTPStatus] = HTTPStatus.NOT_FOUND
    firm: ClassVar[None] = None


Page = (
    Invitation
    | ExistingAccount
    | AcceptedInPart
    | AlreadyActive
    | Expired
    | Superseded
    | Renewed
    | Revoked
    | ConfirmDecline
    | Declined
    | Taken
    | TryAgain
    | TooMany
    | UnknownLink
)
