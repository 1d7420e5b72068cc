"""The environment, read once and frozen. Every variable starts with `CONVIVE_`."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from convive_contracts.brokers import broker_urls
from convive_kit.http import Network
from convive_kit.smtp import SmtpServer, Tls

PREFIX = "CONVIVE_"
Item = TypeVar("Item")


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part for part in (piece.strip() for piece in value.split(",")) if part)


CommaSeparated = Annotated[tuple[Item, ...], NoDecode, BeforeValidator(_split)]
"""`CommaSeparated[SecretStr]`: a tuple, written as `a,b,c` in the environment."""


def _of_brokers(value: SecretStr) -> SecretStr:
    broker_urls(value.get_secret_value())
    return value


BrokerUrls = Annotated[SecretStr, AfterValidator(_of_brokers)]
"""One address of a broker, or several, comma separated."""


class BaseServiceSettings(BaseSettings):
    """What every service needs. Field descriptions become docs/configuration.md and the error texts."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    amqp_url: BrokerUrls = Field(
        default=SecretStr("amqp://guest:guest@127.0.0.1:5672/"),
        description="Where the broker is (amqp:// or amqps://, with user and password). Of a cluster, all its nodes,"
        " comma separated: when one is away, the next is tried.",
    )
    mongo_url: SecretStr = Field(
        default=SecretStr("mongodb://127.0.0.1:27017/"),
        description="Where the database is (mongodb:// or mongodb+srv://, with user and password).",
    )
    smtp_host: str = Field(default="127.0.0.1", description="The mail server.")
    smtp_port: int = Field(default=25, ge=1, le=65535, description="Its port.")
    smtp_username: str | None = Field(default=None, description="The user it asks for, if it asks.")
    smtp_password: SecretStr | None = Field(default=None, description="That user's password.")
    smtp_tls: Tls = Field(
        default="starttls_if_offered", description="How the connection to the mail server is protected."
    )
    mail_from: str = Field(default="noreply@convive.example", description="The address that mails come from.")
    first_backoff: timedelta = Field(
        default=timedelta(seconds=15),
        gt=timedelta(0),
        description="How long to wait after the first refused attempt, about; it doubles with each further one.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe log lines that are written."
    )
    trusted_proxies: CommaSeparated[Network] = Field(
        default=(), description="Networks whose X-Forwarded-For header is believed, e.g. 10.0.0.0/8,fd00::/8."
    )
    request_time_limit: timedelta = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        description="How long one HTTP request may take before it is answered with 503.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        pattern="^https?://",
        description="Where traces are sent (OTLP over HTTP), e.g. http://collector:4318; empty for no traces.",
    )
    trace_ratio: float = Field(default=1.0, ge=0, le=1, description="Which part of the traces is kept, 0 to 1.")
    retention: timedelta | None = Field(
        default=None,
        ge=timedelta(days=31),
        description="How long names and addresses are kept once an invitation has ended or a member was removed, and"
        " parked messages and audit records at all, e.g. P1095D. For ever if not given.",
    )
    shutdown_grace: timedelta = Field(
        default=timedelta(seconds=10),
        gt=timedelta(0),
        description="How long a service may take to finish its work after SIGTERM.",
    )

    @property
    def smtp_server(self) -> SmtpServer:
        password = self.smtp_password.get_secret_value() if self.smtp_password else None
        return SmtpServer(self.smtp_host, self.smtp_port, self.smtp_tls, self.smtp_username, password)


Settings = TypeVar("Settings", bound=BaseServiceSettings)


def load(kind: type[Settings]) -> Settings:
    """The settings from the environment; on a missing or invalid variable, says which on stderr and exits with 2."""
    try:
        return kind()
    except ValidationError as error:
        sys.stderr.writelines(f"{line}\n" for line in _complaints(kind, error))
        raise SystemExit(2) from None


def _complaints(kind: type[BaseServiceSettings], error: ValidationError) -> Iterable[str]:
    told: set[str] = set()  # each way in which a list or union does not fit is a fault of its own
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        if name in told:
            continue
        told.add(name)
        field = kind.model_fields.get(name)
        about = f" {field.description}" if field and field.description else ""
        if fault["type"] == "missing":
            yield f"{variable(name)} is missing:{about or ' it has no default.'}"
        else:
            said = fault["msg"].removeprefix("Value error, ")
            yield f"{variable(name) if name else 'The settings'} cannot be used: {said}.{about}"


def variable(field: str) -> str:
    """The environment variable of a settings field."""
    return PREFIX + field.upper()


def configuration_page(services: Sequence[tuple[str, type[BaseServiceSettings]]]) -> str:
    """docs/configuration.md for `[(title, settings class), …]`: what all share first, then what each adds."""
    lines = [
        "# Configuration",
        "",
        "Everything is set by environment variables. Durations are ISO 8601 (`P14D`, `PT30S`), lists are",
        "comma separated. A service that misses a variable without default, or cannot use a value, refuses to start",
        "with exit code 2 and says which. This page is made from the settings classes.",
    ]
    shared = BaseServiceSettings.model_fields
    chapters = [("Every service", shared)]
    for title, kind in services:
        own = {
            name: field
            for name, field in kind.model_fields.items()
            if name not in shared or field.default != shared[name].default
        }
        chapters.append((title, own))
    for title, fields in chapters:
        lines += ["", f"## {title}", "", "| variable | default | meaning |", "| --- | --- | --- |"]
        lines += [f"| `{variable(name)}` | {_default(field)} | {_meaning(field)} |" for name, field in fields.items()]
    return "\n".join(lines) + "\n"


def _default(field: FieldInfo) -> str:
    value: object = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "none, must be set"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, timedelta):
        value = TypeAdapter(timedelta).dump_json(value).decode().strip('"')
    if isinstance(value, tuple):
        value = ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return f"`{value}`" if value not in (None, "") else "empty"


def _meaning(field: FieldInfo) -> str:
    choices = ", ".join(f"`{choice}`" for choice in _literals(field.annotation))
    text = field.description or ""
    return (f"{text} One of {choices}." if choices else text).replace("|", "\\|").strip()


def _literals(annotation: Any) -> Sequence[object]:
    origin = get_origin(annotation)
    if origin is Literal:
        return get_args(annotation)
    if origin in (Union, types.UnionType):
        return [choice for option in get_args(annotation) for choice in _literals(option)]
    return ()
