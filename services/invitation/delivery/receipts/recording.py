"""What a provider says of a send, written down: once, whoever says it how often and in whatever order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import structlog

from invitation.delivery.receipts.reasons import shown
from invitation.lifecycle.invitation import Cause, Change, Invitation
from invitation.lifecycle.links import References, Send
from invitation.lifecycle.records import Receipt
from invitation.lifecycle.schedule import Policy
from invitation.store.protocol import Store, decide_and_save, policy_for

log = structlog.stdlib.get_logger(__name__)


class Receipts:
    """Takes what was said of a send that was named by its reference."""

    def __init__(
        self,
        store: Store,
        references: References,
        *,
        policy: Policy,
        now: Callable[[], datetime],
        due_changed: Callable[[], None],
    ) -> None:
        self._store = store
        self._references = references
        self._policy = policy
        self._now = now
        self._due_changed = due_changed

    def send_of(self, reference: str) -> Send | None:
        """The send of a genuine reference; costs no call to the database."""
        return self._references.read(reference)

    async def record(self, send: Send, receipt: Receipt, *, by: str, id: str) -> None:
        """Returns when it is committed, or when there is nothing to commit. `by` and `id` name the provider and the
        message at the provider's: the same outcome of it counts once. Raises a `Retry` in an outage."""
        policy = await policy_for(self._store, await self._store.load(send.invitation_id), self._policy)
        cause = Cause(self._now(), "provider", f"receipt:{by}:{id}:{receipt.outcome}")

        def decide(invitation: Invitation) -> Change | None:
            email = invitation.invitee.email if invitation.invitee else ""
            detail = {name: shown(said, email) for name, said in (receipt.detail or {}).items()}
            return invitation.receipt(replace(receipt, detail=detail), cause, policy)

        change = await decide_and_save(self._store, send.invitation_id, decide)
        if change is None:
            return
        self._due_changed()
        log.info(
            "delivery.receipt",
            invitation=send.invitation_id,
            send=send.send_sequence,
            by=by,
            outcome=receipt.outcome,
            reason=receipt.reason,
            state=change.after.state.value,
        )
