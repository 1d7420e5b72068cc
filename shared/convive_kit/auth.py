"""Bearer keys: long random secrets, kept as hashes, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from uuid import UUID

from aiohttp import web
from pydantic import SecretStr

from convive_kit.http import Problem

_API_KEY = re.compile(r"cvk_([0-9a-f]{32})_([0-9a-f]{8,32})_([A-Za-z0-9_-]{43})")
_BEARER = re.compile(r"bearer +([\x21-\x7e]{1,512})", re.IGNORECASE)


def new_secret() -> str:
    """256 random bits as URL-safe text (43 characters)."""
    return secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """SHA-256 in hex. Enough for secrets of high entropy, which nobody can guess; never for passwords."""
    return hashlib.sha256(_bytes(secret)).hexdigest()


def same_secret(given: str, expected: str) -> bool:
    """Compares in constant time, whatever characters were given."""
    return hmac.compare_digest(hashlib.sha256(_bytes(given)).digest(), hashlib.sha256(_bytes(expected)).digest())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # as aiohttp decodes headers


class ApiKey(NamedTuple):
    """A cabinet's key in its parts: `cvk_<cabinet, hex>_<key id>_<secret>`."""

    cabinet_id: UUID
    key_id: str
    secret: str

    def text(self) -> str:
        return f"cvk_{self.cabinet_id.hex}_{self.key_id}_{self.secret}"


def new_api_key(cabinet_id: UUID) -> ApiKey:
    """A fresh key; keep its `key_id` and `secret_hash(secret)`, show `text()` once."""
    return ApiKey(cabinet_id, secrets.token_hex(8), new_secret())


def parse_api_key(text: str) -> ApiKey | None:
    """The parts of a key, or None when it does not look like one."""
    found = _API_KEY.fullmatch(text)
    return ApiKey(UUID(hex=found[1]), found[2], found[3]) if found else None


def bearer_token(request: web.Request) -> str | None:
    """The token of `Authorization: Bearer …`; None without that header; 401 for any other kind of it."""
    header = request.headers.get("Authorization")
    if header is None:
        return None
    found = _BEARER.fullmatch(header.strip())
    if not found:
        raise unauthorized("Send the token as `Authorization: Bearer <token>`.")
    return found[1]


def unauthorized(detail: str = "This call needs a valid bearer token.") -> Problem:
    """401. Says the same for a missing, an unknown and an expired token."""
    return Problem(401, detail=detail, headers={"WWW-Authenticate": "Bearer"})


def holder_of(secret: SecretStr) -> Callable[[web.Request], Awaitable[None]]:
    """The check of a guard that lets in whoever holds `secret`, and nobody else."""

    async def check(request: web.Request) -> None:
        token = bearer_token(request)
        if token is None or not same_secret(token, secret.get_secret_value()):
            raise unauthorized()

    return check
