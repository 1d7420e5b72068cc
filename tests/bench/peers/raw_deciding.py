"""The floor with what nobody can leave out: the same raw calls, but each event is read and checked, what follows is
decided, and the mail is the person's own.

All that is the product's own code, called with nothing around it. So this is how fast the product would be if the way
from one call to the next cost nothing more than it costs the floor. `python -m tests.bench.peers.raw_deciding`.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import uvloop
from aio_pika.abc import AbstractIncomingMessage
from pymongo import InsertOne, UpdateOne

from convive_contracts.envelope import parse_event
from invitation.delivery.email import letter_to
from invitation.delivery.mail import MailRenderer
from invitation.intake.decisions import decisions
from invitation.lifecycle.invitation import Cause, Invitation
from invitation.lifecycle.links import Link, Links
from invitation.lifecycle.schedule import Policy
from invitation.store.documents import entries, to_document, to_update
from invitation.store.protocol import Names
from tests.bench.peers.raw_floor import main


class Deciding:
    """See `raw_floor.Maker`. Names are those of the event; no firm has chosen a policy."""

    def __init__(self) -> None:
        self._policy = Policy()
        self._links = Links([secrets.token_urlsafe(32)], base_url="https://convive.example")
        self._renderer = MailRenderer("noreply@convive.example")
        self._invitations: dict[str, Invitation] = {}

    def begin(self, message: AbstractIncomingMessage) -> tuple[str, InsertOne[dict[str, Any]]]:
        """See `Maker.begin`."""
        event = parse_event(message.body, content_type=message.content_type or "", headers=message.headers)
        now = datetime.now(UTC)
        [decision] = decisions(event, Cause(now, f"event:{event.source}", event.id), self._policy)
        change = decision.decide(Invitation.blank(decision.invitation_id, event.source, now))
        assert change is not None
        self._invitations[change.after.id] = change.after
        return change.after.id, InsertOne(to_document(change, []))

    def mail(self, id: str) -> tuple[str, bytes]:
        """See `Maker.mail`."""
        invitation = self._invitations[id]
        invitee = invitation.invitee
        assert invitee is not None
        names = Names(invitee.cabinet_name, invitee.cabinet_phone, invitee.dossier_name)
        link = self._links.url(Link(id, invitation.link_sequence))
        return invitee.email, self._renderer.render(letter_to(invitee, names, invitation, link), datetime.now(UTC))

    def accepted(self, id: str) -> tuple[UpdateOne, bytes]:
        """See `Maker.accepted`."""
        invitation = self._invitations.pop(id)
        cause = Cause(datetime.now(UTC), "provider", detail={"send": 1, "reply": "2.0.0 Ok"})
        change = invitation.accepted(1, cause, self._policy)
        assert change is not None
        [entry] = entries(change, invitation.correlation_id)
        update = to_update(change, [{**entry, "id": id}])  # cleared by the invitation's id, as the floor does
        return UpdateOne({"_id": id, "version": invitation.version}, update, upsert=True), entry["body"]


if __name__ == "__main__":
    uvloop.run(main(Deciding()))
