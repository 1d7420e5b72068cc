"""What the model says no to. The docstring is the message, the slug is stable; the HTTP status is the API's matter."""

from __future__ import annotations

import inspect
from typing import ClassVar


class Refusal(Exception):
    """This cannot be done."""

    slug: ClassVar[str] = "refused"

    def __init__(self, detail: str = "", **about: str) -> None:
        """`about` are further members of the answer, such as the state that forbids it or the field at fault."""
        self.detail = detail or (inspect.getdoc(type(self)) or self.slug).partition("\n")[0]
        self.about = about
        super().__init__(self.detail)


class DossierArchived(Refusal):
    """This dossier is archived and can no longer be changed."""

    slug = "dossier_archived"


class EmailTaken(Refusal):
    """A member of this dossier already has this e-mail address."""

    slug = "email_taken"


class EmailIsLogin(Refusal):
    """The person already signs in with this e-mail address; to change it, remove the member and add them anew."""

    slug = "email_is_login"


class AlreadyIn(Refusal):
    """This person can no longer be invited."""

    slug = "cannot_invite"


class FieldRefused(Refusal):
    """A field does not fit."""

    slug = "invalid"


class MemberGone(Refusal):
    """This person is no longer a member of the dossier."""

    slug = "member_gone"


class OtherPassword(Refusal):
    """This is not the password of the account."""

    slug = "other_password"


class EmailUnverified(Refusal):
    """The account's e-mail address is not verified yet: it takes a link sent by e-mail to join another cabinet."""

    slug = "email_unverified"


class AccountExists(Refusal):
    """Somebody has an account with this e-mail address that is not proved to be theirs: give no password, and a link
    sent to the address lets its owner choose one."""

    slug = "account_exists"


class CodeSpent(Refusal):
    """This code was used or has expired."""

    slug = "code_spent"


class PasswordLinkUsed(Refusal):
    """This link was used, or the password was changed since it was sent."""

    slug = "password_link_used"


class PasswordLinkOver(Refusal):
    """This link is over; ask for a new one."""

    slug = "password_link_over"


class KeyReused(Refusal):
    """This Idempotency-Key was used for another request."""

    slug = "idempotency_key_reused"
