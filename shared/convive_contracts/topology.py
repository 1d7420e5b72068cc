"""The exchanges, queues and bindings that everyone who publishes or consumes declares first.

Declaring all of it, every time, means that no event can come before its queue exists. Arguments of a queue are for
ever (RabbitMQ answers 406 to a change), so only what must be argued is; what should be tunable is a broker policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

EXCHANGE = "convive.events"
UNROUTABLE = "convive.unroutable"
DEAD_LETTERS = "convive.dead"
LOG = "convive.log"
INVITATION_EVENTS = "invitation.events"
INVITATION_BULK = "invitation.events.bulk"
INVITATION_PARKED = "invitation.parked"
DIRECTORY_EVENTS = "directory.events"
DIRECTORY_PARKED = "directory.parked"

# High, because a lost connection counts for the whole prefetch: only a message that kills its reader again and again
# reaches it. Explicit, because RabbitMQ 4 otherwise sets 20.
DELIVERY_LIMIT = 1000
LOG_SEGMENT_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    name: str
    kind: Literal["topic", "fanout", "direct"]
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Queue:
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Binding:
    exchange: str
    queue: str
    key: str


def _work_queue(dead_letter_key: str) -> dict[str, Any]:
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": DEAD_LETTERS,
        "x-dead-letter-routing-key": dead_letter_key,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # what at-least-once dead-lettering asks for
    }


EXCHANGES = (
    Exchange(UNROUTABLE, "fanout"),
    Exchange(DEAD_LETTERS, "direct"),
    Exchange(EXCHANGE, "topic", {"alternate-exchange": UNROUTABLE}),
)
QUEUES = (
    Queue(INVITATION_PARKED, {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}),
    Queue(DIRECTORY_PARKED, {"x-queue-type": "quorum", "x-delivery-limit": DELIVERY_LIMIT}),
    Queue(INVITATION_EVENTS, _work_queue(INVITATION_PARKED)),
    Queue(INVITATION_BULK, _work_queue(INVITATION_PARKED)),
    Queue(DIRECTORY_EVENTS, _work_queue(DIRECTORY_PARKED)),
    Queue(
        LOG,
        {
            "x-queue-type": "stream",
            "x-max-age": "30D",
            # Age is applied segment by segment: small segments keep personal data from outliving it by much.
            "x-stream-max-segment-size-bytes": LOG_SEGMENT_BYTES,
        },
    ),
)
BINDINGS = (
    Binding(UNROUTABLE, INVITATION_PARKED, ""),
    Binding(DEAD_LETTERS, INVITATION_PARKED, INVITATION_PARKED),
    Binding(DEAD_LETTERS, DIRECTORY_PARKED, DIRECTORY_PARKED),
    *(Binding(EXCHANGE, INVITATION_EVENTS, f"{family}.*") for family in ("user", "account", "dossier", "cabinet")),
    Binding(EXCHANGE, INVITATION_EVENTS, "invitation.resend_requested"),
    Binding(EXCHANGE, INVITATION_EVENTS, "invitation.revoke_requested"),
    Binding(EXCHANGE, INVITATION_BULK, "user.created.bulk"),
    Binding(EXCHANGE, DIRECTORY_EVENTS, "invitation.*"),
    # By family: a queue bound to `#` would make every mistyped key routable: none would reach the alternate exchange.
    *(Binding(EXCHANGE, LOG, f"{family}.#") for family in ("user", "account", "dossier", "cabinet", "invitation")),
)
