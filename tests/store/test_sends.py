"""A send found by the id that a provider gave it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from convive_kit.mongo import close_client, open_client
from invitation.lifecycle.links import Send
from invitation.store.mongo import INVITATIONS, create_indexes
from invitation.store.sends import sent_as
from tests.store.stores import mongo_store
from tests.unit.lifecycle.making import NOW, POLICY, a_blank, a_cause, an_event, an_invitee, told

pytestmark = pytest.mark.database


async def test_a_send_is_found_by_the_providers_id_even_when_others_followed(mongo_url: str, database: str) -> None:
    client = open_client(mongo_url)
    store, invitations = mongo_store(client, database).store, client[database][INVITATIONS]
    await create_indexes(client[database])
    change = a_blank().created(an_invitee(phone="+33612345678"), "sms", told(), an_event(), POLICY)
    for provider_id in ("1001", "1002"):
        assert change
        await store.save(change)
        claimed = change.after.claimed("worker-1", NOW, POLICY)
        await store.save(claimed)
        taken = a_cause(detail={"send": claimed.after.send_sequence, "provider_id": provider_id})
        accepted = claimed.after.accepted(claimed.after.send_sequence, taken, POLICY)
        await store.save(accepted)
        change = accepted.after.resent("sms", a_cause(NOW + timedelta(days=1)), POLICY)
    id = accepted.after.id
    assert await sent_as(invitations, "1001") == Send(id, 1)
    assert await sent_as(invitations, "1002") == Send(id, 2)
    assert await sent_as(invitations, "1003") is None
    await close_client(client)
