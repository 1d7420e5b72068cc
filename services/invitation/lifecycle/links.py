"""Link tokens: an invitation's id and link sequence under an HMAC.

A wrong token is refused without asking the database, and a leaked database gives no links. The expiry lives in the
document, so it can be extended.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from itsdangerous import Signer

_SALT = b"convive.invitation.link"
_ID_BYTES, _SEQUENCE_BYTES = 16, 3
_LONGEST_TOKEN = 128


@dataclass(frozen=True, slots=True)
class Link:
    """What a token stands for."""

    invitation_id: str
    link_sequence: int


class Links:
    """Signs and reads tokens. The first key signs; the others still verify, so keys can be rotated.

    Keep retired keys for a link's life plus 90 days: their links then still get the page that says what to do.
    """

    def __init__(self, keys: Sequence[str], *, base_url: str) -> None:
        if not keys:
            raise ValueError("at least one link key is needed")
        self._signers = [Signer(key, salt=_SALT, sep=".", digest_method=hashlib.sha256) for key in keys]
        self._base_url = base_url.rstrip("/")

    def url(self, link: Link) -> str:
        """The address to send."""
        return f"{self._base_url}/i/{self.token(link)}"

    def token(self, link: Link) -> str:
        """The signed token of a link."""
        return self._signers[0].sign(_payload(link)).decode()

    def read(self, token: str) -> Link | None:
        """The link of a token, or None when it was not made by us, was cut, or was changed in any character."""
        link = _parse(token)
        if link is None:
            return None
        # Signing anew and comparing text, rather than unsigning: base64 has spare bits, so that a changed last
        # character can decode to the same signature.
        payload, given = _payload(link), token.encode()
        genuine = [hmac.compare_digest(signer.sign(payload), given) for signer in self._signers]
        return link if any(genuine) else None


def _payload(link: Link) -> bytes:
    packed = UUID(link.invitation_id).bytes + link.link_sequence.to_bytes(_SEQUENCE_BYTES)
    return urlsafe_b64encode(packed).rstrip(b"=")


def _parse(token: str) -> Link | None:
    if len(token) > _LONGEST_TOKEN or not token.isascii():
        return None
    payload = token.partition(".")[0]
    try:
        packed = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except ValueError:
        return None
    if len(packed) != _ID_BYTES + _SEQUENCE_BYTES:
        return None
    return Link(str(UUID(bytes=packed[:_ID_BYTES])), int.from_bytes(packed[_ID_BYTES:]))
