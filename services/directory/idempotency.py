"""What is asked for twice with one key is done once: the id of what is created is computed from the key."""

from __future__ import annotations

import hashlib
from uuid import UUID, uuid4, uuid5

from pydantic import BaseModel


def id_for(key: str | None, cabinet_id: str, scope: str) -> str:
    """An id that depends on the key, the cabinet and what is created where; a random one without a key."""
    if key is None:
        return str(uuid4())
    return str(uuid5(UUID(cabinet_id), f"{scope}/{key.encode('utf-8', 'surrogateescape').hex()}"))


def fingerprint(body: BaseModel) -> str:
    """Tells two requests apart that came with the same key."""
    return hashlib.sha256(body.model_dump_json().encode()).hexdigest()
