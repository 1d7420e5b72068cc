"""Where mail is handed in, and how a connection to it is opened."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Literal

import aiosmtplib

Tls = Literal["never", "starttls", "starttls_if_offered", "implicit"]

_CONNECT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """A mail server, and how we present ourselves to it."""

    host: str
    port: int
    tls: Tls = "starttls_if_offered"
    username: str | None = None
    password: str | None = None

    def trusted(self) -> ssl.SSLContext | None:
        """What decides whom to trust: made once, since it reads every certificate authority of the machine (25 ms)."""
        return None if self.tls == "never" else ssl.create_default_context()

    def client(self, trusted: ssl.SSLContext | None, *, timeout: float = _CONNECT_TIMEOUT) -> aiosmtplib.SMTP:
        """A client that is not connected yet; `timeout` (seconds) holds for each of its steps."""
        return aiosmtplib.SMTP(
            hostname=self.host,
            port=self.port,
            timeout=timeout,
            use_tls=self.tls == "implicit",
            start_tls={"never": False, "implicit": False, "starttls": True, "starttls_if_offered": None}[self.tls],
            username=self.username,
            password=self.password,
            tls_context=trusted,
        )
