"""What the directory counts."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from convive_kit.metrics import SECONDS, Metrics
from directory.passwords import Passwords


class DirectoryMetrics(Metrics):
    """See `Metrics`."""

    def __init__(self) -> None:
        super().__init__("directory")
        self.password_hashed = Histogram(
            "convive_password_hash_seconds",
            "Time to hash or check a password, without the wait for its turn.",
            buckets=SECONDS,
            registry=self.registry,
        ).observe
        self.password_refused = Counter(
            "convive_passwords_refused",
            "Sign-ins and redemptions turned away because too many passwords were waiting.",
            registry=self.registry,
        ).inc
        self._waiting = Gauge(
            "convive_passwords_waiting",
            "Passwords that are being hashed or wait for their turn.",
            registry=self.registry,
        )

    def watch_passwords(self, passwords: Passwords) -> None:
        """Tell of the queue from here on."""
        self._waiting.set_function(lambda: float(passwords.waiting))
