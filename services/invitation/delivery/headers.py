"""Header fields as bytes: encoded words (RFC 2047), folding (RFC 5322), and nothing that could start a new field."""

from __future__ import annotations

import re
from binascii import b2a_base64

import idna

# RFC 2047, section 2: a line that holds an encoded word has at most 76 characters.
LINE = 76
FOLD = b"\r\n "

# 39 octets make 52 characters of base64, 64 with their frame: "Reply-To: " and the like still fit before them.
_OCTETS_PER_WORD = 39
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*\Z")
_QUOTABLE = re.compile(r'(["\\])')
_ADDRESS = re.compile(r'([^\x00-\x20\x7f-\xa0<>()\[\],;:\\"@]{1,64})@([^\x00-\x20\x7f-\xa0<>()\[\],;:\\"@/]{1,255})\Z')


class UnusableAddress(ValueError):
    """The e-mail address cannot stand in a header."""


def unstructured(text: str, *, column: int) -> bytes:
    """The value of a field of free text, such as Subject, that starts at this column."""
    text = _one_line(text)
    if _needs_no_encoding(text, column):
        return text.encode("ascii")
    return _encoded_words(text)


def phrase(text: str, *, column: int) -> bytes:
    """A display name: bare where it can be, quoted where it must be, encoded otherwise."""
    text = _one_line(text)
    if not _needs_no_encoding(text, column + 2):
        return _encoded_words(text)
    if _ATOMS.match(text):
        return text.encode("ascii")
    return b'"' + _QUOTABLE.sub(r"\\\1", text).encode("ascii") + b'"'


def mailbox(name: str, address: bytes, *, column: int) -> bytes:
    """`Name <address>`, on two lines where one would be too long."""
    shown = phrase(name, column=column)
    if not shown:
        return address
    last_line = len(shown) - shown.rfind(b"\n") - 1
    gap = b" " if column + last_line + len(address) + 3 <= LINE else FOLD
    return shown + gap + b"<" + address + b">"


def address_bytes(address: str) -> bytes:
    """An address ready for a header, its domain in ASCII. A local part beyond ASCII stays UTF-8 (RFC 6532).

    Raises UnusableAddress for whatever is not plainly one address: a newline, a comma, a missing domain.
    """
    match = _ADDRESS.match(address)
    if not match:
        raise UnusableAddress
    local, domain = match.groups()
    try:
        return local.encode() + b"@" + (domain.encode("ascii") if domain.isascii() else idna.encode(domain, uts46=True))
    except UnicodeError as error:  # IDNAError is one, and so is half a surrogate.
        raise UnusableAddress from error


def _one_line(text: str) -> str:
    return _CONTROLS.sub(" ", text).strip(" ")


def _needs_no_encoding(text: str, column: int) -> bool:
    # "=?" would be read back as an encoded word, whoever wrote it.
    return text.isascii() and "=?" not in text and column + len(text) <= LINE


def _encoded_words(text: str) -> bytes:
    """Base64 words, one a line, each of whole characters."""
    octets = text.encode()
    words: list[bytes] = []
    start = 0
    while start < len(octets):
        end = min(start + _OCTETS_PER_WORD, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:
            end -= 1
        words.append(b"=?utf-8?b?" + b2a_base64(octets[start:end], newline=False) + b"?=")
        start = end
    return FOLD.join(words)
