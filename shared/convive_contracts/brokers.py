"""Where the broker is: one address, or those of all nodes of a cluster, of which any will do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

# A comma may stand in a password: what separates is one with another address behind it, or nothing.
_BETWEEN = re.compile(r"\s*,\s*(?=[A-Za-z][A-Za-z0-9+.-]*://|$|,)")
_SCHEMES = ("amqp", "amqps")


def broker_urls(given: str) -> tuple[str, ...]:
    """The addresses of a list like `amqp://…,amqp://…`; of one, that one.

    Raises ValueError for what is no address of a broker, saying which by its place: addresses hold passwords.
    """
    urls = tuple(_BETWEEN.split(given.strip()))
    for place, url in enumerate(urls, 1):
        if complaint := _complaint(url):
            which = f"address {place} of {len(urls)}" if len(urls) > 1 else "it"
            raise ValueError(f"{which} {complaint}")
    return urls


def _complaint(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may quote a part of the password
        return "has a host or a port that cannot be read"
    if parts.scheme not in _SCHEMES or not url.startswith(f"{parts.scheme}://"):
        return "does not begin with amqp:// or amqps://"
    if port == 0:
        return "has a host or a port that cannot be read"
    if "," in parts.path or any(letter.isspace() for letter in url):
        return "has a comma or a space in it: in the name of a virtual host write %2C or %20"
    return None


class Brokers:
    """The addresses in turn: after one that failed, or was lost, comes the next; what answered stays until then."""

    def __init__(self, given: str) -> None:
        self.urls = broker_urls(given)
        self._at = 0

    @property
    def url(self) -> str:
        """The one whose turn it is."""
        return self.urls[self._at]

    @property
    def name(self) -> str:
        """Its host and port: what may be said of it in a log."""
        parts = urlsplit(self.url)
        return f"{parts.hostname or 'localhost'}:{parts.port or (5671 if parts.scheme == 'amqps' else 5672)}"

    def turn(self) -> None:
        """It failed, or was lost: the next one's turn."""
        self._at = (self._at + 1) % len(self.urls)

    def each(self) -> Iterator[str]:
        """Every address once, beginning with the one whose turn it is. Leave off at the one that answers: it then has
        the next turn, too."""
        begin = self._at
        for number in range(len(self.urls)):
            self._at = (begin + number) % len(self.urls)
            yield self.url
