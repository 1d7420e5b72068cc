"""The secrets of this machine's installation: made once, readable by their owner alone."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import cast


@dataclass(frozen=True)
class Credentials:
    """What the services share with each other, and what a person at this machine signs in with."""

    admin_token: str
    ops_token: str
    service_token: str
    link_key: str
    sms_token: str
    sms_signing_key: str

    @classmethod
    def new(cls) -> Credentials:
        """Ones that nobody else has."""
        return cls(*(secrets.token_urlsafe(32) for _ in fields(cls)))


def kept_credentials(file: Path) -> Credentials:
    """Those of the last start; new ones when there are none, or not all of them."""
    fresh = asdict(Credentials.new())
    try:
        known = cast("dict[str, str]", json.loads(file.read_text()))
    except (FileNotFoundError, ValueError):
        known: dict[str, str] = {}
    credentials = Credentials(**(fresh | {name: value for name, value in known.items() if name in fresh}))
    write_privately(file, json.dumps(asdict(credentials), indent=2))
    return credentials


def write_privately(file: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner alone from its first moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    new.replace(file)
