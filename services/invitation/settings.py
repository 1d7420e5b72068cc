"""The invitation service's settings, from the environment."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from convive_kit.settings import BaseServiceSettings, CommaSeparated


def _without_slash(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("it must start with http:// or https://")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_without_slash)]
LinkKey = Annotated[SecretStr, Field(min_length=16)]


class InvitationSettings(BaseServiceSettings):
    invitation_host: str = Field(default="0.0.0.0", description="The interface the invitation service listens on.")
    invitation_port: int = Field(
        default=8082, ge=0, le=65535, description="The port the invitation service listens on."
    )
    invitation_database: str = Field(default="convive_invitation", description="The invitation service's database.")
    invitation_url: Url = Field(
        default="http://127.0.0.1:8082", description="Where people reach the link pages: links begin with it."
    )
    directory_url: Url = Field(
        default="http://127.0.0.1:8081", description="Where people reach the directory, to be signed in there."
    )
    directory_internal_url: Url | None = Field(
        default=None, description="Where this service reaches the directory; the public address if not given."
    )
    cookie_domain: str = Field(
        default="",
        description="The domain of the cookies, where the services have different host names, e.g. convive.example.",
    )
    service_token: SecretStr = Field(min_length=16, description="Shared by the two services; signs their calls.")
    ops_token: SecretStr = Field(min_length=16, description="Who holds it sees and changes every invitation.")
    link_keys: CommaSeparated[LinkKey] = Field(
        min_length=1,
        description="Keys of the links, separated by commas: the first signs, the others still verify."
        " Keep a retired key for a link's life plus 90 days.",
    )
    delivery_slots: int = Field(
        default=96,
        ge=1,
        le=512,
        description="Messages sent at the same time by one process: also the most that a crash can send twice.",
    )
    link_life: timedelta = Field(
        default=timedelta(days=14), gt=timedelta(minutes=1), description="How long a link works."
    )
    delivery_lease: timedelta = Field(
        default=timedelta(seconds=60),
        ge=timedelta(seconds=1),
        description="How long a process has a message to itself. One attempt may take a third of it, and what a crash"
        " left is taken over when it ends.",
    )
