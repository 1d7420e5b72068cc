"""Link tokens: an invitation's id and link sequence under an HMAC.

A wrong token is refused without asking the database, and a leaked database gives no links. The expiry lives in the
document, so it can be extended.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32decode, b32encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from itsdangerous import Signer

_SALT = b"convive.invitation.link"
_SEND_SALT = b"convive.invitation.send"
_ID_BYTES, _SEQUENCE_BYTES, _MAC_BYTES = 16, 3, 10
_REFERENCE_LENGTH = 47
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


@dataclass(frozen=True, slots=True)
class Send:
    """What a reference stands for."""

    invitation_id: str
    send_sequence: int


class References:
    """Names a send to a provider, so that what the provider later says of it finds back, and cannot be made up.

    47 letters and digits whose case does not matter: they fit into the local part of a return address (RFC 5321
    4.5.3.1.1) and into a provider's tag. A reference opens nothing; it may stand in a provider's log.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """The first key signs, the others still verify."""
        self._keys = [hashlib.sha256(_SEND_SALT + key.encode()).digest() for key in keys]

    def of(self, send: Send) -> str:
        """The reference of a send, in lower case."""
        packed = _packed(send.invitation_id, send.send_sequence)
        return _base32(packed + _mac(self._keys[0], packed))

    def read(self, reference: str) -> Send | None:
        """The send of a reference, or None when it was not made by us or was changed in any character."""
        text = reference.lower()
        if len(text) != _REFERENCE_LENGTH or not text.isascii():
            return None
        try:
            decoded = b32decode(text.upper() + "=" * (-len(text) % 8))
        except ValueError:
            return None
        packed = decoded[: _ID_BYTES + _SEQUENCE_BYTES]
        genuine = [hmac.compare_digest(_base32(packed + _mac(key, packed)), text) for key in self._keys]
        return Send(str(UUID(bytes=packed[:_ID_BYTES])), int.from_bytes(packed[_ID_BYTES:])) if any(genuine) else None


def _packed(invitation_id: str, sequence: int) -> bytes:
    return UUID(invitation_id).bytes + sequence.to_bytes(_SEQUENCE_BYTES)


def _mac(key: bytes, packed: bytes) -> bytes:
    return hmac.new(key, packed, hashlib.sha256).digest()[:_MAC_BYTES]


def _base32(octets: bytes) -> str:
    return b32encode(octets).decode().rstrip("=").lower()


def _payload(link: Link) -> bytes:
    return urlsafe_b64encode(_packed(link.invitation_id, link.link_sequence)).rstrip(b"=")


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
