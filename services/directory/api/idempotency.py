"""`Idempotency-Key`: a repeat finds what the first call made."""

from __future__ import annotations

from aiohttp import web

from convive_kit.http import Problem

HEADER = {"Idempotency-Key": "Any text of your own; the same call again with the same key creates nothing new."}


def key_of(request: web.Request) -> str | None:
    """The caller's key, if there is one."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= 255:
        raise Problem(400, "bad_idempotency_key", "An Idempotency-Key has 1 to 255 characters.")
    return key
