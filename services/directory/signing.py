"""Values under an HMAC, for links and cookies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from itsdangerous import URLSafeSerializer


def signed(keys: Sequence[str], purpose: str) -> URLSafeSerializer:
    """Signs small values for one purpose, as text that fits into addresses and cookies (HMAC-SHA-256). The first key
    signs, the others still verify."""
    return URLSafeSerializer(
        [*reversed(keys)], salt=f"convive.directory.{purpose}", signer_kwargs={"digest_method": hashlib.sha256}
    )
