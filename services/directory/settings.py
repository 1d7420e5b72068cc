"""The directory's settings, from the environment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from convive_contracts.events import Role
from convive_kit.rate_limit import parse
from convive_kit.settings import BaseServiceSettings, CommaSeparated


def _without_slash(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("it must start with http:// or https://")
    return url.rstrip("/")


def _sendable(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]{16,512}", token.get_secret_value()) is None:
        raise ValueError("it must have 16 to 512 characters of ASCII, without spaces, to be sent as a bearer token")
    return token


def _limit(text: str) -> str:
    parse(text)  # raises ValueError
    return text


LinkKey = Annotated[SecretStr, Field(min_length=16)]
Limit = Annotated[str, AfterValidator(_limit)]
Token = Annotated[SecretStr, AfterValidator(_sendable)]
Url = Annotated[str, AfterValidator(_without_slash)]


class DirectorySettings(BaseServiceSettings):
    directory_host: str = Field(default="0.0.0.0", description="The interface the directory listens on.")
    directory_port: int = Field(default=8081, ge=0, le=65535, description="The port the directory listens on.")
    directory_database: str = Field(default="convive_directory", description="The directory's database.")
    directory_url: Url = Field(
        default="http://127.0.0.1:8081", description="Where people reach the directory; with https, cookies are Secure."
    )
    invitation_url: Url = Field(
        default="http://127.0.0.1:8082", description="Where people reach the link pages: links begin with it."
    )
    invitation_internal_url: Url | None = Field(
        default=None,
        description="Where the directory reaches the invitation service; the public address if not given.",
    )
    cookie_domain: str = Field(
        default="",
        description="The domain of the cookies, where the services have different host names, e.g. convive.example.",
    )
    session_life: timedelta = Field(
        default=timedelta(days=14), gt=timedelta(0), description="How long somebody stays signed in."
    )
    password_link_life: timedelta = Field(
        default=timedelta(hours=1), ge=timedelta(minutes=5), description="How long a link to a new password works."
    )
    link_keys: CommaSeparated[LinkKey] = Field(
        default=(),
        description="Keys of the links to a new password and of the cookies that tell known browsers, separated by"
        " commas: the first signs, the others still verify. May be the invitation service's; the service token signs"
        " where none is given.",
    )
    sign_in_limit_account: Limit = Field(
        default="20/15minute",
        description="Wrong passwords for one account from browsers that have not signed in to it before, after which"
        " few of them may try; and from each browser that has.",
    )
    sign_in_limit_address: Limit = Field(
        default="300/15minute", description="Wrong passwords from one address, to whatever accounts."
    )
    password_threads: int = Field(
        default=2, ge=1, le=64, description="Passwords hashed at the same time, at 19 MiB of memory each."
    )
    retired_roles: CommaSeparated[Role] = Field(
        default=(),
        description="Roles that nobody is given any more, separated by commas, e.g. expense_approver; whoever has one"
        " keeps it.",
    )
    admin_token: Token = Field(description="Who holds it makes cabinets and their API keys.")
    service_token: Token = Field(description="Shared by the two services; signs their calls.")

    @property
    def signing_keys(self) -> Sequence[str]:
        """The first signs, the others still verify."""
        return [key.get_secret_value() for key in self.link_keys or (self.service_token,)]
