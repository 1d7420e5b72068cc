"""`Idempotency-Key`: the id of what is created is computed from it, so that a repeat finds what the first call made."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid4, uuid5

from aiohttp import web
from pydantic import BaseModel

from convive_kit.http import Problem

HEADER = {"Idempotency-Key": "Any text of your own; the same call again with the same key creates nothing new."}


def new_id(request: web.Request, cabinet_id: str, scope: str) -> str:
    """An id that depends on the key, the cabinet and what is created where; a random one without a key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return str(uuid4())
    if not 1 <= len(key) <= 255:
        raise Problem(400, "bad_idempotency_key", "An Idempotency-Key has 1 to 255 characters.")
    return str(uuid5(UUID(cabinet_id), f"{scope}/{key.encode('utf-8', 'surrogateescape').hex()}"))


def fingerprint(body: BaseModel) -> str:
    """Tells two requests apart that came with the same key."""
    return hashlib.sha256(body.model_dump_json().encode()).hexdigest()
