"""The invitation service's settings, from the environment."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from convive_contracts.events import TimeOfDay
from convive_kit.addresses import SmsSender
from convive_kit.settings import BaseServiceSettings, CommaSeparated, variable


def _without_slash(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("it must start with http:// or https://")
    return url.rstrip("/")


def _days(value: object) -> object:
    return () if value == "none" else value


def _a_place(text: str) -> str:
    found = _PLACE.fullmatch(text)
    if text and (found is None or int(found[3]) > 65535):
        raise ValueError("give lmtp:// or smtp://, a host and a port, such as lmtp://0.0.0.0:2424")
    return text


_PLACE = re.compile(r"(lmtp|smtp)://(\[[0-9A-Fa-f:]+\]|[^:/\[\]\s]+):(\d{1,5})")
Url = Annotated[str, AfterValidator(_without_slash)]
LinkKey = Annotated[SecretStr, Field(min_length=16)]


Country = Annotated[str, Field(pattern="^[A-Z]{2}$")]
# France and where else it is: overseas numbers have country codes of their own.
_FRANCE = ("FR", "GP", "MQ", "GF", "RE", "YT", "PM", "BL", "MF", "NC", "PF", "WF")
_NEEDED = {
    "none": (),
    "generic": ("sms_url", "sms_token"),
    "twilio": ("sms_account", "sms_token"),
    "ovh": ("sms_account", "sms_ovh_application_key", "sms_ovh_application_secret", "sms_ovh_consumer_key"),
}


class SmsSettings(BaseServiceSettings):
    sms_provider: Literal["none", "generic", "twilio", "ovh"] = Field(
        default="none", description="Who sends text messages; `none`: invitations by SMS fail, saying so."
    )
    sms_url: Url | None = Field(
        default=None,
        description="Where messages are handed in: needed for `generic`; the others know their own.",
    )
    sms_account: str | None = Field(
        default=None, description="`twilio`: the account SID. `ovh`: the SMS service, e.g. sms-ab12345-1."
    )
    sms_token: SecretStr | None = Field(
        default=None, description="`generic`: the bearer token. `twilio`: the account's auth token."
    )
    sms_signing_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="`generic`: requests are signed with it besides, and receipts must be. `ovh`: the `secret`"
        " in the address of its callback. Without it no receipts are taken.",
    )
    sms_twilio_messaging_service: str | None = Field(
        default=None,
        description="`twilio`: the SID of a messaging service, whose senders are used instead of the firms'.",
    )
    sms_ovh_application_key: str | None = Field(default=None, description="`ovh`: which application calls.")
    sms_ovh_application_secret: SecretStr | None = Field(default=None, description="`ovh`: its secret.")
    sms_ovh_consumer_key: SecretStr | None = Field(default=None, description="`ovh`: whom it calls for.")
    sms_sender: SmsSender = Field(
        default="Convive", description="The sender of a firm that has none of its own: at most 11 letters or digits."
    )
    sms_countries: CommaSeparated[Country] = Field(
        default=_FRANCE,
        description="Where text messages may go, as ISO 3166 codes. Each further one can be abused at your expense.",
    )
    sms_limit_number: int = Field(default=20, ge=1, description="The most messages to one number within a day.")
    sms_limit_firm: int = Field(
        default=1000, ge=1, description="The most messages of one firm within a day; the others wait for the next."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        missing = [variable(name) for name in _NEEDED[self.sms_provider] if getattr(self, name) is None]
        if missing:
            raise ValueError(f"{' and '.join(missing)} must be set for the SMS provider {self.sms_provider}")
        return self


class InvitationSettings(SmsSettings):
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
    bounce_domain: str = Field(
        default="",
        max_length=190,
        pattern=r"^([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*)?$",
        description="The domain of return addresses: what cannot be delivered comes back to bounce-…@ it, which tells"
        " what mail it was. Empty: it goes to CONVIVE_MAIL_FROM, and nobody here hears of it.",
    )
    bounce_listen: Annotated[str, AfterValidator(_a_place)] = Field(
        default="",
        description="Where workers take what comes back, e.g. lmtp://0.0.0.0:2424 or smtp://0.0.0.0:25; empty: nowhere."
        " It needs CONVIVE_BOUNCE_DOMAIN.",
    )
    delivery_slots: int = Field(
        default=192,
        ge=1,
        le=512,
        description="Messages sent at the same time by one process, over as many connections to the mail server at the"
        " most: also the most that a crash can send twice.",
    )
    link_life: timedelta = Field(
        default=timedelta(days=14), gt=timedelta(minutes=1), description="How long a link works."
    )
    reminder_days: Annotated[CommaSeparated[Annotated[int, Field(ge=1, le=89)]], BeforeValidator(_days)] = Field(
        default=(2, 5, 10),
        max_length=5,
        description="Days after which people are reminded of a link that works, counted from when it was sent; `none`"
        " for never. Firms may choose their own.",
    )
    quiet_from: TimeOfDay = Field(
        default="20:00",
        description="From this time of day in the person's time zone, and on Sundays and French public holidays, nobody"
        " is reminded and nothing goes out by SMS, unless they asked for it themselves. The same time as"
        " `CONVIVE_QUIET_UNTIL`: nothing is ever held back. Firms may choose their own.",
    )
    quiet_until: TimeOfDay = Field(default="08:00", description="Until this time of day.")
    delivery_lease: timedelta = Field(
        default=timedelta(seconds=60),
        ge=timedelta(seconds=1),
        description="How long a process has a message to itself. One attempt may take a third of it, and what a crash"
        " left is taken over when it ends.",
    )

    @model_validator(mode="after")
    def _a_domain_to_listen_for(self) -> Self:
        if self.bounce_listen and not self.bounce_domain:
            raise ValueError("CONVIVE_BOUNCE_DOMAIN must be set where CONVIVE_BOUNCE_LISTEN is")
        return self

    @property
    def bounce_place(self) -> tuple[str, str, int] | None:
        """`bounce_listen` as protocol, host and port."""
        found = _PLACE.fullmatch(self.bounce_listen)
        return (found[1], found[2].strip("[]"), int(found[3])) if found else None
